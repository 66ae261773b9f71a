"""Tables are printed whole, in a terminal as in a file."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from slimrank.tables import print_table

NAME = "subprocess.CompletedProcess.check_returncode"


def printed(*, width: int, is_terminal: bool) -> str:
    table = Table("contender", "pairs a second", "peak MB")
    table.add_row(NAME, "123456.7", "1024")
    console = Console(file=io.StringIO(), width=width, force_terminal=is_terminal, no_color=True, legacy_windows=False)
    print_table(table, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [30, 50, 200])
def test_a_narrow_terminal_folds_names_and_cuts_none(width: int) -> None:
    text = printed(width=width, is_terminal=True)
    assert "…" not in text
    column = "".join(line.split("│")[1].strip() for line in text.splitlines() if line.count("│") == 4)
    assert NAME in column


def test_a_file_gets_each_row_in_one_line_however_narrow_the_console() -> None:
    text = printed(width=30, is_terminal=False)
    [row] = [line for line in text.splitlines() if NAME in line]
    assert "123456.7" in row and "1024" in row
