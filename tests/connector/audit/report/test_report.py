"""The report in real Chromium: one page without other files, usable by keyboard and pointer, that escapes all text."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from playwright.sync_api import Browser, Page, expect

from connector.audit.compare.differences import value_in_words
from connector.audit.compare.tally import tallied
from connector.audit.folder import Folder
from connector.audit.report.contents import _scalars
from connector.audit.report.junit import to_junit
from connector.audit.report.page import headline, to_html
from connector.audit.spec import SCALARS
from tests.connector.chromium import chromium

EVIL = '<img src=x onerror="document.title=1"></script><script>document.title=2</script>'


def query_shown(number: int, *, golden: bool = False, text: str = "") -> dict[str, Any]:
    def hit(doc_id: str, rank: int, other: int | None) -> dict[str, Any]:
        return {"doc_id": doc_id, "rank": rank, "other_rank": other, "grade": rank % 4, "text": f"text {doc_id} {EVIL}"}

    return {
        "query_id": f"q{number}", "query": text or f"query {number}", "stratum": "head" if number % 2 else "tail", "golden": golden,
        "weight": float(number), "rbo": number / 20, "ndcg": [0.5, 0.5 - 0.1 / number], "ndcg_bounds": [-0.2, 0.1], "total": [10, 9],
        "error": None, "before": [hit("a", 1, 2), hit("b", 2, None)], "after": [hit("c", 1, None), hit("a", 2, 1)],
    }  # fmt: skip


def make_report(**others: Any) -> dict[str, Any]:
    side = {
        "asked": "v1", "cluster": None, "distribution": "opensearch", "version": "3.5.0", "fingerprint": "f00",
        "indices": {"v1": {"documents": 1234567, "deleted": 0, "shards": 1, "uuid": "u", "max_seq_no": {"0": 5}}},
    }  # fmt: skip
    pair = {
        "measure": "nDCG", "before": 0.5, "after": 0.4, "difference": -0.1, "low": -0.15, "high": -0.05, "effect_size": -0.4,
        "p_worse": 0.001, "p_better": 0.999, "holm_worse": 0.004, "minimum_detectable": 0.03, "wins": 1, "losses": 9, "ties": 0,
    }  # fmt: skip
    report = {
        "slimrank": "0.1.0", "name": EVIL, "verdict": "fail", "k": 10, "persistence": 0.9,
        "findings": [
            {"rule": "fail if nDCG drops", "outcome": "fail", "message": "nDCG fell by 0.1"},
            {"rule": "warn if RBO is below 0.9", "outcome": "pass", "message": "RBO is 0.95"},
            {"rule": "warn if x", "outcome": "not measured", "message": "x was not measured"},
        ],
        "plan": {
            "spec": {"sample": {"seed": 0}, "name": EVIL}, "queries_hash": "abc", "population": 100, "dropped_as_personal": 2,
        },
        "queries": {"asked": 30, "changed": 12, "reordered_only": 3, "effective": 25.0, "open_ties": 1, "duplicates": 1},
        "scalars": {"RBO": 0.5, "overlap": 0.6, "documents lost": 3.0, "newly empty": 0.01, "hits ratio": None},
        "paired": [pair], "bounds": {"nDCG difference": [-0.2, 0.1], "coverage": {"before": 1.0, "after": 0.8}},
        "unjudged_changed": 0,
        "strata": [
            {"stratum": name, "queries": 6, "changed": 0.5, "rbo": 0.7, "overlap": 0.8, "ndcg_before": 0.5, "ndcg_after": None}
            for name in ("head", "tail", "golden")
        ],
        "golden": [{"query_id": "q3", "query": "query 3", "broken": True}, {"query_id": "q9", "query": "fine", "broken": False}],
        "judges": {"judges": [{"name": "chat:m", "kind": "chat", "human": False, "grades": 5, "partial": "own family", "identity": {"model": "m", "rubric_sha256": "r" * 64}}], "agreement": []},
        "content": {
            "compared": ["title"], "before": 10, "after": 9, "lost": 1, "new": 0, "changed": 0, "lost_examples": [EVIL],
            "fingerprints": {"before": "1", "after": "2"},
        },
        "causes": {
            "differences": [
                {"where": "analysis", "path": "index.analysis", "before": ["a", EVIL], "after": None, "harmless": False},
                {"where": "settings", "path": "index.uuid", "before": "1", "after": "2", "harmless": True},
                {"where": "mapping", "path": "text index", "before": True, "after": {"a": "b"}, "harmless": False},
            ],
            "causes": [{"kind": "analysis", "title": "the analyzers produce different tokens", "share": 0.8, "queries": 9, "examples": [EVIL]}],
            "inspected": 12, "reasons": {"q1": ["analysis"]},
            "tokens": {"q1": {"title": {"before": ["run", "shoe"], "after": ["run", "shoes"]}}},
            "explanations": {
                "q1": {
                    "doc_id": "a", "before": {"score": 2.0, "terms": {"title:shoe": {"weight": 2.0, "boost": 2.2, "idf": 1.0}}},
                    "after": {"score": 0.0, "terms": {}},
                }
            },
        },
        "changes": {"rbo": [0] * 9 + [1, 2], "ndcg": [[-0.3, 1], [0.0, 1], [0.1, 2]]},
        "shown": [query_shown(1, text=EVIL), query_shown(2), query_shown(3, golden=True), query_shown(4)],
        "before": side, "after": {**side, "asked": "v2"},
    }  # fmt: skip
    return {**report, **others}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path)
    latency = {"p50": 0.01, "p95": 0.02, "p99": 0.03}
    made.write("timings.json", {"latency before": latency, "latency after": latency})
    points = [{"depth": depth, "ndcg": 0.5 + depth / 1000, "milliseconds": depth * 2.0} for depth in (0, 10, 50, 100)]
    made.write("sweep.json", {"points": points, "knee": 50})
    return made


@pytest.fixture
def page(browser: Browser, folder: Folder) -> Iterator[Page]:
    path = folder.path / "report.html"
    path.write_text(to_html(make_report(), folder), encoding="utf-8")
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    requests: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: requests.append(request.url))
    page.goto(path.as_uri())
    yield page
    context.close()
    assert not faults
    assert {url.partition("#")[0] for url in requests if not url.startswith("data:")} == {path.as_uri()}


def test_no_text_from_outside_becomes_code(page: Page) -> None:
    assert page.title() == f"fail: audit {EVIL}"
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    expect(page.locator("#queries details summary strong").first).to_have_text(EVIL)


def test_the_verdict_and_its_reason_come_first(page: Page) -> None:
    expect(page.locator(".verdict")).to_have_text("fail")
    expect(page.locator("h1")).to_have_text("nDCG@10 fell by 0.1000 (95% interval -0.1500 to -0.0500). 12 of 30 queries changed.")
    expect(page.locator(".cause strong").first).to_have_text("The analyzers produce different tokens")


def test_queries_can_be_searched_ordered_and_filtered(page: Page) -> None:
    names = page.locator("#queries details:not([hidden]) summary strong")
    page.get_by_label("Find a query").fill("QUERY")
    expect(page.locator("#count")).to_have_text("3 of 4 shown")
    page.get_by_label("Find a query").fill("")
    page.get_by_label("Order").select_option("weight")
    expect(names.first).to_have_text("query 4")
    page.get_by_label("Order").select_option("best")
    expect(names.first).to_have_text("query 4")
    page.get_by_label("Order").select_option("changed")
    expect(names.last).to_have_text("query 4")
    page.get_by_label("Stratum").select_option("golden")
    expect(names).to_have_text(["query 3"])


def test_open_all_opens_and_closes_the_shown_queries(page: Page) -> None:
    page.get_by_label("Find a query").fill("query")
    page.get_by_role("button", name="Open all").click()
    assert page.locator("#queries details[open]").count() == 3
    page.get_by_role("button", name="Close all").click()
    assert page.locator("#queries details[open]").count() == 0


def test_pointing_at_a_hit_marks_it_on_the_other_side(page: Page) -> None:
    page.locator("#queries details").nth(1).locator("summary").click()
    page.locator("#queries details").nth(1).locator("section").first.locator("li[data-document=a]").hover()
    assert page.locator("li.twin[data-document=a]").count() == 2
    page.locator("h1").hover()
    assert page.locator("li.twin").count() == 0


def test_moves_are_marked(page: Page) -> None:
    shown = page.locator("#queries details").nth(1)
    shown.locator("summary").click()
    assert shown.locator("section").first.locator(".move").all_inner_texts() == ["→ 2", "gone"]
    assert shown.locator("section").nth(1).locator(".move").all_inner_texts() == ["new", "▼ 1"]
    # the same colour on both sides: the document moved down
    assert [shown.locator("section").nth(side).locator("li[data-document=a]").get_attribute("class") for side in (0, 1)] == [
        "down"
    ] * 2


def test_the_page_can_be_used_by_keyboard_alone(page: Page) -> None:
    page.locator("#queries details summary").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#queries details").first).to_have_attribute("open", "")
    page.locator("#theme").focus()
    page.keyboard.press("Space")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    expect(page.get_by_role("button", name="Switch to the light theme")).to_be_focused()


def test_the_theme_is_remembered_and_can_be_set_in_the_url(page: Page) -> None:
    page.get_by_role("button", name="Switch to the dark theme").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "dark"
    page.evaluate("location.hash = 'theme=light'")
    page.reload()
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"


@pytest.mark.parametrize("width", [320, 390, 820, 1440])
def test_text_in_a_plot_is_readable_and_inside_it_at_every_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    found: list[list[float]] = page.evaluate(
        """() => [...document.querySelectorAll("figure svg text")].filter(text => getComputedStyle(text).display !== "none").map(text => {
            const [words, figure] = [text.getBoundingClientRect(), text.closest("figure").getBoundingClientRect()];
            const size = parseFloat(getComputedStyle(text).fontSize) * text.ownerSVGElement.getScreenCTM().a;
            return [size, words.left - figure.left, figure.right - words.right];
        })"""
    )
    assert len(found) > 10
    assert min(size for size, _, _ in found) >= 11
    assert min(min(left, right) for _, left, right in found) >= 0


def test_a_wide_table_shows_that_it_scrolls_and_can_be_reached_by_keyboard(page: Page) -> None:
    page.set_viewport_size({"width": 390, "height": 800})
    wide = page.locator(".scroll", has_text="95% interval").first
    expect(wide).to_have_attribute("tabindex", "0")
    assert "linear-gradient" in wide.evaluate("element => getComputedStyle(element).backgroundImage")
    page.set_viewport_size({"width": 1440, "height": 800})
    expect(wide).not_to_have_attribute("tabindex", "0")


def test_no_value_is_shown_in_python_syntax(page: Page) -> None:
    page.get_by_role("button", name="Open all").click()
    said = page.evaluate("document.body.innerText")
    assert not re.findall(r"\b(?:None|True|False|nan)\b|\{'|\['", said)
    assert "not set" in said and "last sequence number of shard 0 5" in said


def test_differing_values_are_shown_in_the_engines_syntax() -> None:
    said = [value_in_words(value) for value in (None, True, "english", ["a", None], {"size": 40, "model": None})]
    assert said == ["not set", "true", "english", '["a", null]', '{"size": 40}']


def test_the_headline_has_the_change_of_the_measure_and_another_reason() -> None:
    lost = [{"rule": "r", "outcome": "fail", "message": "3 documents are lost"}]
    change = "nDCG@10 fell by 0.1000 (95% interval -0.1500 to -0.0500)."
    assert headline(make_report(findings=lost)) == f"{change} 3 documents are lost."
    assert headline(make_report(verdict="pass")) == f"{change} 12 of 30 queries changed, and no rule rates that as worse."
    assert headline(make_report(findings=lost, paired=[])) == "3 documents are lost."


@pytest.mark.parametrize("width", [320, 390, 768, 1280, 1920])
def test_the_page_never_scrolls_sideways(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.get_by_role("button", name="Open all").click()
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_has_enough_contrast_in_both_themes(page: Page, theme: str) -> None:
    page.evaluate("theme => document.documentElement.dataset.theme = theme", theme)
    colours: list[list[str]] = page.evaluate(
        """() => [...document.querySelectorAll("p, td, th, h1, h2, summary, .verdict, .soft, code, button, ins, del, .move")].map(node => {
            let back = node;
            while (back && getComputedStyle(back).backgroundColor === "rgba(0, 0, 0, 0)") back = back.parentElement;
            return [getComputedStyle(node).color, getComputedStyle(back || document.body).backgroundColor];
        })"""
    )
    assert min(contrast(text, back) for text, back in map(tuple, colours)) >= 4.5


def contrast(first: str, second: str) -> float:
    """Return WCAG's contrast ratio of two rgb() colours."""

    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_the_depth_sweep_marks_the_knee(page: Page) -> None:
    figure = page.locator("figure", has_text="Rerank depth")
    expect(figure.locator("circle.knee")).to_have_count(1)
    expect(figure).to_contain_text("The knee, 50 hits, is marked")


