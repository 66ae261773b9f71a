"""The gate moves the alias in one request, only after a pass that is still valid, and prints how to move it back."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from typer.testing import CliRunner

from connector.audit.cli import app
from connector.audit.spec import JUDGED, Spec
from tests.connector.audit.auditing import WITHOUT_STEMS, shop_spec
from tests.connector.audit.shop import MAPPINGS, SETTINGS, Index, Shop, make_shop
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(products=200, queries=30)


@pytest.fixture
def before(opensearch: Engine, shop: Shop) -> Iterator[Index]:
    index = Index(opensearch.url, "shop_v1").make(shop.products)
    index.call("PUT", "/_alias/shop", {"filter": {"range": {"stock": {"gte": 0}}}})
    yield index
    index.drop()


@pytest.fixture
def after(opensearch: Engine) -> Iterator[Index]:
    index = Index(opensearch.url, "shop_v2")
    yield index
    index.drop()


def write_spec(tmp_path: Path, shop: Shop, url: str, **others: Any) -> Path:
    spec: Spec = shop_spec(tmp_path, shop, url, {"index": "shop_v2"}, **others)
    path = tmp_path / "audit.yaml"
    path.write_text(yaml.safe_dump(json.loads(spec.model_dump_json(exclude_none=True))))
    return path


def invoke(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output + (
        f"{type(result.exception).__name__}: {result.exception}" if result.exception else ""
    )


def alias_of(index: Index) -> list[str]:
    return sorted(index.http.get("/_alias/shop").json())


def test_a_pass_moves_the_alias_and_the_printed_command_moves_it_back(
    before: Index, after: Index, shop: Shop, tmp_path: Path
) -> None:
    after.make(shop.products)
    code, output = invoke(
        "gate", write_spec(tmp_path, shop, before.url), "--out", tmp_path / "a", "--then", "swap", "--alias", "shop"
    )
    assert (code, alias_of(before)) == (0, ["shop_v2"])
    assert before.http.get("/_alias/shop").json()["shop_v2"]["aliases"]["shop"] == {"filter": {"range": {"stock": {"gte": 0}}}}
    assert before.http.head("/shop_v1").status_code == 200
    words = shlex.split(next(line for line in output.splitlines() if line.startswith("curl")))
    httpx.post(words[3], json=json.loads(words[-1])).raise_for_status()
    assert alias_of(before) == ["shop_v1"]


def test_a_dry_run_moves_nothing(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products)
    spec = write_spec(tmp_path, shop, before.url)
    code, output = invoke("gate", spec, "--out", tmp_path / "a", "--then", "swap", "--alias", "shop", "--dry-run")
    assert (code, alias_of(before)) == (0, ["shop_v1"])
    assert '"must_exist": true' in output


def test_a_failure_moves_nothing_and_exits_with_two(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products[::2], WITHOUT_STEMS)
    spec = write_spec(tmp_path, shop, before.url)
    code, output = invoke("gate", spec, "--out", tmp_path / "a", "--then", "swap", "--alias", "shop")
    assert (code, alias_of(before)) == (2, ["shop_v1"])
    assert "was not moved" in output
    assert "documents are missing" in output


def test_a_warning_exits_with_one(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make([{**product, "text": product["text"] + " ."} for product in shop.products])
    code, output = invoke("gate", write_spec(tmp_path, shop, before.url), "--out", tmp_path / "a")
    assert code == 1, output
    assert "200 documents are changed" in output


@pytest.mark.parametrize("side", ["before", "after"])
def test_a_side_that_changed_since_the_audit_stops_the_swap(
    side: str, before: Index, after: Index, shop: Shop, tmp_path: Path
) -> None:
    after.make(shop.products)
    spec = write_spec(tmp_path, shop, before.url)
    assert invoke("gate", spec, "--out", tmp_path / "a")[0] == 0
    {"before": before, "after": after}[side].put([{**shop.products[0], "stock": 999}])
    code, output = invoke("gate", spec, "--out", tmp_path / "a", "--then", "swap", "--alias", "shop")
    assert (code != 0, alias_of(before)) == (True, ["shop_v1"])
    assert "changed since" in output


def test_a_missing_alias_is_named(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products)
    spec = write_spec(tmp_path, shop, before.url)
    _, output = invoke("gate", spec, "--out", tmp_path / "a", "--then", "swap", "--alias", "no_such")
    assert "there is no alias no_such" in output


def test_an_audit_stays_valid_if_replicas_are_added(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products)
    spec = write_spec(tmp_path, shop, before.url)
    assert invoke("gate", spec, "--out", tmp_path / "a")[0] == 0
    after.call("PUT", "/_settings", {"index": {"number_of_replicas": 1, "refresh_interval": "30s"}})
    assert invoke("gate", spec, "--out", tmp_path / "a", "--then", "swap", "--alias", "shop")[0] == 0
    assert alias_of(before) == ["shop_v2"]


def test_reindex_copies_counts_and_audits(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    body = tmp_path / "index.json"
    body.write_text(json.dumps({"settings": SETTINGS, "mappings": MAPPINGS}))
    after.clear()
    spec = write_spec(tmp_path, shop, before.url)
    code, output = invoke("reindex", spec, "--out", tmp_path / "a", "--create", body, "--slices", "2")
    assert code == 0, output
    assert "200 documents copied" in output
    assert json.loads((tmp_path / "a" / "report.json").read_text())["content"]["same"]


def test_reindex_into_a_missing_index_says_what_to_do(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.clear()
    _, output = invoke("reindex", write_spec(tmp_path, shop, before.url), "--out", tmp_path / "a")
    assert "shop_v2 does not exist; create it" in output


def test_documents_that_the_new_mapping_refuses_stop_the_reindex(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    mappings = {"properties": {"title": {"type": "integer"}}}
    after.make([], SETTINGS, mappings)
    code, output = invoke("reindex", write_spec(tmp_path, shop, before.url), "--out", tmp_path / "a")
    assert code != 0
    assert "documents failed" in output


def test_the_single_steps_give_the_same_result_as_the_gate(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products[:150])
    spec = write_spec(tmp_path, shop, before.url)
    code, output = invoke("plan", spec, "--out", tmp_path / "steps")
    assert code == 0
    assert "30 queries of 30 distinct ones" in output
    assert ", 60 searches" in output
    assert "--out" not in output
    assert invoke("report", tmp_path / "steps")[1].count("continue with") == 1
    assert invoke("run", tmp_path / "steps")[0] == 0
    assert invoke("sheet", tmp_path / "steps", tmp_path / "sheet.csv")[0] == 0
    assert invoke("report", tmp_path / "steps")[0] == 2
    invoke("gate", spec, "--out", tmp_path / "whole")
    first, second = ((tmp_path / name / "report.json").read_bytes() for name in ("steps", "whole"))
    assert first == second


def test_every_command_can_print_its_figures_as_json(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products[:150])
    spec, folder = write_spec(tmp_path, shop, before.url), tmp_path / "audit"

    def ask(*arguments: object) -> dict[str, Any]:
        done = CliRunner().invoke(app, [*map(str, arguments), "--json"])
        return json.loads(done.stdout)

    cost = ask("plan", spec, "--out", folder)
    assert (cost["queries"], cost["searches"], cost["pairs"]) == (30, 60, 0)
    assert ask("gate", spec, "--out", folder)["verdict"] == "fail"
    assert ask("report", folder)["queries"]["asked"] == 30
    assert ask("calibrate", folder, "--trials", 100)["power"].keys() == set(JUDGED)


def test_the_example_is_a_specification_with_the_defaults(tmp_path: Path) -> None:
    from connector.audit.spec import Spec, load_spec

    path = tmp_path / "example.yaml"
    path.write_text(invoke("example")[1])
    spec = load_spec(path)
    defaults = {name: field.default for name, field in Spec.model_fields.items() if not field.is_required()}
    assert {name: getattr(spec, name) for name in defaults} == defaults


def test_a_filled_sheet_changes_the_verdict_without_new_searches(before: Index, after: Index, shop: Shop, tmp_path: Path) -> None:
    after.make(shop.products, WITHOUT_STEMS)
    graded = tmp_path / "graded.csv"
    judges = [{"kind": "person", "file": str(graded)}]
    assert "nDCG" not in invoke("gate", write_spec(tmp_path, shop, before.url, judges=[]), "--out", tmp_path / "a")[1]
    assert invoke("sheet", tmp_path / "a", graded)[0] == 0
    header, *rows = graded.read_text().splitlines()
    graded.write_text("\n".join([header, *(row + "1" for row in rows)]) + "\n")
    answers = {file: file.stat().st_mtime_ns for file in (tmp_path / "a" / "answers").iterdir()}
    _, output = invoke("gate", write_spec(tmp_path, shop, before.url, judges=judges), "--out", tmp_path / "a")
    assert "nDCG@10" in output
    assert answers == {file: file.stat().st_mtime_ns for file in (tmp_path / "a" / "answers").iterdir()}
