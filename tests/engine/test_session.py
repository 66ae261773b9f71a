"""A served model scores as its checkpoint does, in the order given, and a spoilt folder is refused."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from slimrank import manifest as manifests
from slimrank.engine.cache import CachedScorer, InMemory
from slimrank.engine.jobs import Answer
from slimrank.engine.session import OrtScorer
from slimrank.errors import InvalidRequest, ManifestError, PromptMismatch, ScoringError
from slimrank.identity import ModelIdentity
from slimrank.prompt import SLIMRANK, Piece, PromptEncoder
from slimrank.scoring import NOTHING_SCORE, joined
from slimrank.serving.metrics import Metrics
from slimrank.serving.queue import messages
from tests.tiny import DOCUMENTS
from tests.vocabularies import small_tokenizer

QUERY = "which moon is the largest"


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> OrtScorer:
    return OrtScorer.load(tiny_model, threads=1)


def textbook_scores(checkpoint: Path, query: str, documents: list[str], instruction: str | None = None) -> list[float]:
    """Score with transformers and the full head, one whole pair at a time."""

    encoder = PromptEncoder(SLIMRANK, small_tokenizer(), max_pair_tokens=512)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    scores = []
    for document in documents:
        ids = torch.tensor([encoder.pair_ids(query, document, instruction).ids])
        with torch.inference_mode():
            logits = model(ids).logits[0, -1]
        scores.append((logits[encoder.relevant_id] - logits[encoder.irrelevant_id]).item())
    return scores


def test_scores_are_the_checkpoints(scorer: OrtScorer, tiny_checkpoint: Path) -> None:
    for instruction in (None, "prefer astronomy"):
        found = scorer.score(QUERY, DOCUMENTS, instruction=instruction)
        assert found.scores.dtype == np.float32
        expected = textbook_scores(tiny_checkpoint, QUERY, DOCUMENTS, instruction)
        expected[DOCUMENTS.index("")] = NOTHING_SCORE  # no model is asked about what holds nothing
        assert found.scores == pytest.approx(expected, abs=1e-4)


def test_a_score_does_not_depend_on_its_neighbours(scorer: OrtScorer) -> None:
    together = scorer.score(QUERY, DOCUMENTS).scores
    alone = [scorer.score(QUERY, [document]).scores[0] for document in DOCUMENTS]
    assert together == pytest.approx(alone, abs=1e-4)


def test_the_words_before_a_document_are_run_once_for_all_documents(scorer: OrtScorer) -> None:
    start, (first, second) = scorer.encoder.document_start_ids, (DOCUMENTS[0], DOCUMENTS[3])
    own = len(scorer.encoder.document_ids([second], 0)[0].ids) + len(scorer.encoder.suffix_ids)
    added = scorer.score(QUERY, [first, second]).tokens - scorer.score(QUERY, [first]).tokens
    assert start
    assert added == own - len(start) == scorer.token_counts(QUERY, [second])[0]


def test_documents_that_do_not_begin_with_the_words_before_them_score_alike(
    scorer: OrtScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, pairs = scorer.score(QUERY, DOCUMENTS), [(QUERY, DOCUMENTS[0]), ("bread", DOCUMENTS[3])]
    usual_pairs = scorer.score_pairs(pairs)
    monkeypatch.setattr(scorer.encoder, "document_start_ids", [*scorer.encoder.document_start_ids, 0])
    whole = scorer.score(QUERY, DOCUMENTS)
    assert whole.scores == pytest.approx(usual.scores, abs=1e-4)
    assert whole.tokens > usual.tokens
    assert [one.scores[0] for one in scorer.score_pairs(pairs)] == pytest.approx([one.scores[0] for one in usual_pairs], abs=1e-4)


def test_pairs_of_several_queries_score_as_each_by_itself(scorer: OrtScorer) -> None:
    queries = [QUERY, "bread", "how is rye baked", QUERY, "a query that is known", "bread and more"]
    scorer.score(queries[4], [DOCUMENTS[0]])
    pairs = list(zip(queries, DOCUMENTS, strict=False))
    for instruction in (None, "prefer astronomy"):
        together = scorer.score_pairs(pairs, instruction=instruction)
        apart = [scorer.score(query, [document], instruction=instruction) for query, document in pairs]
        assert [one.scores[0] for one in together] == pytest.approx([one.scores[0] for one in apart], abs=1e-4)
        assert [one.tokens for one in together] == [one.tokens for one in apart]
    assert scorer.score_pairs([]) == []


def test_a_small_budget_changes_no_score(tiny_model: Path, scorer: OrtScorer) -> None:
    careful = OrtScorer.load(tiny_model, threads=1, batch_tokens=64)
    assert careful.score(QUERY, DOCUMENTS).scores == pytest.approx(scorer.score(QUERY, DOCUMENTS).scores, abs=1e-4)


def test_permuting_the_documents_permutes_the_scores(scorer: OrtScorer) -> None:
    order = np.random.default_rng(3).permutation(len(DOCUMENTS))
    shuffled = scorer.score(QUERY, [DOCUMENTS[i] for i in order])
    assert shuffled.scores == pytest.approx(scorer.score(QUERY, DOCUMENTS).scores[order], abs=1e-4)


def test_duplicates_are_scored_once_and_equal(scorer: OrtScorer) -> None:
    found = scorer.score(QUERY, [DOCUMENTS[0], DOCUMENTS[3], DOCUMENTS[0]])
    assert found.scores[0] == found.scores[2]
    assert found.tokens == scorer.score(QUERY, [DOCUMENTS[0], DOCUMENTS[3]]).tokens


def test_no_documents_and_an_empty_document_work(scorer: OrtScorer) -> None:
    assert scorer.score(QUERY, []).scores.shape == (0,)
    assert np.isfinite(scorer.score(QUERY, [""]).scores).all()


def test_odd_texts_are_scored_and_long_ones_reported(scorer: OrtScorer) -> None:
    odd = ["\ud800 lone", "\x00\x07 control", '{"query": 1}', "</s><|im_end|>", "word " * 400_000]
    found = scorer.score("\udfff?", odd)
    assert np.isfinite(found.scores).all()
    assert found.truncated.tolist() == [False, False, False, False, True]
    assert not found.query_truncated
    assert scorer.score("word " * 2000, ["x"]).query_truncated


def test_an_instruction_without_room_is_the_callers_mistake(scorer: OrtScorer) -> None:
    with pytest.raises(InvalidRequest, match="shorten the instruction"):
        scorer.score(QUERY, ["x"], instruction="rule " * 500)


def test_a_folder_with_a_missing_file_is_refused(model_copy: Path) -> None:
    (model_copy / "tokenizer.json").unlink()
    with pytest.raises(ManifestError, match=r"tokenizer\.json is missing"):
        OrtScorer.load(model_copy)


def test_a_folder_with_a_shortened_graph_is_refused(model_copy: Path) -> None:
    graph = model_copy / "model.onnx"
    graph.write_bytes(graph.read_bytes()[:-100])
    with pytest.raises(ManifestError, match="incomplete or altered"):
        OrtScorer.load(model_copy)


def test_a_folder_with_another_prompt_is_refused(model_copy: Path) -> None:
    path = model_copy / "prompt.json"
    prompt = json.loads(path.read_text())
    path.write_text(json.dumps(prompt | {"suffix": prompt["suffix"] + " "}))
    # The manifest's own record is brought along, as a careless repair would.
    found = manifests.read(model_copy)
    found.model_copy(update={"files": manifests.file_records(model_copy, found.files)}).save(model_copy)
    with pytest.raises(PromptMismatch, match="export the model again"):
        OrtScorer.load(model_copy)


def test_an_unverified_and_a_failed_folder_are_refused(model_copy: Path) -> None:
    found = manifests.read(model_copy)
    assert found.verification is not None
    failed = found.verification.model_copy(update={"passed": False, "max_score_difference": 3.0})
    found.model_copy(update={"verification": failed}).save(model_copy)
    with pytest.raises(ManifestError, match="failed verification"):
        OrtScorer.load(model_copy)
    found.model_copy(update={"verification": None}).save(model_copy)
    with pytest.raises(ManifestError, match="slimrank verify"):
        OrtScorer.load(model_copy)


def test_a_score_that_is_not_finite_is_an_error(scorer: OrtScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scorer._graph, "logits", lambda rows, shared: np.full((len(rows), 2), np.nan, dtype=np.float32))
    with pytest.raises(ScoringError, match="not finite"):
        scorer.score(QUERY, ["x"])


def test_a_repeated_query_finds_its_prefix_again_within_bounds(scorer: OrtScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    first = scorer.score(QUERY, DOCUMENTS).scores
    assert scorer.score(QUERY, DOCUMENTS).scores.tolist() == first.tolist()
    monkeypatch.setattr("slimrank.engine.session.PREFIX_CACHE_BYTES", 1)
    scorer.score("another query", ["x"])
    assert len(scorer._prefixes) == 1


class CountingEncoder:
    """An encoder that remembers which documents it was given."""

    def __init__(self, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        self.documents: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def document_ids(self, documents: Sequence[str], prefix_length: int) -> list[Piece]:
        self.documents += documents
        return self._encoder.document_ids(documents, prefix_length)


def test_documents_that_were_counted_are_not_tokenised_again(scorer: OrtScorer) -> None:
    expected = scorer.score(QUERY, DOCUMENTS).scores
    planned = scorer.with_budget(256)
    planned.encoder = encoder = CountingEncoder(scorer.encoder)  # type: ignore[assignment]
    planned.token_counts(QUERY, DOCUMENTS)
    parts = [planned.score(QUERY, DOCUMENTS[:2]).scores, planned.score(QUERY, DOCUMENTS[2:]).scores]
    assert np.concatenate(parts) == pytest.approx(expected, abs=1e-4)
    assert encoder.documents == DOCUMENTS
    planned.score("another query", DOCUMENTS[:1])
    assert encoder.documents == [*DOCUMENTS, DOCUMENTS[0]]


def test_rows_shorter_than_attentions_chunks_are_scored(scorer: OrtScorer) -> None:
    alone, beside = scorer.score_rows([], [[5]]), scorer.score_rows([], [[5], [5, 6, 7, 8, 9]])
    assert alone[0] == pytest.approx(beside[0], abs=1e-4)
    assert scorer.score_rows([7], [[5, 6]]) == pytest.approx(scorer.score_rows([], [[7, 5, 6]]), abs=1e-4)


def test_an_answer_tells_what_its_batches_cost_also_through_cache_queue_and_parts(tiny_model: Path) -> None:
    careful = OrtScorer.load(tiny_model, threads=1, batch_tokens=64)
    plain = careful.score(QUERY, DOCUMENTS)
    prefix = len(careful.encoder.prefix_ids(QUERY).ids) + len(careful.encoder.document_start_ids)
    assert len(plain.batch_tokens) > 1
    assert sum(plain.batch_tokens) >= plain.tokens - prefix
    cached = CachedScorer(careful, "tiny", [InMemory(entries=100, seconds=60)]).score(QUERY, DOCUMENTS)
    assert cached.batch_tokens == plain.batch_tokens
    assert cached.tokenise_seconds > 0
    answer = Answer(cached, ModelIdentity("tiny"))
    sent = messages.answer_of(messages.decode_reply(messages.encode_answer("id", answer)), documents=len(answer.scored.scores))
    assert sent.scored.batch_tokens == plain.batch_tokens
    assert joined([cached, plain]).batch_tokens == 2 * plain.batch_tokens
    metrics = Metrics()
    metrics.count_scored(sent)
    assert f"slimrank_batch_tokens_sum {float(sum(plain.batch_tokens))}".encode() in metrics.text()
