"""A command that takes minutes prints its expected time and its steps, and a waiting process reports which one it waits for."""

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from onnx_export import cost
from onnx_export.alone import OWNER_FILE, alone
from onnx_export.cost import describe_cost
from onnx_export.steps import shown_steps, ticks, watching
from slimrank.errors import ConfigError
from slimrank.settings import DEFAULT_MODEL_NAME
from tests.command import slimrank


def run_steps() -> None:
    with shown_steps() as report:
        tick = ticks(report, "score the pairs", 2)
        tick()
        tick()
        report("write the manifest")


def test_without_a_terminal_each_step_is_one_line(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "0")
    run_steps()
    lines = capfd.readouterr().err.splitlines()
    assert [line.split("  ")[-1] for line in lines] == ["score the pairs", "write the manifest"]


def test_on_a_terminal_a_bar_shows_how_much_is_done(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("TERM", "xterm")
    with shown_steps() as report:
        tick = ticks(report, "score the pairs", 2)
        tick()
        time.sleep(0.3)  # a bar is drawn ten times a second
    drawn = capfd.readouterr().err
    assert "score the pairs" in drawn
    assert "1/2" in drawn


def test_a_download_without_progress_of_its_own_is_watched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_export.steps.LOOK_SECONDS", 0.01)
    told = list[tuple[int, int]]()
    with watching(tmp_path, lambda step, done=0, of=0: told.append((done, of)), "download", 2 * 2**20):
        (tmp_path / "inner").mkdir()
        (tmp_path / "inner" / "part").write_bytes(bytes(2**20))
        while told[-1] != (1, 2):
            time.sleep(0.01)
    assert told[0] == (0, 2)


HOLD = """
import sys
from pathlib import Path
from onnx_export.alone import alone
sys.argv = ["slimrank", "model", "pull"]
with alone(Path(sys.stdin.readline().strip()), lambda *_: None):
    print("holds", flush=True)
    sys.stdin.readline()
"""


def test_a_waiting_process_reports_the_other_one_and_continues_when_it_ends(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdin and first.stdout
        first.stdin.write(f"{tmp_path}\n")
        first.stdin.flush()
        assert first.stdout.readline() == "holds\n"
        told = list[str]()

        def report(step: str, done: int = 0, of: int = 0) -> None:
            told.append(step)
            if step.startswith("wait"):
                first.communicate("end\n")

        with alone(tmp_path, report):
            assert json.loads((tmp_path / OWNER_FILE).read_text())["pid"] != first.pid
    assert told[0].startswith(f"wait for process {first.pid} (`slimrank model pull`, since ")
    assert told[0].endswith(f"), which makes a model in {tmp_path}")
    assert told[1] == "that process has ended; continue"
    assert not (tmp_path / OWNER_FILE).exists()


def test_the_expected_time_depends_on_the_cores_and_the_load_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cost.processor, "cores", lambda: 2)
    monkeypatch.setattr(cost.os, "getloadavg", lambda: (0.3, 0, 0))
    quiet = describe_cost(DEFAULT_MODEL_NAME, tmp_path, has_base=False)
    assert "seconds on this machine (2 cores, load 0.3), and 1.4 GB of disk in " in quiet
    monkeypatch.setattr(cost.os, "getloadavg", lambda: (8.0, 0, 0))
    assert "7 minutes on this machine (2 cores, load 8.0), and 0.7 GB" in describe_cost(
        DEFAULT_MODEL_NAME, tmp_path, has_base=True
    )


def test_a_full_disk_is_refused_before_any_download(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cost.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**9))
    with pytest.raises(ConfigError, match=r"needs 1\.[34] GB of disk in .*, and 1\.0 GB are free; free some"):
        describe_cost(DEFAULT_MODEL_NAME, tmp_path / "not" / "there", has_base=False)


def test_pulling_first_prints_the_expected_time(tmp_path: Path) -> None:
    (tmp_path / "base" / "smollm2-135m-instruct").mkdir(parents=True)
    (tmp_path / "base" / "smollm2-135m-instruct" / "source.json").write_text("{}")  # it stops soon: there are no weights
    done = slimrank("model", "pull", "--home", str(tmp_path))
    assert done.code == 2
    assert "making the model slimrank-135m takes about" in done.err.splitlines()[0]
