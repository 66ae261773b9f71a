"""``slimrank bench``: it prints its help alone, each subcommand has an example, and former options name the new command."""

from typing import Any

import pytest
from typer.main import get_command

from slimrank.bench.cli import FORMER_OPTIONS, app
from tests.command import slimrank

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]


def test_without_a_subcommand_it_prints_its_help() -> None:
    done = slimrank("bench")
    assert all(name in done.out + done.err for name in COMMANDS)
    assert "Measure speed, memory and scores" in done.out + done.err


def test_its_subcommands_are_these() -> None:
    assert list(COMMANDS) == ["load", "engine", "queue", "memory", "determinism", "hostile", "curves", "all"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_subcommand_shows_an_example_and_prints_json(name: str) -> None:
    done = slimrank("bench", name, "--help")
    assert done.code == 0
    assert f"Example: slimrank bench {name}" in done.out
    assert "--json" in done.out


@pytest.mark.parametrize("option", FORMER_OPTIONS)
def test_a_former_option_is_refused_in_one_line_that_names_the_new_command(option: str) -> None:
    done = slimrank("bench", "--threads", 1, option)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert f"`slimrank bench {option}` is now `slimrank bench {FORMER_OPTIONS[option]}`" in done.err


def test_options_of_a_load_are_refused_without_the_subcommand() -> None:
    done = slimrank("bench", "--rate", 5)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "`slimrank bench --rate` is now `slimrank bench load`" in done.err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("engine", "--plot", "curves.pdf"), "--plot draws .png and .svg files"),
        (("curves", "--plot", "curves.pdf"), "--plot draws .png and .svg files"),
        (("load", "--documents", "10,,20"), "--documents is whole numbers above 0"),
        (("hostile", "--data", "nothing-here"), "nothing-here"),
        (("memory", "--model", "no-such-model"), "no-such-model"),
        (("determinism", "--model", "no-such-model"), "no-such-model"),
    ],
)
def test_bad_input_of_a_subcommand_is_refused_in_one_line(arguments: tuple[str, ...], reason: str) -> None:
    done = slimrank("bench", *arguments)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert reason in done.err
