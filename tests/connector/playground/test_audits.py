"""The audit pages: the list, the progress, and an isolated report."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from connector.playground.audits import list_audits, page_of
from tests.connector.playground.pages import playground, running

SPEC = {
    "before": {"url": "http://localhost:9200", "index": "products_v1", "fields": ["title"]},
    "after": {"url": "http://localhost:9200", "index": "products_v2", "fields": ["title"]},
    "queries": {"file": "queries.jsonl"},
}


def make_audit(folder: Path, *, chunks: int = 0, verdict: str | None = None) -> None:
    (folder / "answers").mkdir(parents=True)
    (folder / "plan.json").write_text(json.dumps({"spec": SPEC, "queries": 60}))
    for number in range(chunks):
        (folder / "answers" / f"{number:04}.jsonl").write_text("{}\n")
    if verdict:
        (folder / "report.json").write_text(json.dumps({"verdict": verdict, "queries": {"changed": 7}}))
        (folder / "report.html").write_text(
            f"<!doctype html><title>{verdict}</title><h1>{verdict}</h1><script>document.title = 'its own script ran';"
            "try { localStorage.length; document.title = 'it reads our storage'; } catch (e) {}"
            "fetch('/api/about').then(() => { document.title = 'it calls us'; }, () => {});</script>"
        )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_audit(tmp_path / "planned")
    make_audit(tmp_path / "half way", chunks=1)
    make_audit(tmp_path / "good", chunks=3, verdict="pass")
    make_audit(tmp_path / "bad", chunks=3, verdict="fail")
    (tmp_path / "no audit").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "plan.json").write_text("{")
    return tmp_path


@pytest.fixture
def audits_url(root: Path) -> Iterator[str]:
    with running(playground(audits=root)) as url:
        yield url


def test_each_audit_shows_its_progress_and_its_result(root: Path) -> None:
    found = {audit.name: (audit.step, audit.verdict) for audit in list_audits(root)}
    assert found == {
        "planned": ("planned", None),
        "half way": ("asking", None),
        "good": ("reported", "pass"),
        "bad": ("reported", "fail"),
    }
    [half] = [audit for audit in list_audits(root) if audit.name == "half way"]
    assert half.share_done == pytest.approx(1 / 3) and (half.before, half.after) == ("products_v1", "products_v2")


@pytest.mark.parametrize("name", ["..", ".", "planned", "nowhere", "../good", "good/../bad"])
def test_a_report_is_opened_only_by_its_folders_name(root: Path, name: str) -> None:
    assert page_of(root, name) is None
    assert page_of(root, "good") == root / "good" / "report.html"


def test_other_folders_cannot_be_reached_over_http(audits_url: str) -> None:
    assert httpx.get(f"{audits_url}audits/..%2fgood").status_code == 404
    assert httpx.get(f"{audits_url}audits/good").status_code == 200


def test_without_a_folder_there_are_no_audits(url: str) -> None:
    assert httpx.get(f"{url}api/audits").json() == []
    assert httpx.get(f"{url}audits/good").status_code == 404


def test_the_list_shows_verdicts_and_progress_and_is_updated_during_a_run(page: Page, audits_url: str, root: Path) -> None:
    page.goto(audits_url)
    page.get_by_role("link", name="Audits").click()
    half = page.get_by_role("listitem").filter(has_text="half way")
    expect(half.get_by_role("progressbar")).to_have_attribute("value", "33")
    expect(page.get_by_role("listitem").filter(has_text="bad")).to_contain_text("fail")
    for number in (1, 2):
        (root / "half way" / "answers" / f"{number:04}.jsonl").write_text("{}\n")
    expect(half).to_contain_text("asked; no report yet")


def test_a_report_runs_its_own_script_but_cannot_reach_our_server_or_storage(browser: Browser, audits_url: str) -> None:
    page = browser.new_page()
    page.goto(f"{audits_url}audits")
    page.get_by_role("link", name="good").click()
    expect(page.get_by_role("heading", name="pass")).to_be_visible()
    page.wait_for_timeout(300)
    assert page.title() == "its own script ran"
    page.close()


def test_axe_finds_no_fault_in_the_list(browser: Browser, audits_url: str) -> None:
    context = browser.new_context(bypass_csp=True)
    page = context.new_page()
    page.goto(f"{audits_url}audits")
    expect(page.get_by_role("listitem").first).to_be_visible()
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "best-practice"]})
    context.close()
    assert found.response["violations"] == []


def test_a_link_to_a_report_carries_the_chosen_theme(page: Page, audits_url: str) -> None:
    page.goto(f"{audits_url}audits")
    page.get_by_role("button", name="Switch to the dark theme").click()
    # The link is not followed, because the report of these tests calls the server, which is refused.
    follow = "link => { link.addEventListener('click', event => event.preventDefault()); link.click(); return link.href; }"
    assert page.get_by_role("link", name="good").evaluate(follow) == f"{audits_url}audits/good#theme=dark"
