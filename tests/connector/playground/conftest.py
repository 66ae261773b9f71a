"""A real Chromium, and a new page of a playground for each test."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from tests.connector.playground.pages import playground, running
from tests.nodes.require import require

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Yield the machine's Chromium without a window; playwright's own is not downloaded.

    One browser is started for each module and not for the session, because playwright's event loop runs in this thread until the
    browser is closed, and no other test could run an event loop.
    """
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        require("no Chromium was found; install Debian's chromium")
    with sync_playwright() as playwright:
        # No sandbox: CI runs as root, and Chromium's sandbox does not start as root.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def url() -> Iterator[str]:
    """Yield the address of a playground over the small corpus."""
    with running(playground()) as address:
        yield address


def _is_fault(message: ConsoleMessage) -> bool:
    return message.type == "error" and "status of 422" not in message.text


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield an empty page that fails the test on any script error or refused resource.

    Refusals of our server (422) are shown on the page and do not fail the test.
    """
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if _is_fault(message) else None)
    page.set_default_timeout(10_000)
    yield page
    context.close()
    assert not faults
