"""What a command did to logging ends with its test.

A command that runs in the tests' own process sends log lines to the standard error of that moment, which is closed afterwards:
the next line logged there would end in a traceback, in whatever test comes later.
"""

import logging
from collections.abc import Iterator

import pytest

from slimrank.telemetry import OURS


@pytest.fixture(autouse=True)
def logging_ends_with_its_test() -> Iterator[None]:
    """Put levels back, and take off the handlers that a command put on the root logger; pytest's own stay."""
    root = logging.getLogger()
    loggers = [root, *map(logging.getLogger, OURS)]
    levels, before = [logger.level for logger in loggers], list(root.handlers)
    yield
    for handler in list(root.handlers):
        if type(handler) is logging.StreamHandler and handler not in before:
            root.removeHandler(handler)
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)
