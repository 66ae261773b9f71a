"""Compare rerankers: the gain and time of each setting, which settings are on the frontier, and which fits a budget.

A *setting* is a model, how many hits it reranks, and which part of a document it reads. Gains hold for any machine, times for one.
``slimrank frontier`` measures both (``slimrank.evaluation.frontier_cells`` says where they are kept) and writes them as one report; the package
carries the report of the shipped models, from which ``slimrank doctor`` chooses. Measures nothing itself.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from slimrank.errors import DataError
from slimrank.evaluation.evaluate import Gain
from slimrank.files import parse_json, read_text

SHIPPED = Path(__file__).parent / "frontier.json"
FIRST_STAGE = "BM25"
Window = Literal["head", "best"]
BUDGETS_MS = (100, 300, 1000, 3000)


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to rerank."""

    model: str
    hits: int = 0
    """The number of first-stage hits that are reranked; 0 = a first stage alone."""
    tokens: int = 0
    """The tokens of a document that are read; 0 = as many as fit, or vectors made beforehand."""
    window: Window = "head"
    first: str = ""
    """Cheaper model that narrows the hits to ``keep`` first (``slimrank.engine.cascade``)."""
    keep: int = 0
    is_served: bool = True
    """False for a setting that is only there for comparison: no budget offers it."""

    @property
    def label(self) -> str:
        """The model, or both of a cascade, in words."""
        return f"{self.first} keeps {self.keep}, then {self.model}" if self.first else self.model

    @property
    def part(self) -> str:
        """Which part of a document is read, in words."""
        return f"{self.window} {self.tokens}" if self.tokens else ""


@dataclass(frozen=True, slots=True)
class Row:
    """The quality and time of a setting; None = not measured."""

    setting: Setting
    alone: float | None = None
    """Mean nDCG@10 over the test sets, of the scores alone."""
    fused: float | None = None
    """The same with the first stage's order as a prior; None too for a model without a fitted weight."""
    gain: Gain | None = None
    """The gain over the first stage: fused if the model has a weight, else alone."""
    p50_ms: float | None = None
    on_frontier: bool = False
    """True if no setting with as many hits is both quicker and better."""

    @property
    def quality(self) -> float | None:
        """Mean nDCG@10 as a server would answer."""
        return self.alone if self.fused is None else self.fused


@dataclass(frozen=True, slots=True)
class Report:
    """All rows, with the sets and the machine that they were measured on."""

    rows: Sequence[Row]
    sets: Mapping[str, int]
    """Test set -> number of queries."""
    seed: int
    machine: str = ""
    """The machine of the times; "" without times."""
    date: str = ""
    load: float = 0.0
    """The load average of the machine before the times were measured."""


def marked(rows: Iterable[Row]) -> list[Row]:
    """Return the rows with the frontier marked, by the number of hits and time."""
    known = list(rows)
    return [replace(row, on_frontier=_is_on_frontier(row, known)) for row in sorted(known, key=_order)]


def _order(row: Row) -> tuple[int, float, str, int, str]:
    setting, taken = row.setting, float("inf") if row.p50_ms is None else row.p50_ms
    return setting.hits, taken, setting.label, setting.tokens, setting.window


def _is_on_frontier(row: Row, rows: Iterable[Row]) -> bool:
    """A first stage alone competes with every number of hits, and is itself judged beside other first stages."""
    if row.quality is None or row.p50_ms is None:
        return False
    others = [each for each in rows if each.setting.hits in (0, row.setting.hits)]
    return not any(_beats(each, row.quality, row.p50_ms) for each in others)


def _beats(row: Row, quality: float, p50_ms: float) -> bool:
    if row.quality is None or row.p50_ms is None or (row.quality, row.p50_ms) == (quality, p50_ms):
        return False
    return row.quality >= quality and row.p50_ms <= p50_ms


@dataclass(frozen=True, slots=True)
class Choice:
    """The setting for a search that may wait ``budget_ms`` for reranking."""

    budget_ms: int
    row: Row | None = None
    """None if no setting with a gain fits."""
    expected_ms: float = 0.0


def choose(rows: Iterable[Row], expected_ms: Callable[[Row], float | None], budgets: Sequence[int] = BUDGETS_MS) -> list[Choice]:
    """Return the setting that gains most within each budget, of equal ones the quickest.

    Args:
        expected_ms: How long a setting takes here; None where that is not known.
    """
    timed = [(row, taken) for row in rows if row.setting.is_served and row.gain and (taken := expected_ms(row)) is not None]
    choices = []
    for budget in budgets:
        fitting = [(row, taken) for row, taken in timed if taken <= budget and row.gain and row.gain.mean > 0]
        best = max(fitting, key=lambda found: (found[0].gain.mean if found[0].gain else 0.0, -found[1]), default=None)
        choices.append(Choice(budget, *best) if best else Choice(budget))
    return choices


def as_json(report: Report) -> dict[str, Any]:
    """Return a report as it is kept."""
    return asdict(replace(report, rows=[])) | {"rows": [_row_as_json(row) for row in report.rows]}


def _row_as_json(row: Row) -> dict[str, Any]:
    """Leave out default values, and digits beyond the precision of the measurement."""
    setting = {name: value for name, value in asdict(row.setting).items() if value != getattr(_PLAIN, name) or name == "model"}
    gain = {name: round(value, 4) for name, value in asdict(row.gain).items()} if row.gain else None
    numbers = {"alone": _rounded(row.alone, 4), "fused": _rounded(row.fused, 4), "gain": gain, "p50_ms": _rounded(row.p50_ms, 1)}
    return {"setting": setting} | numbers | {"on_frontier": row.on_frontier}


_PLAIN = Setting("")


def _rounded(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def read(file: Path = SHIPPED) -> Report:
    """Read a report.

    Raises:
        DataError: the file holds none.
    """
    try:
        found = parse_json(read_text(file))
        rows = [
            Row(**each | {"setting": Setting(**each["setting"]), "gain": Gain(**each["gain"]) if each["gain"] else None})
            for each in found.pop("rows")
        ]
        return Report(rows=rows, **found)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{file} holds no report of `slimrank frontier` ({error}); make it with --json") from error


def text_of(report: Report) -> str:
    """Return a report as text, a row a line, so that two of them can be compared."""
    whole = as_json(report)
    rows = ",\n  ".join(json.dumps(row) for row in whole.pop("rows"))
    return f'{json.dumps(whole)[:-1]}, "rows": [\n  {rows}\n]}}\n'
