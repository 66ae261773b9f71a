"""What libraries say of themselves stays off a user's terminal; what we say comes, and once."""

import asyncio
import logging
import subprocess
import sys

import pytest

from slimrank.serving.queue.background import Chore

LIBRARIES = """
from slimrank.telemetry import quiet_libraries
quiet_libraries()
import logging, sys, warnings
from tqdm import tqdm
from transformers.utils import logging as transformers_logging
list(tqdm(range(3), desc="Converting tensors"))
warnings.warn("of a library")
transformers_logging.get_logger("transformers.models.llama").warning("The tokenizer class you load")
transformers_logging.get_logger("transformers.models.llama").error("an error")
"""

LOGS = """
import logging, sys
from slimrank.telemetry import configure_logging
configure_logging(sys.argv[1])
for name in ("httpx", "urllib3", "celery", "kombu", "uvicorn.error", "bm25s", "slimrank.serving.gateway.server"):
    logging.getLogger(name).info("says")
    logging.getLogger(name).warning("warns")
"""


def python(code: str, *arguments: str) -> str:
    """Return what a process of its own says on both channels: loggers and filters belong to a process."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def test_bars_warnings_and_advice_of_libraries_are_not_shown_and_errors_are() -> None:
    assert python(LIBRARIES).strip() == "an error"


def test_libraries_log_from_warnings_on_and_we_from_the_level_that_is_asked_for() -> None:
    lines = python(LOGS, "info").splitlines()
    said = {line.split()[3] for line in lines if line.endswith(" says")}
    assert said == {"slimrank.serving.gateway.server"}
    assert len([line for line in lines if line.endswith(" warns")]) == 7
    assert "INFO httpx says" in python(LOGS, "debug")


def test_a_chore_says_once_for_whom_it_waits_and_once_that_it_goes_on(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("slimrank.serving.queue.background.RETRY_SECONDS", 0)
    caplog.set_level(logging.INFO, logger="slimrank")
    turns = iter([ConnectionError(), ConnectionError(), ConnectionError(), None, ConnectionError(), ConnectionError()])

    async def scene() -> None:
        ended = asyncio.Event()

        async def turn() -> None:
            error = next(turns, ended)
            if error is ended:
                ended.set()
                await asyncio.Event().wait()
            if isinstance(error, Exception):
                raise error

        chore = Chore("read replies", turn, expected=(ConnectionError,), where="redis://host:6379/0")
        chore.start()
        await ended.wait()
        await chore.stop()

    asyncio.run(scene())
    waits = "read replies waits where=redis://host:6379/0 error=ConnectionError; it is tried until it answers"
    assert caplog.messages == [waits, "read replies goes on where=redis://host:6379/0", waits]
