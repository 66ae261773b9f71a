"""The table of ``slimrank doctor``: for each time budget on this machine, the best settings and their gain in nDCG@10."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from connector.findings import Finding
from slimrank import manifest, processor, store
from slimrank.errors import ConfigError, ManifestError
from slimrank.evaluation import frontier
from slimrank.evaluation.frontier import Choice, Report, Row
from slimrank.settings import DEFAULT_MODEL_NAME, Settings

NOTHING = "nothing that gains fits"


def look_at_budgets(current: Settings, shipped: Path = frontier.SHIPPED) -> Finding:
    """Choose settings for a few time budgets, from the shipped figures and a short timing of a model on this machine."""
    report = frontier.read(shipped)
    measured = dict.fromkeys(name for row in report.rows if row.setting.is_served for name in _models_of(row.setting))
    here = dict(_here(current, list(measured)))
    if not here:
        words = f"none of the measured models ({', '.join(measured)}) is on this machine, so nothing can be timed"
        return Finding("budgets", "warning", words, f"{_pull(next(iter(measured), DEFAULT_MODEL_NAME))}, then run this again")
    if find_spec("onnxruntime") is None:
        return Finding(
            "budgets", "warning", "ONNX Runtime is not installed; nothing can be timed", "pip install 'slimrank[serve]'"
        )
    from slimrank.trials.budgets import Expectation

    expected = Expectation(report, current, here).milliseconds
    choices = frontier.choose(report.rows, expected)
    words = (
        f"the settings that gain most within each time limit; gains are over BM25's nDCG@10, {_sets(report)}; "
        f"{', '.join(here)} was timed on this machine"
    )
    if (quickest := _quickest_ms(report, expected)) is not None:
        words += f"; the fastest setting that gains takes {quickest:,.0f} ms"
    if (load := processor.conditions()["load"]) > processor.QUIET_LOAD:
        words += (
            f"; the machine does other work (load {load}), so the times are too long: run this again when the machine is idle"
        )
    return Finding("budgets", "ok", words, rows=[_row(choice, list(here)) for choice in choices])


def _quickest_ms(report: Report, expected_ms: Callable[[Row], float | None]) -> float | None:
    gaining = [row for row in report.rows if row.setting.is_served and row.gain and row.gain.mean > 0]
    return min((taken for row in gaining if (taken := expected_ms(row)) is not None), default=None)


def _models_of(setting: frontier.Setting) -> list[str]:
    return [setting.first, setting.model] if setting.first else [setting.model]


def _here(current: Settings, names: list[str]) -> Iterator[tuple[str, Path]]:
    """Yield the measured models on this machine: the one that the settings name, and those in the home folder."""
    folders = [store.shipped_folder(current, name) for name in names]
    with suppress(ConfigError):  # neither a folder nor a name; the finding about the model reports it
        folders.insert(0, store.place_of(current.model, current))
    found: set[str] = set()
    for folder in folders:
        try:
            name = manifest.read(folder).name
        except ManifestError:  # the finding about the model reports it
            continue
        if name in names and name not in found:
            found.add(name)
            yield name, folder


def _sets(report: Report) -> str:
    return f"mean of {len(report.sets)} test sets"


def _pull(name: str) -> str:
    return "slimrank model pull" if name == DEFAULT_MODEL_NAME else f"slimrank model pull {name}"


def _row(choice: Choice, here: list[str]) -> dict[str, Any]:
    """Return a row of the table; settings have their names in a request."""
    row = choice.row
    if row is None or row.gain is None:
        names = ("depth", "max_tokens_per_doc", "document_window", "expected_ms", "gain", "ci95", "get")
        return {"budget_ms": choice.budget_ms, "model": NOTHING} | dict.fromkeys(names)
    setting = row.setting
    return {
        "budget_ms": choice.budget_ms,
        "model": setting.label,
        "depth": setting.hits,
        "max_tokens_per_doc": setting.tokens or None,
        "document_window": setting.window,
        "expected_ms": round(choice.expected_ms),
        "gain": row.gain.mean,
        "ci95": [row.gain.low, row.gain.high],
        "get": ", ".join(_pull(name) for name in _models_of(setting) if name not in here) or None,
    }
