"""The measured figures that other pages repeat, read from the one place where each of them stands.

What a model gains is read from its card, how long a request takes from the sizing table of docs/guides/operating.md, and how
other ways to run the same weights compare from the benchmark in docs/guides/engine.md. Nothing is measured or rounded anew here.
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
        """How many queries were asked; the card says so in brackets, as in ``cosqa (50)``. The mean of all has no number.

        Raises:
            ValueError: the name has no number in brackets.
        """
        found = re.search(r"\((\d+)", self.name)
        if found is None:
            raise ValueError(f"{self.name!r} does not say in brackets how many queries were asked")
        return int(found[1])


@dataclass(frozen=True, slots=True)
class Sizing:
    """The median time of one request, as the sizing table has it."""

    precision: str
    processes: int
    cores: int
    documents: int
    tokens: int
    seconds: float


def rows(text: str, first_column: str) -> list[list[str]]:
    """Return the rows of the first Markdown table whose head begins with ``first_column``, without their bold marks."""
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
    """Return what the model gains on each test set, fused with the first stage's order, and last the mean."""
    return [_gain(cells) for cells in rows(card.read_text(encoding="utf-8"), "test set (queries)")]


def _gain(cells: list[str]) -> Gain:
    name, before, _, after, difference, *_ = cells
    found = re.fullmatch(r"([+-]?\.\d+) \[([+-]?\.\d+), ([+-]?\.\d+)\]", difference)
    if found is None:
        raise ValueError(f"{name}: {difference!r} is no difference with an interval, such as '+.055 [+.026, +.086]'")
    return Gain(name, float(before), float(after), *(float(number) for number in found.groups()))


def sizings(page: Path = SIZING) -> list[Sizing]:
    """Return the lines of the sizing table."""
    return [_sizing(cells) for cells in rows(page.read_text(encoding="utf-8"), "precision | processes x cores")]


def _sizing(cells: list[str]) -> Sizing:
    precision, processes_and_cores, documents, tokens, _, p50, *_ = cells
    processes, cores = processes_and_cores.split(" x ")
    return Sizing(precision, int(processes), int(cores), int(documents), int(tokens), float(p50) / 1000)


def times_ours(contender: str, page: Path = BENCHMARK) -> list[float]:
    """Return how many times as long as slimrank a contender took, in each cell of the benchmark where it took part.

    Raises:
        ValueError: it took part in none.
    """
    measured = [cells for cells in rows(page.read_text(encoding="utf-8"), "pairs a second") if cells[0] == contender]
    found = [float(times) for cells in measured for cell in cells[1:] for times in re.findall(r"\((\d+\.\d+)\)", cell)]
    if not found:
        raise ValueError(f"{page.name} has no measured row {contender!r} in its benchmark")
    return found
