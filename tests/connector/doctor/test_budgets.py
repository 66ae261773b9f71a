"""The doctor's table of time budgets: shipped gains with times of this machine, as text and as request fields."""

import json
import re
from pathlib import Path

import pytest

from connector.connection import aligned
from connector.doctor import cli as doctor
from connector.doctor.budgets import NOTHING, look_at_budgets
from slimrank import settings
from slimrank.evaluation import frontier
from slimrank.evaluation.evaluate import Gain
from slimrank.evaluation.frontier import Report, Row, Setting
from slimrank.trials.budgets import Expectation
from tests.command import slimrank

ENDLESS = 10**9


def shipped(folder: Path, *rows: Row) -> Path:
    """Write a report like the one in the package."""
    (folder / "frontier.json").write_text(frontier.text_of(Report(rows, {"shop.test": 50}, 7, "a machine", "today", 0.0)))
    return folder / "frontier.json"


def row(model: str, hits: int, gain: float, p50_ms: float, **more: str | int) -> Row:
    setting = Setting(model, hits, 4, **more)  # type: ignore[arg-type]
    return Row(setting, 0.5 + gain, gain=Gain(gain, gain - 0.01, gain + 0.01), p50_ms=p50_ms)


def test_settings_are_request_fields_and_a_missing_model_has_a_command_to_get_it(tiny_model: Path, tmp_path: Path) -> None:
    current = settings.load(model=tiny_model, home=tmp_path, threads=1)
    report = shipped(
        tmp_path, row("tiny-llama", 2, 0.03, 10), row("shallow", 2, 0.05, 10 * ENDLESS), row("shallow", 1, 0.02, 1e-9)
    )
    found = look_at_budgets(current, report)
    assert found.state == "ok" and "mean of 1 test sets" in found.words and "tiny-llama was timed on this machine" in found.words
    assert [each["budget_ms"] for each in found.rows] == [100, 300, 1000, 3000]
    last = found.rows[-1]
    assert {name: last[name] for name in ("model", "depth", "max_tokens_per_doc", "document_window")} == {
        "model": "tiny-llama",
        "depth": 2,
        "max_tokens_per_doc": 4,
        "document_window": "head",
    }
    assert (last["gain"], last["ci95"], last["get"]) == (0.03, [0.02, 0.04], None)
    assert 0 <= last["expected_ms"] < 3000
    [other] = look_at_budgets(current, shipped(tmp_path, row("shallow", 2, 0.05, 1e-9), row("tiny-llama", 2, 0.01, 10))).rows[-1:]
    assert (other["model"], other["get"]) == ("shallow", "slimrank model pull shallow")


def test_the_finding_says_if_nothing_fits_on_this_machine(tiny_model: Path, tmp_path: Path) -> None:
    current = settings.load(model=tiny_model, home=tmp_path, threads=1)
    found = look_at_budgets(current, shipped(tmp_path, row("tiny-llama", ENDLESS // 10**4, 0.03, ENDLESS)))
    assert {each["model"] for each in found.rows} == {NOTHING}
    assert re.search(r"the fastest setting that gains takes [\d,]{4,} ms", found.words)
    assert "None" not in "".join(aligned(found.rows))


@pytest.mark.parametrize(("load", "is_told"), [(0.4, False), (7.5, True)])
def test_the_finding_says_that_times_on_a_busy_machine_are_too_long(
    load: float, is_told: bool, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
    current = settings.load(model=tiny_model, home=tmp_path, threads=1)
    found = look_at_budgets(current, shipped(tmp_path, row("tiny-llama", 2, 0.03, 10)))
    assert (f"other work (load {load})" in found.words) == is_told


def test_without_a_measured_model_the_finding_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = look_at_budgets(settings.load(home=tmp_path))
    assert (found.state, found.rows) == ("warning", ())
    assert found.cure.startswith("slimrank model pull")
    monkeypatch.setenv("SLIMRANK_HOME", str(tmp_path))
    said = json.loads(slimrank("doctor", "--json").out)
    [budgets] = [each for each in said if each["name"] == "budgets"]
    assert "rows" not in budgets and "none of the measured models" in budgets["words"]


def test_the_table_is_printed_below_its_finding_and_in_the_json(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = shipped(tmp_path, row("tiny-llama", 2, 0.03, 10))
    monkeypatch.setattr(doctor, "look_at_budgets", lambda current: look_at_budgets(current, report))
    monkeypatch.setenv("SLIMRANK_HOME", str(tmp_path))
    lines = slimrank("doctor", "--model", tiny_model).out.splitlines()
    [place] = [number for number, line in enumerate(lines) if line.startswith("ok       budgets:")]
    names = ["budget_ms", "model", "depth", "max_tokens_per_doc", "document_window", "expected_ms", "gain", "ci95", "get"]
    assert lines[place + 1].split() == names
    assert lines[place + 5].split()[:5] == ["3000", "tiny-llama", "2", "4", "head"]
    [found] = [each for each in json.loads(slimrank("doctor", "--json", "--model", tiny_model).out) if each["name"] == "budgets"]
    assert len(found["rows"]) == 4


def test_a_cascade_counts_both_models_and_the_time_of_a_missing_model_is_scaled(tiny_model: Path, tmp_path: Path) -> None:
    ours, twice = row("tiny-llama", 2, 0.1, 10), row("shallow", 2, 0.1, 20)
    both = row("tiny-llama", 2, 0.1, 0, first="shallow", keep=2)
    unknown = row("tiny-llama", 2, 0.1, 0, first="another", keep=2)
    report = Report([ours, twice, both, unknown], {"shop.test": 50}, 7)
    found = Expectation(report, settings.load(home=tmp_path, threads=1), {"tiny-llama": tiny_model})
    taken = found.milliseconds(ours)
    assert taken is not None and taken > 0
    assert found.milliseconds(twice) == pytest.approx(2 * taken)
    assert found.milliseconds(both) == pytest.approx(3 * taken)
    assert found.milliseconds(unknown) is None
