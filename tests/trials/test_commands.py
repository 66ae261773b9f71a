"""The commands without a server: what `evaluate` reports, and lines that stand in first-stage order."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slimrank import manifest
from slimrank.__main__ import app
from slimrank.evaluation import beir, trec
from slimrank.manifest import Fusion
from slimrank.trials.commands import fitted_weight

WORDS = ["spoon", "fork", "knife", "plate", "bowl", "cup"]


@pytest.fixture
def fused_model(model_copy: Path) -> Path:
    """Return a model folder whose fusion leaves the first stage's order as it is."""
    manifest.read(model_copy).model_copy(update={"fusion": Fusion(weight=1e6, first_stage="bm25")}).save(model_copy)
    return model_copy


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    documents = [beir.Document(f"d{n}", "", f"{'spoon ' * (6 - n)} {word}") for n, word in enumerate(WORDS)]
    beir.write_documents(folder, documents)
    beir.write_queries(folder, {"q1": "spoon", "q2": "spoon cup", "q3": "Spoon"})
    beir.write_qrels(folder, "train", {"q3": {"d0": 1}})
    beir.write_qrels(folder, "test", {"q1": {"d0": 1}, "q2": {"d5": 2, "d0": 1}})
    return folder


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.stdout


def test_evaluate_reports_with_and_without_fusion_and_leaves_out_what_was_trained_on(
    fused_model: Path, shop: Path, tmp_path: Path
) -> None:
    arguments = ("evaluate", "--model", fused_model, "--data", shop, "--depth", "6", "--run-folder", tmp_path / "runs", "--json")
    found = json.loads(run(*arguments))
    assert (found["queries"], found["queries_left_out"], found["documents_shared_with_train"]) == (1, 1, 1)
    assert found["fusion_weight"] == 1e6
    assert found["after"] == found["before"]
    assert found["gain"] == {"nDCG@10": 0.0, "RR@10": 0.0, "ci95": [0.0, 0.0]}
    assert len(found["gain_scores_only"]["ci95"]) == 2
    assert found["sweep"].keys() == {"5"}
    assert {file.name for file in (tmp_path / "runs").iterdir()} == {
        "shop.test.bm25.trec",
        "shop.test.slimrank.trec",
        "shop.test.slimrank-scores.trec",
    }

    alone = json.loads(run(*arguments, "--fusion-weight", "0"))
    assert alone["after"] == alone["after_scores_only"] == found["after_scores_only"]


def test_evaluate_measures_a_cascade_as_it_would_serve(fused_model: Path, shop: Path, tmp_path: Path) -> None:
    arguments = ("--fusion-weight", "0", "--cascade-model", fused_model, "--cascade-keep", "2", "--run-folder", tmp_path / "runs")
    run("evaluate", "--model", fused_model, "--data", shop, "--depth", "6", *arguments)
    ranked = trec.read_run(tmp_path / "runs" / "shop.test.slimrank.trec")["q2"]
    assert sum(score > -900 for score in ranked.values()) == 2  # the others are in the cascade's band of left out


def test_several_sets_stand_in_one_table_with_their_mean_and_their_depths_in_one_plot(
    fused_model: Path, shop: Path, tmp_path: Path
) -> None:
    plot = tmp_path / "depths.svg"
    printed = run("evaluate", "--model", fused_model, "--data", shop, "--data", shop, "--depth", "6", "--plot", plot)
    assert plot.stat().st_size > 1000
    assert printed.count("also stand in the train split") == 2
    assert "mean" in printed
    both = json.loads(run("evaluate", "--model", fused_model, "--data", shop, "--data", shop, "--depth", "6", "--json"))
    assert len(both["sets"]) == 2
    assert both["mean_gain"] == {"nDCG@10": 0.0, "ci95": [0.0, 0.0]}


def test_lines_in_first_stage_order_are_ranked_with_that_order(fused_model: Path, tmp_path: Path) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text("\n".join(WORDS))
    arguments = ("rank", "--model", fused_model, "--query", "fork", lines)
    indices = [json.loads(line)["index"] for line in run(*arguments, "--first-stage-order").splitlines()]
    assert indices == list(range(len(WORDS)))
    assert [json.loads(line)["index"] for line in run(*arguments).splitlines()] != indices


def test_a_fusion_fitted_on_another_first_stage_is_not_used() -> None:
    assert fitted_weight(Fusion(weight=0.5, first_stage="bm25")) == 0.5
    assert fitted_weight(Fusion(weight=0.5, first_stage="dense")) == 0.0
    assert fitted_weight(None) == 0.0
