"""The demo: it reorders the first stage's hits, and measures times and nDCG@10."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from deploy.demo.cli import SHOWCASE, _questions, _table, _verdict, compare, record_of
from deploy.demo.figures import FIGURES_FILE, Figures
from slimrank import manifest as manifests
from slimrank.adapters import ADAPTER_HASH_KEY, adapter_hash
from slimrank.bm25 import BM25
from slimrank.engine.reranker import Reranker
from slimrank.errors import DataError
from slimrank.evaluation.beir import Collection, Document
from slimrank.evaluation.python_docs.corpus import QUERIES
from slimrank.manifest import Fusion, Manifest
from slimrank.settings import DEFAULT_MODEL_NAME
from slimrank.store import shipped_adapter
from tests.command import slimrank
from tests.doubles import FakeScorer

DOCUMENTS = {
    "shutil.copy": Document("shutil.copy", "shutil.copy(src, dst)", "Copy copy copy data."),
    "shutil.copytree": Document("shutil.copytree", "shutil.copytree(src, dst)", "Recursively copy a directory tree."),
}
COLLECTION = Collection("python", DOCUMENTS, {"q1": "copy a directory tree"}, {"q1": {"shutil.copytree": 2}})
INDEX = BM25({doc_id: document.content for doc_id, document in DOCUMENTS.items()})


def test_reranking_keeps_the_first_stages_hits_and_measures_both_orders() -> None:
    comparison = compare(COLLECTION, INDEX, Reranker(FakeScorer()), "copy a directory tree", 10)
    assert sorted(comparison.reranked) == sorted(comparison.first_stage)
    assert comparison.reranked[0] == "shutil.copytree"
    assert json.loads(json.dumps(record_of(comparison)))["nDCG@10"]["after"] == 1.0


def test_a_large_fusion_weight_keeps_the_first_stages_order() -> None:
    reranker = Reranker(FakeScorer(), fusion=Fusion(weight=1e6, first_stage="bm25"))
    comparison = compare(COLLECTION, INDEX, reranker, "copy a directory tree", 10)
    assert list(comparison.reranked) == list(comparison.first_stage)


FIGURES = Figures(
    adapter_sha256="ours", precision="fp32", python="3.12", depth=10, questions=136, before=0.4225, after=0.4817, low=0.042,
    high=0.0775, better=71, worse=21,
)  # fmt: skip


@pytest.fixture
def manifest(tiny_model: Path) -> Manifest:
    found = manifests.read(tiny_model)
    return found.model_copy(update={"made_with": found.made_with | {ADAPTER_HASH_KEY: "ours"}})


def test_the_last_sentence_has_the_gain_over_all_questions_with_its_interval(manifest: Manifest, tmp_path: Path) -> None:
    (tmp_path / "figures.json").write_text(FIGURES.model_dump_json())
    said = _verdict([], COLLECTION, Path("home/demo"), 10, manifest, tmp_path / "figures.json")
    assert said.startswith(
        "All 136 judged questions, BM25's top 10: nDCG@10 0.422 -> 0.482, a gain of 0.059 (95% interval 0.042 to"
    )
    assert "71 are answered better, 21 worse" in said


@pytest.mark.parametrize(
    "figures",
    ["", "{}", *(FIGURES.model_copy(update=other).model_dump_json() for other in ({"adapter_sha256": "old"}, {"depth": 30}, {"precision": "int8"}))],
    ids=["none", "not whole", "another adapter", "another depth", "another precision"],
)  # fmt: skip
def test_figures_of_another_model_are_not_shown_but_the_command_that_measures_them(
    figures: str, manifest: Manifest, tmp_path: Path
) -> None:
    judged, own = (compare(COLLECTION, INDEX, Reranker(FakeScorer()), text, 10) for text in ("copy a directory tree", "copy"))
    path = tmp_path / "figures.json"
    if figures:
        path.write_text(figures)
    said = _verdict([judged, own], COLLECTION, Path("home/demo"), 10, manifest, path)
    assert "the 1 judged here" in said
    assert "-> 1.00" in said
    assert "slimrank evaluate --data home/demo --depth 10" in said
    assert _verdict([own], COLLECTION, Path("home/demo"), 10, manifest, path).startswith("All 1 judged questions")


def test_the_committed_figures_belong_to_the_shipped_adapter_and_to_all_questions() -> None:
    figures = Figures.model_validate_json(FIGURES_FILE.read_text())
    assert figures.adapter_sha256 == adapter_hash(shipped_adapter(DEFAULT_MODEL_NAME)), "run: python -m deploy.demo.measure"
    assert figures.questions == len(QUERIES.read_text().splitlines()), "run: python -m deploy.demo.measure"
    assert figures.before < figures.after


def test_six_questions_are_shown_and_all_are_judged() -> None:
    queries = {row["_id"]: row["text"] for row in map(json.loads, QUERIES.read_text().splitlines())}
    assert len(SHOWCASE) == 6
    assert _questions(Collection("python", {}, queries, {}), None) == [queries[query_id] for query_id in SHOWCASE]


def test_a_table_shows_the_place_of_the_right_answer_or_that_bm25_did_not_find_it() -> None:
    comparison = compare(COLLECTION, INDEX, Reranker(FakeScorer()), "copy a directory tree", 10)
    was = comparison.first_stage.index("shutil.copytree") + 1
    assert f"right answer: place {was} -> 1" in str(_table(comparison).caption)
    lost = replace(comparison, judged={"shutil.move": 2})
    assert "no right answer among BM25's 2 hits" in str(_table(lost).caption)


def test_a_users_own_question_has_no_ndcg() -> None:
    assert compare(COLLECTION, INDEX, Reranker(FakeScorer()), "copy data", 10).ndcg_at_10() is None


def test_a_question_without_hits_is_refused() -> None:
    with pytest.raises(DataError, match="ask with other words"):
        compare(COLLECTION, INDEX, Reranker(FakeScorer()), "zebra", 10)


def test_the_time_of_the_first_answer_is_printed_once_below_it(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("deploy.demo.cli.read_library", lambda _: (COLLECTION, INDEX))
    ask = ("demo", "--model", tiny_model, "--query", "copy a directory", "--query", "copy data")
    said = slimrank(*ask).out
    first, rest = said.split("First answer after ")
    assert "copy a directory" in first
    assert "copy data" not in first
    assert re.match(r"\d+ s, counted from the start of this command\.", rest)
    assert "copy data" in rest
    assert len(json.loads(slimrank(*ask, "--json").out)) == 2
