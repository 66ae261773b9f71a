"""Help: of one style everywhere, each with a line to type, and never cut off before the sentence ends."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from slimrank.__main__ import COMMANDS, app


def paths() -> Iterator[list[str]]:
    """Return every command and group, as words behind `slimrank`."""
    root: Any = get_command(app)
    yield []
    for name in COMMANDS:
        yield from below([name], root.get_command(None, name))


def below(path: list[str], command: Any) -> Iterator[list[str]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from below([*path, name], inner)


@pytest.mark.parametrize("path", list(paths()), ids=" ".join)
def test_help_is_plain_has_an_example_and_is_whole(path: list[str]) -> None:
    shown = CliRunner().invoke(app, [*path, "-h"], terminal_width=120)
    assert shown.exit_code == 0 and shown.output.startswith("Usage: ")
    assert not set(shown.output) & set("╭│╰─")
    assert re.search(" ".join([r"Examples?: .*slimrank", *path]), " ".join(shown.output.split()))
    assert not re.search(r"[a-z]\.\.\.$", shown.output, re.MULTILINE)
