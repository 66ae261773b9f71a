"""The example workflow, which gates a pull request, uses only existing commands and options, and its steps work."""

import json
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.main import get_command

from connector.audit.cli import app
from tests.connector.audit.auditing import FIELDS, WITHOUT_STEMS, write_sources
from tests.connector.audit.shop import MAPPINGS, SETTINGS, Index, make_shop
from tests.nodes.engine import Engine

ROOT = Path(__file__).parents[3]
WORKFLOW = ROOT / "docs" / "examples" / "audit-gate.yml"


def job() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(WORKFLOW.read_text(encoding="utf-8"))["jobs"]["audit"]
    return found


def audit_step() -> str:
    return str(next(step["run"] for step in job()["steps"] if step.get("id") == "audit"))


def test_the_installed_folder_is_checked_out_and_has_the_extra() -> None:
    folders = [step["with"]["path"] for step in job()["steps"] if "path" in step.get("with", {}) and "checkout" in step["uses"]]
    (install,) = (step["run"] for step in job()["steps"] if step.get("name") == "Install")
    folder, extra = re.fullmatch(r"pip install '\./([\w.]+)\[(\w+)\]'", install).groups()  # type: ignore[union-attr]
    assert folders == [folder]
    assert extra in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]


@pytest.mark.engine
@pytest.mark.parametrize(("settings", "outcome"), [(SETTINGS, 0), (WITHOUT_STEMS, 2)])
def test_the_steps_run_in_order_on_an_engine(opensearch: Engine, settings: dict[str, Any], outcome: int, tmp_path: Path) -> None:
    bash, curl = shutil.which("bash"), shutil.which("curl")
    if bash is None or curl is None:
        pytest.skip("the workflow's shell, bash, or curl is not installed")
    shop = make_shop(queries=60)
    live = Index(opensearch.url, "products_v1").make(shop.products)
    queries, qrels = write_sources(tmp_path / "search", shop)
    spec = {
        "before": {"url": opensearch.url, "index": "products_v1", "fields": FIELDS},
        "after": {"index": "products_v2"},
        "queries": {"file": queries.name},
        "judges": [{"kind": "qrels", "file": qrels.name, "human": True}],
        "requests_per_second": 2000,
    }
    (tmp_path / "search" / "audit.yaml").write_text(yaml.safe_dump(spec))
    (tmp_path / "search" / "products.json").write_text(json.dumps({"settings": settings, "mappings": MAPPINGS}))
    given = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "NEW_INDEX": "products_pr_7_1",
        "SEARCH_URL": opensearch.url,
        **dict.fromkeys(("SLIMRANK_AUDIT_BEFORE_USER", "SLIMRANK_AUDIT_BEFORE_PASSWORD"), "auditor"),
    }
    codes = {}
    try:
        for step in job()["steps"]:
            if "run" in step and step["name"] != "Install" and (not any(codes.values()) or step.get("if") == "always()"):
                done = subprocess.run([bash, "-e", "-c", step["run"]], env=given, cwd=tmp_path, capture_output=True, text=True)
                codes[step["name"]] = done.returncode
    finally:
        live.drop()
    assert codes == {
        "Name the index of this pull request": 0,
        "Reindex and audit": outcome,
        "Remove the index of this pull request": 0,
    }
    kept = [step["with"]["path"] for step in job()["steps"] if "upload-artifact" in step.get("uses", "")]
    assert all((tmp_path / path).is_file() for path in kept[0].split())
    assert httpx.get(f"{opensearch.url}/products_pr_7_1").status_code == 404


def test_every_command_and_option_of_the_workflow_exists() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    used = re.findall(r"slimrank audit (\w+)([^|\n]*)", audit_step())
    assert used
    for name, rest in used:
        options = {option for parameter in commands[name].params for option in parameter.opts}
        assert set(re.findall(r"--[\w-]+", rest)) <= options


@pytest.mark.parametrize(("verdict", "outcome"), [(0, 0), (1, 0), (2, 2)])
def test_a_failure_stops_the_merge_and_a_warning_is_shown(verdict: int, outcome: int, tmp_path: Path) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("the workflow's shell, bash, is not installed")
    stand_in = tmp_path / "slimrank"
    stand_in.write_text(f"#!{bash}\nexit {verdict}\n")
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    done = subprocess.run(
        [bash, "-e", "-c", audit_step()], env={"PATH": f"{tmp_path}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == outcome
    assert ("::warning::" in done.stdout) == (verdict == 1)
