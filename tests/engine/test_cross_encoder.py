"""A cross-encoder is served as any model is: the same batches, caches, deadlines, wire formats and errors, by one scorer."""

import math
from pathlib import Path
from typing import Any

import httpx
import pytest

from slimrank import Reranker
from slimrank.bench.engine import compare
from slimrank.engine.session import OrtScorer
from slimrank.evaluation import beir
from tests.command import slimrank
from tests.serving.process import gateway

QUERY = "fresh rye bread"
DOCUMENTS = ["A bakery sells rye bread before noon.", "", "Titan is the largest moon of Saturn. " * 9, "bread " * 900, "noon"]


@pytest.fixture(scope="module")
def scorer(tiny_pair_model: Path) -> OrtScorer:
    return OrtScorer.load(tiny_pair_model, threads=2)


def test_scores_are_the_same_alone_together_and_with_other_queries(scorer: OrtScorer) -> None:
    together = scorer.score(QUERY, DOCUMENTS)
    alone = [float(scorer.score(QUERY, [document]).scores[0]) for document in DOCUMENTS]
    assert together.scores.tolist() == pytest.approx(alone, abs=1e-5)
    other = "the largest moon"
    pairs = scorer.score_pairs([(QUERY, DOCUMENTS[0]), (other, DOCUMENTS[2]), (QUERY, DOCUMENTS[4])])
    expected = [alone[0], float(scorer.score(other, [DOCUMENTS[2]]).scores[0]), alone[4]]
    assert [float(one.scores[0]) for one in pairs] == pytest.approx(expected, abs=1e-5)


def test_a_query_is_paid_for_with_every_document(scorer: OrtScorer) -> None:
    counted = scorer.token_counts(QUERY, DOCUMENTS)
    whole = [len(scorer.encoder.pair_ids(QUERY, document).ids) for document in DOCUMENTS]
    assert counted == whole
    scored = scorer.score(QUERY, DOCUMENTS)
    assert scored.tokens == sum(count for count, document in zip(whole, DOCUMENTS, strict=True) if document.strip())
    assert max(scored.batch_tokens) <= 512


def test_only_the_document_is_cut(scorer: OrtScorer) -> None:
    scored = scorer.score(QUERY, DOCUMENTS)
    assert scored.truncated.tolist() == [False, False, False, True, False]
    assert not scored.query_truncated
    ids = scorer.encoder.pair_ids(QUERY, DOCUMENTS[3]).ids
    assert len(ids) == 512
    assert ids[-1] == scorer.encoder.suffix_ids[-1]


def test_a_gateway_serves_it(tiny_pair_model: Path) -> None:
    with gateway(fake=False, embedded=True, model=tiny_pair_model, document_tokens=0) as url:
        raw = _ask(url, raw_scores=True)
        library = Reranker.load(tiny_pair_model, threads=1)
        by_index = {hit.index: hit.score for hit in library.rank(QUERY, DOCUMENTS)}
        assert {each["index"]: each["relevance_score"] for each in raw["results"]} == pytest.approx(by_index, abs=1e-5)
        chances = _ask(url)  # all known by now
        assert {each["index"]: each["relevance_score"] for each in chances["results"]} == pytest.approx(
            {index: (1 + math.tanh(score / 2)) / 2 for index, score in by_index.items()}, abs=1e-5
        )
        assert chances["usage"]["total_tokens"] == 0
        assert _ask(url, depth=2, raw_scores=True)["meta"]["scored_documents"] == 2
        assert _ask(url, query="other bread", max_tokens_per_doc=3)["meta"]["truncated_documents"] == [0, 2, 3]
        assert _ask(url, query="the moon", deadline_ms=20_000, long_document="max_passage")["meta"]["passages"] > len(DOCUMENTS)
        tei = httpx.post(f"{url}/rerank", json={"query": QUERY, "texts": DOCUMENTS, "raw_scores": True}, timeout=30).json()
        assert {each["index"]: each["score"] for each in tei} == pytest.approx(by_index, abs=1e-5)
        refused = httpx.post(f"{url}/v1/rerank", json={"query": "a", "documents": ["b"], "instruction": "prefer c"}, timeout=30)
        assert refused.status_code == 422
        assert "has no place for one" in refused.json()["message"]


def _ask(url: str, **fields: object) -> dict[str, Any]:
    answer = httpx.post(f"{url}/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS} | fields, timeout=30)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_evaluate_takes_the_folder_of_a_cross_encoder(tiny_pair_model: Path, tmp_path: Path) -> None:
    beir.write_documents(tmp_path, [beir.Document(str(place), "", text) for place, text in enumerate(DOCUMENTS)])
    beir.write_queries(tmp_path, {"q": QUERY})
    beir.write_qrels(tmp_path, "test", {"q": {"0": 1}})
    done = slimrank("evaluate", "--data", tmp_path, "--model", tiny_pair_model, "--depth", 3, "--json")
    assert done.code == 0, done.err
    assert '"nDCG@10"' in done.out


@pytest.mark.slow
def test_peers_of_a_cross_encoder_score_as_it_does(tiny_pair_model: Path, tiny_cross_encoder: Path) -> None:
    given: Any = {"checkpoint": tiny_cross_encoder, "data": None, "queries": 1, "depth": 4, "threads": 1, "seed": 0}
    report = compare(tiny_pair_model, plain=tiny_pair_model, without=["torch-bf16", "minilm-sized-fp32"], **given)
    assert set(report["contenders"]) == {"fused", "plain", "torch-fp32"}
    for figures in report["contenders"].values():
        assert figures["largest_difference_from_ours"] < 1e-3
