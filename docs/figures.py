"""Read the measured figures that other pages repeat, each from the one page that states it.

The gain of a model comes from its card, the time of a request from the sizing table of docs/guides/operating.md, and the comparison
with other ways to run the same weights from the benchmark in docs/guides/engine.md. Nothing is measured or rounded here.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from slimrank.settings import DEFAULT_MODEL_NAME

ROOT = Path(__file__).parent.parent
CARD = ROOT / "models" / DEFAULT_MODEL_NAME / "README.md"
SIZING = ROOT / "docs" / "guides" / "operating.md"
BENCHMARK = ROOT / "docs" / "guides" / "engine.md"


@dataclass(frozen=True, slots=True)
class Gain:
    """nDCG@10 of one test set, or the mean of all, before and after reranking, and the difference with its 95% interval."""

    name: str
    before: float
    after: float
    difference: float
    low: float
    high: float

    @property
    def queries(self) -> int:
        """The number of queries, which the card has in brackets, as in ``cosqa (50)``; the mean of all sets has none.

        Raises:
            ValueError: the name has no number in brackets.
        """
        found = re.search(r"\((\d+)", self.name)
        if found is None:
            raise ValueError(f"{self.name!r} does not have the number of queries in brackets")
        return int(found[1])


@dataclass(frozen=True, slots=True)
class Sizing:
    """A line of the sizing table: the median time of one request."""

    precision: str
    processes: int
    cores: int
    documents: int
    tokens: int
    seconds: float


def rows(text: str, first_column: str) -> list[list[str]]:
    """Return the rows of the first Markdown table whose header begins with ``first_column``, without marks for bold text."""
    lines = text.splitlines()
    start = next((place for place, line in enumerate(lines) if line.startswith(f"| {first_column}")), None)
    if start is None:
        raise ValueError(f"no table begins with the column {first_column!r}")
    found = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append([cell.strip().replace("**", "") for cell in line.strip("|").split("|")])
    return found


def gains(card: Path = CARD) -> list[Gain]:
    """Return the gain on each test set, with scores fused with the first stage's order; the last is the mean."""
    return [_gain(cells) for cells in rows(card.read_text(encoding="utf-8"), "test set (queries)")]


def _gain(cells: list[str]) -> Gain:
    name, before, _, after, difference, *_ = cells
    found = re.fullmatch(r"([+-]?\.\d+) \[([+-]?\.\d+), ([+-]?\.\d+)\]", difference)
    if found is None:
        raise ValueError(f"{name}: {difference!r} is not a difference with an interval, such as '+.055 [+.026, +.086]'")
    return Gain(name, float(before), float(after), *(float(number) for number in found.groups()))


def sizings(page: Path = SIZING) -> list[Sizing]:
    """Return the lines of the sizing table."""
    return [_sizing(cells) for cells in rows(page.read_text(encoding="utf-8"), "precision | processes x cores")]


def _sizing(cells: list[str]) -> Sizing:
    precision, processes_and_cores, documents, tokens, _, p50, *_ = cells
    processes, cores = processes_and_cores.split(" x ")
    return Sizing(precision, int(processes), int(cores), int(documents), int(tokens), float(p50) / 1000)


def times_ours(contender: str, page: Path = BENCHMARK) -> list[float]:
    """Return a contender's time divided by slimrank's, for each cell of the benchmark in which it was measured.

    Raises:
        ValueError: it was measured in no cell.
    """
    measured = [cells for cells in rows(page.read_text(encoding="utf-8"), "pairs a second") if cells[0] == contender]
    found = [float(times) for cells in measured for cell in cells[1:] for times in re.findall(r"\((\d+\.\d+)\)", cell)]
    if not found:
        raise ValueError(f"{page.name} has no measured row {contender!r} in its benchmark")
    return found