def test_a_pass_without_judgments_gives_a_page(folder: Folder) -> None:
    report = make_report(
        verdict="pass", findings=[{"rule": "r", "outcome": "pass", "message": "m"}], paired=[], bounds={}, shown=[], golden=[], content={},
        causes={"inspected": 0, "differences": [], "causes": [], "reasons": {}, "tokens": {}, "explanations": {}}, changes={"rbo": [0, 1], "ndcg": []},
        judges={"judges": [], "agreement": []}, queries={**make_report()["queries"], "changed": 0},
    )  # fmt: skip
    html = to_html(report, folder)
    assert "Nothing changed: all 30 queries have the same top 10" in html
    assert "There is no difference that could change a ranking." in html


def test_junit_has_a_case_for_each_rule_and_each_golden_query() -> None:
    suite = ElementTree.fromstring(to_junit(make_report(golden=[{"query_id": "g", "query": "bad \x00 & <>", "broken": True}])))[0]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "2", "1")
    assert suite.findall("testcase")[-1].get("name") == "bad  & <>"
    assert json.loads(json.dumps(suite.get("name"))) == f"audit {EVIL}"


def test_junit_is_valid_xml_for_any_ids_and_names() -> None:
    odd = "a\x00\x0b\x1b\ud800\ufffe\x85b \u00a0\u20ac"
    report = make_report(name=odd, golden=[{"query_id": odd, "query": odd, "broken": True}])
    suite = ElementTree.fromstring(to_junit(report).encode())[0]
    assert suite.get("name") == "audit ab \u00a0\u20ac"
    assert suite.findall("testcase")[-1].findtext("failure") == "ab \u00a0\u20ac"


def test_a_rule_can_name_exactly_the_measures_of_a_report() -> None:
    with tallied([]) as tally:
        assert {*_scalars(tally, {}, []), "latency ratio"} == set(SCALARS)
