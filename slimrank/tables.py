"""Tables in a terminal, whole: a name or a figure that does not fit is folded, never cut.

Where output is no terminal, as in a file or a log, lines are as long as they must be.
"""

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

WIDEST = 1000


def print_table(table: Table, console: Console | None = None) -> None:
    """Print a table; rich alone would end names in an ellipsis where columns are narrow."""
    console = console or Console()
    for column in table.columns:
        column.overflow = "fold"
    if not console.is_terminal:
        console.width = max(console.width, Measurement.get(console, console.options.update(width=WIDEST), table).maximum)
    console.print(table)
