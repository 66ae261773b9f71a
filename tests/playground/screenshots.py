"""Take pictures of a running playground, to be looked at and chosen from.

    slimrank playground --port 8090
    python -m tests.playground.screenshots http://localhost:8090 FOLDER [QUERY]

Every width in both themes goes to FOLDER. Figures on a picture that is published come from a real, trained model.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from tests.playground.conftest import CHROMIUM

WIDTHS = (360, 768, 1280, 1920)
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
                page.context.close()
        browser.close()


def _open(browser: Browser, url: str, theme: str, width: int) -> Page:
    height = 780 if width < 500 else 900
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if theme == "dark" else "light"
    )
    page = context.new_page()
    page.goto(url)
    page.wait_for_selector("#source-label:not(:empty)")
    page.wait_for_timeout(300)
    return page


def _search(page: Page, query: str) -> None:
    page.locator("#depth").fill("10")
    page.get_by_role("searchbox").fill(query)
    page.keyboard.press("Enter")
    page.wait_for_selector("#board[data-state=reranked]", timeout=PATIENCE_MS)
    page.evaluate("document.activeElement.blur()")
    page.wait_for_timeout(800)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
