"""Take pictures of a running playground, for inspection and selection.

    slimrank playground --port 8090
    python -m tests.connector.playground.screenshots http://localhost:8090 FOLDER [QUERY]

Pictures of every width in both themes are written to FOLDER. For a published picture, use a real, trained model.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.connector.chromium import CHROMIUM

WIDTHS = (390, 820, 1440)
DOCUMENTS = """Red running shoes, light, for the road
Red shoe polish, keeps leather soft
Trail shoes with a rough sole for mud and stones
A rain jacket for long runs in bad weather
"""
OWN_QUERY = "what to wear for jogging in the rain"
QUERY = "run a shell command and capture its output"
PATIENCE_MS = 120_000


def main(url: str, folder: Path, query: str = QUERY) -> None:
    """Take all pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    executable = next(filter(None, map(shutil.which, CHROMIUM)))
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for theme in ("light", "dark"):
            for width in WIDTHS:
                page = _open(browser, url, theme, width)
                page.screenshot(path=folder / f"home-{theme}-{width}.png")
                _search(page, query)
                page.screenshot(path=folder / f"{theme}-{width}.png")
                page.screenshot(path=folder / f"{theme}-{width}-whole.png", full_page=True)
                _bring_documents(page)
                page.screenshot(path=folder / f"own-{theme}-{width}.png")
                page.route("**/api/search", lambda route: route.abort())
                page.get_by_role("button", name="Search", exact=True).click()
                page.wait_for_selector("#alert:not([hidden])")
                page.screenshot(path=folder / f"error-{theme}-{width}.png")
                page.context.close()
        browser.close()


def _open(browser: Browser, url: str, theme: str, width: int) -> Page:
    height = 844 if width < 500 else 900
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#source-label:not(:empty)")
    page.wait_for_timeout(300)
    return page


def _search(page: Page, query: str) -> None:
    page.get_by_role("searchbox").fill(query)
    page.keyboard.press("Enter")
    page.wait_for_selector("#board[data-state=reranked]", timeout=PATIENCE_MS)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(800)


def _bring_documents(page: Page) -> None:
    page.get_by_role("button", name="Your documents").click()
    page.locator("#own-documents-text").fill(DOCUMENTS)
    page.get_by_role("button", name="Use them").click()
    page.wait_for_selector("#leave:not([hidden])")
    _search(page, OWN_QUERY)
    page.locator("#reranked-list .thumb").first.click()
    page.mouse.move(0, 0)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
