"""Options that several commands share, so that an option means the same in each of them, and has the same default.

A command that measures collections takes ``--data FOLDER``, once for each collection, and ``--split``. ``--queries`` and ``--seed`` choose
the same queries in every such command.
"""

from pathlib import Path
from typing import Annotated

import typer

from slimrank.errors import ConfigError

DataOption = Annotated[
    list[Path],
    typer.Option(
        "--data", help="Collection: a BEIR folder (corpus.jsonl, queries.jsonl, qrels/SPLIT.tsv); can be given several times."
    ),
]
OptionalDataOption = Annotated[
    list[Path] | None, typer.Option("--data", help="Collection: a BEIR folder; can be given several times.")
]
SplitOption = Annotated[str, typer.Option(help="Split of each collection: qrels/SPLIT.tsv.")]
QueriesOption = Annotated[int | None, typer.Option(min=1, help="Sample this many queries of each collection; default all.")]
DepthOption = Annotated[int, typer.Option(min=1, help="First-stage hits of each query that are reranked.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for a program, in place of text.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the sample of queries, and of whatever else is drawn.")]

SPLIT = "test"
DEPTH = 100
SEED = 0


def whole_numbers(option: str, given: str) -> list[int]:
    """Return the numbers of an option such as ``48,64,96``.

    Raises:
        ConfigError: a part of the text is not a whole number above 0.
    """
    found = [int(part) for part in given.split(",") if part.strip().isdigit() and int(part) > 0]
    if len(found) != len(given.split(",")):
        raise ConfigError(f"{option} is whole numbers above 0 with commas between, such as 48,64,96; found {given!r}")
    return found
