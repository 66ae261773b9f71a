"""A real Chromium for the tests of pages."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, sync_playwright

from tests.nodes.require import require

CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run the machine's Chromium without a window; playwright's own is not downloaded.

    A fixture starts one browser for each module and not for the session, because playwright's event loop runs in this thread until
    the browser is closed, and no other test could run an event loop.
    """
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if executable is None:
        require("no Chromium was found; install Debian's chromium")
    with sync_playwright() as playwright:
        # No sandbox: CI runs as root, and Chromium's sandbox does not start as root.
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        yield browser
        browser.close()
