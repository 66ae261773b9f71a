"""An audit's folder never replaces other files, is used by one command at a time, and keeps a person's grades."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.command import slimrank
from tests.connector.audit.judge.test_judging import folder

__all__ = ["folder"]

SPEC = "before: {url: http://127.0.0.1:1, index: a, fields: [title]}\nafter: {index: b}\nqueries: {file: queries.jsonl}\n"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "queries.jsonl").write_text('{"query": "red shoes"}\n')
    (tmp_path / "audit.yaml").write_text(SPEC)
    return tmp_path / "audit.yaml"


@pytest.mark.parametrize("command", ["plan", "gate", "reindex"])
def test_an_audit_does_not_replace_the_folder_of_its_queries(spec: Path, command: str) -> None:
    done = slimrank("audit", command, spec, "--out", spec.parent)
    assert (done.code, done.err.count("\n"), "neither empty nor an audit and would be lost" in done.err) == (2, 1, True), done.err
    assert (spec.parent / "queries.jsonl").read_text() == '{"query": "red shoes"}\n'
    assert sorted(path.name for path in spec.parent.iterdir()) == ["audit.yaml", "queries.jsonl"]


@pytest.mark.parametrize("command", ["run", "report", "sweep"])
def test_a_folder_without_an_audit_is_not_changed(spec: Path, command: str) -> None:
    done = slimrank("audit", command, spec.parent)
    assert (done.code, "holds no audit" in done.err) == (2, True), done.err
    assert sorted(path.name for path in spec.parent.iterdir()) == ["audit.yaml", "queries.jsonl"]


def test_a_second_command_on_a_folder_is_refused_and_names_the_first(spec: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from connector.audit.folder import Folder\n"
        "with Folder(Path(sys.argv[1])).at_work(begins=True): print('in', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(spec.parent / "a")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "in\n"
        done = slimrank("audit", "plan", spec, "--out", spec.parent / "a")
        other.kill()
    assert (done.code, f"process {other.pid} is at work in" in done.err) == (2, True), done.err


def test_an_existing_sheet_is_not_overwritten(folder: "object", tmp_path: Path) -> None:
    (tmp_path / "sheet.csv").write_text("item,query,document,grade\nx,q,d,3\n")
    done = slimrank("audit", "sheet", tmp_path, tmp_path / "sheet.csv")
    assert (done.code, "may hold grades" in done.err) == (2, True), done.err
    assert (tmp_path / "sheet.csv").read_text().endswith(",3\n")


def test_plan_reports_a_missing_file_of_a_judge(spec: Path) -> None:
    spec.write_text(SPEC + "judges: [{kind: qrels, file: nothing.tsv}]\n")
    done = slimrank("audit", "plan", spec, "--out", spec.parent / "a")
    assert (done.code, "there is no such file" in done.err) == (2, True), done.err
