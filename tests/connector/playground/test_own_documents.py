"""A visitor's own documents in real Chromium: added, searched, judged and downloaded as a collection."""

import json
from pathlib import Path

from playwright.sync_api import Page, Route, expect

from slimrank.evaluation import beir
from tests.connector.playground.test_page import saved

LINES = "Delete a directory tree\nMake a cake\nAn empty directory"
DROP = """([name, text]) => { const carried = new DataTransfer(); carried.items.add(new File([text], name));
    document.body.dispatchEvent(new DragEvent('drop', {dataTransfer: carried, bubbles: true, cancelable: true})); }"""


def bring(page: Page, text: str) -> None:
    page.get_by_role("button", name="Your documents").click()
    page.locator("#own-documents-text").fill(text)
    page.get_by_role("button", name="Use them").click()


def ask(page: Page, query: str) -> None:
    page.get_by_role("searchbox").fill(query)
    page.keyboard.press("Enter")
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()


def test_all_pasted_lines_are_searched_until_the_visitor_leaves_them(page: Page, url: str) -> None:
    page.goto(url)
    bring(page, LINES)
    expect(page.locator("#source-label")).to_have_text("3 pasted documents")
    expect(page.locator("#examples")).to_be_hidden()
    ask(page, "delete a directory")
    expect(page.locator("#reranked-list > li")).to_have_count(3)
    expect(page.locator("#reranked-list > li").first).to_contain_text("Delete a directory tree")
    page.get_by_role("button", name="Leave these documents").click()
    expect(page.locator("#source-label")).to_have_text("eight documents")
    expect(page.locator("#board")).to_be_hidden()


def test_judgments_of_own_documents_give_a_collection_that_slimrank_reads(page: Page, url: str, tmp_path: Path) -> None:
    page.goto(url)
    bring(page, LINES)
    ask(page, "delete a directory")
    page.locator("#reranked-list").get_by_role("button", name="Relevant: line-1", exact=True).click()
    page.locator("#reranked-list").get_by_role("button", name="Not relevant: line-2", exact=True).click()
    expect(page.locator("#ndcg-caption")).to_contain_text("by your judgments")
    for button in ("Download corpus", "Download queries", "Download BEIR qrels"):
        saved(page, button, tmp_path)
    (tmp_path / "qrels").mkdir()
    (tmp_path / "qrels.tsv").rename(tmp_path / "qrels" / "test.tsv")
    collection = beir.read_collection(tmp_path, "test")
    [judged] = collection.qrels.values()
    assert judged == {"line-1": 1, "line-2": 0}
    assert collection.documents["line-3"].text == "An empty directory" and list(collection.queries.values()) == [
        "delete a directory"
    ]


def test_documents_and_their_judgments_survive_a_reload(page: Page, url: str) -> None:
    page.goto(url)
    bring(page, LINES)
    ask(page, "delete a directory")
    page.locator("#reranked-list").get_by_role("button", name="Relevant: line-1", exact=True).click()
    page.reload()
    expect(page.locator("#source-label")).to_have_text("3 pasted documents")
    expect(page.locator("#board[data-state=reranked]")).to_be_visible()
    thumb = page.locator("#reranked-list").get_by_role("button", name="Relevant: line-1", exact=True)
    expect(thumb).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Leave these documents").click()
    page.reload()
    expect(page.locator("#source-label")).to_have_text("eight documents")
    bring(page, LINES)
    ask(page, "delete a directory")
    expect(thumb).to_have_attribute("aria-pressed", "true")


def test_the_format_of_a_dropped_file_is_recognised_by_its_name(page: Page, url: str) -> None:
    page.goto(url)
    page.evaluate(DROP, ["shop.csv", 'id,name,description\np1,Red shoes,"Light, for the road"\np2,Cake,Sweet\n'])
    expect(page.locator("#own-documents-name")).to_have_text("shop.csv")
    page.get_by_role("button", name="Use them").click()
    expect(page.locator("#source-label")).to_have_text("2 documents of shop.csv")
    ask(page, "light shoes")
    expect(page.locator("#reranked-list > li").first).to_contain_text("Red shoes")


def test_a_visitors_actions_before_the_server_has_answered_are_not_lost(page: Page, url: str) -> None:
    held: list[Route] = []
    page.route("**/api/about", lambda route: held.append(route))
    page.goto(url)
    page.get_by_role("button", name="Your index").click()
    expect(page.locator("#own-index")).to_be_visible()
    page.locator("#close-own-index").click()
    page.evaluate(DROP, ["shop.csv", "id,name,description\np1,Red shoes,Light\n"])
    expect(page.locator("#own-documents")).to_be_visible()
    held[0].continue_()
    expect(page.locator("#own-documents-name")).to_have_text("shop.csv")
    expect(page.locator("#own-documents-limits")).to_contain_text("2 MB")
    page.get_by_role("button", name="Use them").click()
    expect(page.locator("#source-label")).to_have_text("1 document of shop.csv")


def test_an_error_is_shown_if_a_file_is_dropped_and_the_server_does_not_answer(page: Page, url: str) -> None:
    page.route("**/api/about", lambda route: route.fulfill(status=422, body="{}"))
    page.goto(url)
    page.evaluate(DROP, ["shop.csv", "id,name\np1,Red shoes\n"])
    expect(page.locator("#own-documents-error")).to_contain_text("server does not answer")


def test_an_invalid_line_is_reported_and_the_pasted_text_is_kept(page: Page, url: str) -> None:
    page.goto(url)
    broken = json.dumps({"text": "a"}) + "\nplain"
    bring(page, broken)
    expect(page.locator("#own-documents-error")).to_contain_text("line 2: not JSON")
    expect(page.locator("#own-documents-text")).to_have_value(broken)
    expect(page.locator("#source-label")).to_have_text("eight documents")


def test_a_large_or_binary_file_is_reported_and_the_pasted_text_is_kept(page: Page, url: str) -> None:
    page.goto(url)
    page.get_by_role("button", name="Your documents").click()
    page.locator("#own-documents-text").fill(LINES)
    page.evaluate(DROP, ["large.txt", "a\n" * 2_000_000])
    expect(page.locator("#own-documents-error")).to_contain_text("large.txt is larger than 2 MB")
    page.locator("#own-documents-file").set_input_files({"name": "x.txt", "mimeType": "text/plain", "buffer": b"\xff\xfe\x00"})
    expect(page.locator("#own-documents-error")).to_contain_text("x.txt cannot be read as UTF-8 text")
    expect(page.locator("#own-documents-text")).to_have_value(LINES)
