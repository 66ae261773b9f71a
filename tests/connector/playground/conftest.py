"""A real Chromium, and a new page of a playground for each test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from tests.connector.chromium import chromium
from tests.connector.playground.pages import playground, running


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


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
