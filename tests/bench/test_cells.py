"""``slimrank bench all`` at tiny size: its results and what it stores, not its times."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from slimrank.bench import cells, cli
from slimrank.bench import table as bench_table
from slimrank.bench.cells import WEIGHTS, Cell, measure_all, too_slow
from slimrank.bench.curves import thread_counts
from slimrank.bench.pairs import token_pairs
from slimrank.errors import ConfigError
from slimrank.processor import machine
from tests.command import slimrank
from tests.tiny import make_model


def collection(folder: Path) -> Path:
    """Write a collection of twelve documents, which all hold the words of two of its queries."""
    (folder / "qrels").mkdir(parents=True)
    texts = [f"red apple number {place} {'and a pear ' * place}" for place in range(12)]
    rows = [json.dumps({"_id": f"d{place}", "title": "", "text": text}) for place, text in enumerate(texts)]
    (folder / "corpus.jsonl").write_text("\n".join(rows) + "\n")
    queries = {"q1": "red apple", "q2": "apple number", "q3": "nothing alike"}
    (folder / "queries.jsonl").write_text("".join(json.dumps({"_id": k, "text": v}) + "\n" for k, v in queries.items()))
    judged = "".join(f"{query_id}\td{place}\t1\n" for place, query_id in enumerate(queries))
    (folder / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + judged)
    return folder


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "WEIGHTS", {(12, None): 2, (5, 96): 1})
    monkeypatch.setattr(cells, "MOST_REQUESTS", 2)
    monkeypatch.setattr(bench_table, "MARKED_DEPTH", 12)


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_every_cell_is_stored_and_a_second_run_measures_only_the_missing_ones(
    tiny_model: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    data, target = [collection(tmp_path / "a"), collection(tmp_path / "b")], tmp_path / "out"
    plain = make_model(tiny_checkpoint, tmp_path / "plain", plain=True)
    given: dict[str, Any] = {"plain": plain, "checkpoint": tmp_path, "threads": 1, "seed": 0, "seconds": 600.0}
    found = measure_all(tiny_model, target, data, **given)
    assert set(found) == {"a-12", "b-12", "a-5-96", "b-5-96", "curves"}
    for name in set(found) - {"curves"}:
        kept = json.loads((target / f"{name}.json").read_text())
        assert kept == found[name]
        assert (kept["requests"], kept["left_out"]) == (2, [])
        assert kept["machine"] == machine()
        for figures in kept["contenders"].values():
            assert figures["largest_difference_from_ours"] < 1e-3
            assert figures["ours_gains_nDCG@10"] == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert found["a-5-96"]["tokens"] == 2 * 5 * 96
    assert "slimrank, prefix shared" in (target / "table.md").read_text()
    assert (target / "engine.svg").stat().st_size > 1000
    before = {file.name: file.stat().st_mtime_ns for file in target.glob("*.json")}
    for name, change in (("b-12.json", {"complete": False}), ("a-5-96.json", {"machine": "another"})):
        (target / name).write_text(json.dumps(json.loads((target / name).read_text()) | change))
        os.utime(target / name, ns=(1, 1))
    assert set(measure_all(tiny_model, target, data, **given)) == set(found)
    now = {file.name: file.stat().st_mtime_ns for file in target.glob("*.json")}
    assert {name for name in before if now[name] != before[name]} == {"b-12.json", "a-5-96.json"}


def test_cells_are_two_depths_at_natural_lengths_and_at_512_tokens() -> None:
    assert set(WEIGHTS) == {(depth, length) for depth in (20, 100) for length in (None, 512)}


def test_a_query_with_too_few_hits_is_left_out_and_a_collection_of_such_queries_is_refused(
    tiny_model: Path, tmp_path: Path
) -> None:
    from slimrank import manifest

    data = collection(tmp_path / "a")
    found = token_pairs(tiny_model, manifest.read(tiny_model), data, queries=9, depth=12, seed=0)
    assert sorted(found.qrels) == sorted(request.query_id for request in found.requests) == ["q1", "q2"]
    (data / "queries.jsonl").write_text("".join(json.dumps({"_id": f"q{i}", "text": "zebra"}) + "\n" for i in (1, 2, 3)))
    with pytest.raises(ConfigError, match="12 documents a request are asked for"):
        token_pairs(tiny_model, manifest.read(tiny_model), data, queries=9, depth=12, seed=0)


def report(**speeds: float) -> dict[str, Any]:
    """Return a report as a cell stores it: 100 pairs of 10 tokens in one request, at these tokens a second."""
    contenders = {
        name.replace("_", "-"): {
            "requests": 1,
            "pairs_per_second": speed / 10,
            "tokens_per_second": speed,
            "seconds": [1000 / speed],
            "p50_seconds": 1.0,
            "p95_seconds": 1.0,
            "p99_seconds": 1.0,
            "first_answer_seconds": 1.0,
            "peak_bytes": 10**6,
            "nDCG@10": 0.5,
            "ours_gains_nDCG@10": {"mean": -0.01, "low": -0.02, "high": 0.0},
        }
        for name, speed in speeds.items()
    }
    ratios = {"torch_fp32": speeds["fused"] / speeds["torch_fp32"], "plain_optimum": None}
    about = {"source": "a", "depth": 100, "pair_tokens": None, "left_out": ["plain"], "model": "m", "precision": "int8"}
    about |= {"machine": "2 cores of a processor", "date": "2026-01-02 03:04 UTC", "load": 0.5}
    return about | {"pairs": 100, "tokens": 1000, "bytes_on_disk": 1, "contenders": contenders, "ratios": ratios}


def test_a_cell_leaves_out_the_slowest_contenders_if_it_would_not_fit() -> None:
    done = [report(fused=100.0, torch_fp32=10.0, torch_bf16=50.0)]
    cell = Cell(Path("a"), 20, None, 1)  # 200 tokens: 2, 20 and 4 s, and a second to start
    assert too_slow(cell, [], 1.0) == set()
    assert too_slow(cell, done, 60.0) == set()
    assert too_slow(cell, done, 20.0) == {"torch-fp32"}
    assert too_slow(cell, done, 1.0) == {"fused", "torch-fp32", "torch-bf16"}


def test_the_table_names_the_contenders_left_out_and_the_marks_that_are_missed() -> None:
    text = bench_table.table([report(fused=100.0, torch_fp32=10.0)])
    assert "would not have fitted into the time: Optimum, fp32" in text
    assert "| transformers fp32 | 1 | 1.0 | 10.00 |" in text
    assert "| a, top 100, natural lengths: 4 times torch fp32 | 10.00 | yes |" in text
    assert "nDCG@10 of fp32 within 0.005 | -0.0100 [-0.0200, +0.0000] | no |" in text


def test_a_comparison_is_printed_with_a_row_for_each_contender(capsys: pytest.CaptureFixture[str]) -> None:
    cli.show_comparison(report(fused=100.0, torch_fp32=10.0))
    text = capsys.readouterr().out
    (row,) = [line for line in text.splitlines() if "transformers fp32" in line]
    assert [cell.strip() for cell in row.split("│")[2:5]] == ["1", "1.0", "10.00"]
    assert "torch fp32 10.00 times ours" in text
    assert "2 cores of a processor, 2026-01-02 03:04 UTC, load 0.5 before" in text
    assert "plain optimum" not in text, "this peer has no figure"


@pytest.mark.parametrize(("threads", "counts"), [(1, [1]), (2, [2, 1]), (6, [6, 1, 2, 4])])
def test_curves_try_the_powers_of_two_below_the_number_of_threads(threads: int, counts: list[int]) -> None:
    assert thread_counts(threads) == counts


def test_a_run_without_a_collection_is_refused_in_one_line(tmp_path: Path, tiny_model: Path) -> None:
    none = slimrank("bench", "all", tmp_path / "out", "--model", tiny_model)
    assert (none.code, none.err.count("\n")) == (2, 1) and "name BEIR folders with --data" in none.err
    missing = slimrank("bench", "all", tmp_path / "out", "--model", tiny_model, "--plain", tiny_model, "--data", tmp_path / "no")
    assert (missing.code, missing.err.count("\n")) == (2, 1) and str(tmp_path / "no") in missing.err


@pytest.mark.slow
@pytest.mark.usefixtures("small")
def test_the_command_measures_the_split_that_is_asked_for_and_prints_the_table(tiny_model: Path, tmp_path: Path) -> None:
    data, target = collection(tmp_path / "a"), tmp_path / "out"
    (data / "qrels" / "test.tsv").rename(data / "qrels" / "dev.tsv")
    given = (
        "--model",
        tiny_model,
        "--plain",
        tiny_model,
        "--checkpoint",
        tmp_path,
        "--threads",
        1,
        "--split",
        "dev",
        "--data",
        data,
    )
    done = slimrank("bench", "all", target, *given)
    assert (done.code, "slimrank, prefix shared" in done.out) == (0, True), done.err
    assert (target / "a-12.json").is_file() and (target / "engine.svg").is_file()
