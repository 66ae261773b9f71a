"""A visitor's actions on the page, in real Chromium."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from connector.playground.policy import Policy
from connector.playground.rankers import Ranking
from slimrank import fusion
from slimrank.errors import ModelNotReady
from slimrank.evaluation import beir, measures, trec
from slimrank.identity import ModelIdentity
from slimrank.types import Scored
from tests.connector.playground.pages import BrokenSource, fake_ranker, playground, running

QUERY = "delete a directory tree"
MINUS, NOTHING = "\N{MINUS SIGN}", "\N{EN DASH}"


def search(page: Page, url: str, query: str = QUERY) -> None:
    page.goto(url)
    page.get_by_role("searchbox", name="Search").fill(query)
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()


def ids(page: Page, side: str) -> list[int]:
    return [int(card.get_attribute("data-place") or -1) for card in page.locator(f"#{side}-list > li").all()]


def test_a_query_shows_both_lists_with_scores_moves_and_lines(page: Page, url: str) -> None:
    search(page, url)
    assert ids(page, "first-stage") == sorted(ids(page, "reranked"))
    best = page.locator("#reranked-list > li").first
    expect(best).to_contain_text("score")
    expect(best.locator(".strength-bar")).to_be_visible()
    expect(best.locator("mark").first).to_be_visible()
    assert page.locator("#lines path").count() == len(ids(page, "reranked"))
    expect(page.locator("#latency-parts")).to_contain_text("inference")
    expect(page.get_by_role("status")).to_contain_text("Reranked in")


def test_a_judged_query_shows_ndcg_before_and_after(page: Page, url: str) -> None:
    search(page, url, "copy a whole directory")
    names = page.evaluate(
        """async () => { const answer = await fetch('api/search', {method: 'POST', headers: {'content-type': 'application/json'},
        body: JSON.stringify({query: 'copy a whole directory'})});
        return (await answer.text()).trim().split('\\n').map(line => JSON.parse(line)); }"""
    )
    hits, scores = [hit["doc_id"] for hit in names[0]["hits"]], names[1]["scores"]
    qrels = {"q": {"copytree": 2}}
    before = measures.mean(qrels, {"q": {doc_id: -float(i) for i, doc_id in enumerate(hits)}}, ["nDCG@10"])["nDCG@10"]
    after = measures.mean(qrels, {"q": dict(zip(hits, scores, strict=True))}, ["nDCG@10"])["nDCG@10"]
    expect(page.locator("#ndcg")).to_contain_text(f"{before:.2f} → {after:.2f}")


@pytest.mark.parametrize("seed", range(5))
def test_the_pages_ndcg_equals_the_ndcg_of_slimrank_measures(page: Page, url: str, seed: int) -> None:
    from random import Random

    random = Random(seed)
    judged = {f"d{i}": random.choice([0, 0, 1, 2, 3]) for i in range(30)}
    hits = [*random.sample(sorted(judged), 14), "unjudged"]
    random.shuffle(hits)
    expected = measures.mean({"q": judged}, {"q": {doc_id: -float(i) for i, doc_id in enumerate(hits)}}, ["nDCG@10"])["nDCG@10"]
    page.goto(url)
    found = page.evaluate(
        "async ([relevances, ideal]) => (await import('./static/ranking.js')).ndcgAt10(relevances, ideal)",
        [[judged.get(doc_id) for doc_id in hits], list(judged.values())],
    )
    assert found == pytest.approx(expected, abs=1e-12)


def test_an_example_can_be_clicked(page: Page, url: str) -> None:
    page.goto(url)
    page.locator("#example-list").get_by_role("button", name="copy a whole directory").click()
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value("copy a whole directory")


def test_a_new_depth_searches_again_and_a_new_fusion_weight_reorders_at_once(page: Page, url: str) -> None:
    search(page, url)
    reranked = ids(page, "reranked")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.post_data or "") if "api/search" in request.url else None)
    page.get_by_label("Fusion").fill("3")
    expect(page.locator("#fusion-value")).to_have_text("weight 3.0")
    assert ids(page, "reranked") != reranked and not sent
    page.get_by_label("Fusion").fill("0")
    assert ids(page, "reranked") == reranked
    page.get_by_label("Depth").fill("5")
    expect(page.locator("#reranked-list > li")).to_have_count(5)
    assert json.loads(sent[-1])["depth"] == 5


@pytest.mark.parametrize("weight", [0.0, 0.3, 2.0])
def test_the_pages_fusion_equals_the_gateways_fusion(page: Page, url: str, weight: float) -> None:
    scores = [0.5, 2.0, -1.0, 2.0, 7.25]
    page.goto(url)
    found = page.evaluate(
        "async ([scores, weight]) => (await import('./static/ranking.js')).fuse(scores, weight)", [scores, weight]
    )
    assert found == pytest.approx(fusion.fuse(scores, range(1, 6), weight).tolist())


def test_fusion_starts_with_the_models_fitted_weight_and_keeps_it(page: Page) -> None:
    with running(playground(ranker=fake_ranker(fusion_weight=0.7))) as fused:
        page.goto(fused)
        expect(page.locator("#fusion-value")).to_have_text("weight 0.7, fitted")
        expect(page.get_by_label("Fusion")).to_have_value("0.7")
        search(page, fused)
        expect(page.get_by_label("Fusion")).to_have_value("0.7")


def test_a_weight_between_two_steps_of_the_slider_is_used_exactly(page: Page) -> None:
    with running(playground(ranker=fake_ranker(fusion_weight=0.35))) as fused:
        search(page, fused)
        expect(page.locator("#fusion-value")).to_have_text("weight 0.35, fitted")


def test_the_slider_does_not_move_under_the_pointer_when_its_value_changes(page: Page, url: str) -> None:
    search(page, url)
    places = []
    for weight in ("0", "3", "0.7"):
        page.get_by_label("Fusion").fill(weight)
        places.append(page.get_by_label("Fusion").bounding_box())
    assert places[0] == places[1] == places[2]


def test_the_list_is_sorted_by_the_score_that_the_cards_show(page: Page) -> None:
    with running(playground(ranker=fake_ranker(fusion_weight=2.0))) as fused:
        search(page, fused)
        cards = page.locator("#reranked-list > li").all()
        shown = [float(card.locator(".score b").inner_text().replace(MINUS, "-")) for card in cards]
        models = [float(card.locator(".model-score").inner_text().split()[-1].replace(MINUS, "-")) for card in cards]
        assert shown == sorted(shown, reverse=True) and models != sorted(models, reverse=True)
        assert shown[0] == pytest.approx(models[0] - 2.0 * np.log(1 + ids(page, "reranked")[0]), abs=0.01)
        page.get_by_label("Fusion").fill("0")
        expect(page.locator(".model-score")).to_have_count(0)


def test_a_cards_bar_shows_its_position_between_the_lowest_and_the_highest_score(page: Page, url: str) -> None:
    search(page, url)
    said = [text.split(" of 100")[0] for text in page.locator("#reranked-list .strength").all_inner_texts()]
    assert said[0].strip() == "100" and said[-1].strip() == "0"
    assert "%" not in page.locator("#reranked-list .score").first.inner_text()
    page.locator("#reranked-list .title").first.click()
    expect(page.locator("#reranked-list .chance").first).to_contain_text("In the data that the model was calibrated on")


def test_after_a_missed_deadline_the_page_keeps_the_first_stage_and_says_so(page: Page) -> None:
    with running(playground(ranker=fake_ranker(seconds=1))) as slow:
        page.goto(slow)
        page.get_by_label("Deadline").select_option("50")
        page.get_by_role("searchbox").fill(QUERY)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("Not reranked")
        expect(page.get_by_role("alert")).to_contain_text("order is kept")
        expect(page.locator("#board")).to_have_attribute("data-state", "unranked")
        assert ids(page, "first-stage") and not ids(page, "reranked")
        expect(page.locator("#no-scores")).to_be_visible()


class FailsLater:
    """Ranks the first search, and fails for all later searches."""

    def __init__(self) -> None:
        self.searches = 0

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def fusion_weight(self) -> float | None:
        return None

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        self.searches += 1
        if self.searches > 1:
            raise ModelNotReady("the gateway does not answer; is it running?")
        scores = np.arange(len(documents), dtype=np.float32)
        scored = Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, 10)
        return Ranking(scored, ModelIdentity("once"), 0.0, 0.1)


def test_a_failing_search_removes_the_results_of_the_search_before(page: Page) -> None:
    with running(playground(ranker=FailsLater())) as failing:
        search(page, failing)
        expect(page.locator("#ndcg")).to_contain_text("→")
        page.get_by_role("searchbox").fill("an emoji before the word directory")
        page.keyboard.press("Enter")
        expect(page.locator("#board")).to_have_attribute("data-state", "unranked")
        expect(page.locator("#ndcg")).to_have_text(NOTHING)
        expect(page.locator("#moves")).to_have_text(NOTHING)
        expect(page.locator("#moves-caption")).to_have_text("nothing was reranked")
        expect(page.locator("#latency-parts")).not_to_contain_text("inference")
        expect(page.locator("#passage-note")).to_be_hidden()
        expect(page.get_by_role("alert")).to_contain_text("is it running? The first stage")
        page.get_by_role("searchbox").fill("zebra")
        page.keyboard.press("Enter")
        expect(page.locator("#empty")).to_be_visible()
        expect(page.locator("#figures")).to_be_hidden()
        expect(page.get_by_role("alert")).to_be_hidden()


def test_the_slider_is_disabled_until_the_server_knows_the_weight(page: Page) -> None:
    with running(playground(ranker=FailsLater())) as unknown:
        page.goto(unknown)
        expect(page.locator("#source-label")).to_have_text("eight documents")
        expect(page.get_by_label("Fusion")).to_be_disabled()
        search(page, unknown)
        expect(page.get_by_label("Fusion")).to_be_enabled()


class HalfRanker:
    """Scores two documents before its deadline."""

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    async def fusion_weight(self) -> float | None:
        return 0.0

    async def rank(self, query: str, documents: Sequence[str], *, timeout_seconds: float) -> Ranking:
        scores = np.array([1.0, 2.0, *(-1000.0 - i for i in range(2, len(documents)))], dtype=np.float32)
        scored = Scored(scores, np.zeros(len(documents), dtype=np.bool_), False, 10, depth=2)
        return Ranking(scored, ModelIdentity("half"), 0.0, 0.1)


def test_documents_not_scored_in_time_are_marked_and_show_no_score(page: Page) -> None:
    with running(playground(ranker=HalfRanker())) as half:
        search(page, half)
        cards = page.locator("#reranked-list > li")
        expect(cards.nth(0).locator(".score")).to_contain_text("2.00")
        expect(cards.nth(2).locator(".score")).to_have_text("not scored in time")
        partial = page.locator("#partial")
        expect(partial).to_contain_text(f"2 of {cards.count()} documents were scored in 60 s, the longest time for a search here")
        expect(partial).not_to_contain_text("more time")  # there is no deadline to extend
        page.locator("#deadline").select_option("5000")
        expect(partial).to_contain_text(f"2 of {cards.count()} documents were scored by the deadline")
        expect(partial).to_contain_text("Allow more time")
        expect(page.locator("#reranked-list > .unscored")).to_have_count(cards.count() - 2)
        expect(page.get_by_role("status")).to_contain_text(f"2 of {cards.count()} documents scored")


def test_a_slow_model_shows_the_first_stage_with_the_time_and_can_be_cancelled(page: Page) -> None:
    with running(playground(ranker=fake_ranker(seconds=4))) as slow:
        page.goto(slow)
        page.get_by_role("searchbox").fill(QUERY)
        page.keyboard.press("Enter")
        expect(page.locator("#first-stage-list > li").first).to_be_visible()
        expect(page.locator("#progress")).to_contain_text("Scoring")
        expect(page.locator("#progress-text")).to_contain_text("1.", timeout=5000)
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#progress")).to_be_hidden()
        expect(page.locator("#board")).to_have_attribute("data-state", "unranked")


def test_a_new_search_replaces_the_running_search(page: Page, url: str) -> None:
    with running(playground(ranker=fake_ranker(seconds=0.6))) as slow:
        page.goto(slow)
        for query in ("copy a whole directory", QUERY):
            page.get_by_role("searchbox").fill(query)
            page.keyboard.press("Enter")
        expect(page.locator("#board[data-state=reranked]")).to_be_visible()
        expect(page.locator("#first-stage-list > li").first).to_contain_text("rmtree")


def test_an_engine_that_is_down_is_reported_with_a_button_to_try_again(page: Page) -> None:
    with running(playground(source=BrokenSource(), judged=())) as broken:
        page.goto(broken)
        page.get_by_role("searchbox").fill(QUERY)
        page.keyboard.press("Enter")
        expect(page.get_by_role("alert")).to_contain_text("is the engine up")
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("alert")).to_contain_text("is the engine up")
        expect(page.locator("#examples")).to_be_hidden()


def test_a_server_that_does_not_answer_is_reported(page: Page, url: str) -> None:
    page.goto(url)
    page.evaluate("() => { window.fetch = async () => { throw new TypeError('refused'); }; }")
    page.get_by_role("searchbox").fill(QUERY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("does not answer")


def test_an_empty_result_says_why(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("searchbox").fill("zebra")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Nothing found.").first).to_be_visible()


def test_an_untrained_model_is_reported(page: Page) -> None:
    with running(playground(is_trained=False)) as untrained:
        page.goto(untrained)
        expect(page.locator("#notice")).to_contain_text("not trained to judge relevance yet")


def test_a_title_opens_its_document(page: Page, url: str) -> None:
    search(page, url)
    title = page.locator("#reranked-list .title").first
    title.click()
    expect(title).to_have_attribute("aria-expanded", "true")
    expect(page.locator("#reranked-list .full").first).to_be_visible()


def test_the_query_is_kept_in_the_address_but_never_sent_in_it(page: Page, url: str) -> None:
    search(page, url)
    assert page.url.endswith("#q=delete%20a%20directory%20tree")
    page.reload()
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()
    expect(page.get_by_role("searchbox")).to_have_value(QUERY)


# -- judging -----------------------------------------------------------------------------------------------------------


def saved(page: Page, button: str, tmp_path: Path) -> Path:
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_judgments_can_be_downloaded_as_qrels_that_slimrank_reads(page: Page, url: str, tmp_path: Path) -> None:
    search(page, url, "an emoji before the word directory")
    page.locator("#reranked-list").get_by_role("button", name="Relevant: rmtree(path)", exact=True).click()
    page.locator("#reranked-list").get_by_role("button", name="Not relevant: mkdir(path)", exact=True).click()
    page.locator("#reranked-list").get_by_role("button", name="Relevant: a b c", exact=True).click()
    expect(page.locator("#judgments-count")).to_contain_text("3 documents over 1 query")
    expect(page.locator("#ndcg-caption")).to_contain_text("by your judgments, 2 relevant documents")
    [(query_id, judged)] = beir.read_qrels(saved(page, "Download BEIR qrels", tmp_path)).items()
    assert judged == {"rmtree": 1, "mkdir": 0, "a b%09c": 1}
    assert trec.read_qrels(saved(page, "Download TREC qrels", tmp_path)) == {query_id: {"rmtree": 1, "mkdir": 0, "a%20b%09c": 1}}
    [line] = saved(page, "Download queries", tmp_path).read_text().splitlines()
    assert json.loads(line) == {"_id": query_id, "text": "an emoji before the word directory"}


def test_a_second_press_removes_a_judgment_and_judgments_survive_a_reload(page: Page, url: str) -> None:
    search(page, url)
    thumb = page.locator("#reranked-list").get_by_role("button", name="Relevant: rmdir(path)", exact=True)
    thumb.click()
    page.reload()
    expect(thumb).to_have_attribute("aria-pressed", "true")
    thumb.click()
    expect(thumb).to_have_attribute("aria-pressed", "false")
    expect(page.locator("#judgments")).to_be_hidden()


# -- own index ---------------------------------------------------------------------------------------------------------


def fill_own_index(page: Page, engine: str) -> None:
    page.get_by_role("button", name="Your index").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("URL").fill(engine)
    dialog.get_by_label("Index", exact=True).fill("products")
    dialog.get_by_label("Text fields").fill("title, text")
    dialog.get_by_label("User").fill("ann")
    dialog.get_by_label("Password").fill("s3cret")
    dialog.get_by_role("button", name="Use it").click()


def test_an_own_index_is_used_until_the_visitor_leaves_it_and_its_password_is_not_stored(page: Page, url: str) -> None:
    page.goto(url)
    sent: list[dict[str, object]] = []

    def answer(route: Route) -> None:
        sent.append(route.request.post_data_json)
        route.fulfill(body='{"event":"failed","stage":"first_stage","kind":"engine","message":"no such engine"}\n')

    page.route("**/api/search", answer)
    page.route("**/api/index", lambda route: route.fulfill(json={"status": "ok"}))
    fill_own_index(page, "https://search.example:9200")
    expect(page.locator("#source-label")).to_contain_text("products at https://search.example:9200")
    page.get_by_role("searchbox").fill(QUERY)
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("no such engine")
    assert sent[0]["own_index"] == {
        "url": "https://search.example:9200",
        "index_name": "products",
        "fields": ["title", "text"],
        "user": "ann",
        "password": "s3cret",
        "api_key": None,
        "verify_tls": True,
    }
    stored = page.evaluate("JSON.stringify([localStorage, sessionStorage, document.cookie, location.href])")
    assert "s3cret" not in stored
    page.get_by_role("button", name="Leave this index").click()
    expect(page.locator("#source-label")).to_have_text("eight documents")
    assert page.locator("#own-index-form [name=password]").input_value() == ""


def test_an_index_is_tested_when_it_is_entered_and_the_typed_values_are_kept(page: Page, url: str) -> None:
    page.goto(url)
    fill_own_index(page, "http://127.0.0.1:9")
    expect(page.locator("#own-index-error")).to_contain_text("nothing answers at http://127.0.0.1:9")
    expect(page.get_by_role("dialog").get_by_label("Password")).to_have_value("s3cret")
    expect(page.locator("#source-label")).to_have_text("eight documents")


def test_an_incomplete_index_is_refused_with_the_name_of_the_field(page: Page, url: str) -> None:
    page.goto(url)
    fill_own_index(page, "not a url")
    expect(page.locator("#own-index-error")).to_contain_text("URL")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()


def test_if_an_own_index_is_not_allowed_the_dialog_says_why(page: Page) -> None:
    with running(playground(policy=Policy("0.0.0.0"))) as public:
        page.goto(public)
        page.get_by_role("button", name="Your index").click()
        expect(page.locator("#own-index-refused")).to_contain_text("--allow-own-index")
        expect(page.get_by_role("button", name="Use it")).to_be_disabled()


# -- hostile texts -----------------------------------------------------------------------------------------------------


def test_markup_in_documents_and_queries_stays_text(page: Page, url: str) -> None:
    hostile = "directory <img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
    search(page, url, hostile)
    card = page.locator("#reranked-list > li").filter(has_text="hostile").first
    card.locator(".title").click()
    expect(card.locator(".full")).to_contain_text("<script>document.title='owned'</script>")
    card.locator("[data-relevance='1']").click()
    page.reload()
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()
    assert page.title() == "slimrank playground"
    assert page.locator("main img, main script, dialog img").count() == 0


def test_no_script_can_turn_text_into_markup(browser: Browser, url: str) -> None:
    page = browser.new_page()
    page.goto(url)
    assert (
        page.evaluate("(() => { try { document.body.innerHTML = '<b>x</b>'; return 'made'; } catch (e) { return e.name; } })()")
        == "TypeError"
    )
    page.close()


def test_marks_have_the_right_place_after_an_emoji(page: Page, url: str) -> None:
    search(page, url, "emoji directory")
    card = page.locator("#first-stage-list > li").filter(has_text="🐍").first
    assert [mark.inner_text() for mark in card.locator("mark").all()] == ["emoji", "directory"]
