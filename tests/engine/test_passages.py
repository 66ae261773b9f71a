"""A long document is heard to its end: split at sentences, nothing lost, the best passage speaks for it."""

import itertools
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slimrank import Reranker
from slimrank.engine.jobs import Job
from slimrank.engine.model import Model
from slimrank.engine.passages import MOST_CHARACTERS, MOST_PASSAGES, PassageScorer, Splitter, pack
from slimrank.engine.scoring_loop import ScoringLoop
from slimrank.engine.session import OrtScorer
from slimrank.errors import DeadlineExceeded, InvalidRequest
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.types import RerankRequest, Scored
from tests.doubles import FakeScorer
from tests.serving.conftest import over
from tests.tiny import loaded

SENTENCE = "The moon Titan has lakes of methane and a thick orange sky. "
LONG = SENTENCE * 120 + "The needle lies here, at the very end."


@pytest.fixture(scope="module")
def scorer(tiny_model: Path) -> OrtScorer:
    return OrtScorer.load(tiny_model, threads=1)


class Needle:
    """Likes passages that hold the needle."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.seen += documents
        scores = np.array([1.0 if "needle" in document else -1.0 for document in documents], dtype=np.float32)
        return Scored(scores, np.zeros(len(scores), dtype=np.bool_), False, len(documents))


def test_passages_fit_lose_nothing_and_end_at_sentences(scorer: OrtScorer) -> None:
    needle = Needle()
    scored = PassageScorer(needle, scorer.encoder).score("where is it", [LONG, "short", ""])
    assert needle.seen[-2:] == ["short", ""]
    assert "".join(needle.seen[:-2]) == LONG
    assert all(one.rstrip().endswith(".") for one in needle.seen[:-2])
    prefix = scorer.encoder.prefix_ids("where is it").ids
    assert not any(piece.truncated for piece in scorer.encoder.document_ids(needle.seen, len(prefix)))
    assert scored.scores.tolist() == [1.0, -1.0, -1.0]
    assert scored.passages == len(needle.seen) > 5


def test_a_sentence_beyond_the_pair_is_parted_between_words(scorer: OrtScorer) -> None:
    needle = Needle()
    endless = "word " * 3000
    PassageScorer(needle, scorer.encoder).score("q", [endless])
    assert "".join(needle.seen) == endless
    assert all(one.endswith("word ") for one in needle.seen)


@pytest.mark.parametrize("text", ["x" * 9000, "\n" * 9000, "月亮很大。" * 900, "a\n\nb " * 2000])
def test_any_text_is_split(scorer: OrtScorer, text: str) -> None:
    scored = PassageScorer(scorer, scorer.encoder).score("q", [text])
    assert np.isfinite(scored.scores).all()


def test_truncation_never_sees_what_the_best_passage_says(scorer: OrtScorer) -> None:
    reranker = Reranker(scorer)
    passages = PassageScorer(scorer, scorer.encoder)
    (cut,) = reranker.rank("needle", [LONG])
    (whole,) = reranker.rank("needle", [LONG], long_document="max_passage")
    assert cut.truncated
    assert not whole.truncated
    assert whole.score == passages.score("needle", [LONG]).scores[0]
    assert passages.token_counts("needle", [LONG, "short"])[0] > scorer.token_counts("needle", [LONG])[0]


def test_the_cost_is_told(tiny_model: Path) -> None:
    model = loaded(tiny_model)
    with over(EmbeddedBackend(model)) as client:
        asked = {"query": "needle", "documents": [LONG, "short"]}
        meta = client.post("/v1/rerank", json=asked | {"long_document": "max_passage"}).json()["meta"]
        assert meta["passages"] > 2
        assert meta["truncated_documents"] == []
        meta = client.post("/v1/rerank", json=asked).json()["meta"]
        assert "passages" not in meta
        assert meta["truncated_documents"] == [0]
        assert client.post("/v1/rerank", json=asked | {"long_document": "all"}).status_code == 422


def test_without_a_tokenizer_passages_are_refused() -> None:
    job = Job(RerankRequest("q", ["a"]), long_document="max_passage")
    with pytest.raises(InvalidRequest, match="no tokenizer"):
        Model(ModelIdentity("fake"), FakeScorer()).score(job)
    with pytest.raises(InvalidRequest, match="cannot be had"):
        Reranker(FakeScorer()).rank("q", ["a"], long_document="max_passage")


def test_neighbours_are_packed_up_to_the_room() -> None:
    assert pack(["a ", "b ", "c ", "d"], [2, 2, 2, 2], 4) == ["a b ", "c d"]
    assert pack([], [], 4) == [""]


def test_a_document_is_read_up_to_a_bound_and_the_answer_says_so(scorer: OrtScorer) -> None:
    needle = Needle()
    huge = SENTENCE * 30_000
    scored = PassageScorer(needle, scorer.encoder).score("q", [huge + "The needle.", "short"])
    assert len(needle.seen) <= MOST_PASSAGES + 1
    assert len("".join(needle.seen)) <= MOST_CHARACTERS + len("short")
    assert scored.truncated.tolist() == [True, False]
    assert scored.scores.tolist() == [-1.0, -1.0], "what lies beyond the bound is not seen"


@pytest.mark.parametrize(
    "text",
    [
        "x" * 2_000_000,
        "word " * 400_000,
        ". " * 1_000_000,
        ".'" * 1_000_000,
        "." + "'" * 2_000_000,
        "月" * 700_000,
        "\n" * 2_000_000,
    ],
    ids=["one-word", "no-sentence", "enders", "quotes", "quoted", "han", "blank"],
)
def test_no_text_of_two_megabytes_is_split_for_longer_than_a_few_seconds(scorer: OrtScorer, text: str) -> None:
    begin = time.process_time()
    (split,) = Splitter(scorer.encoder).split("q", [text])
    assert split.is_cut
    assert 1 <= len(split.passages) <= MOST_PASSAGES
    assert time.process_time() - begin < 5


def test_splitting_counts_against_the_deadline_and_one_document_holds_the_model_for_a_slice(scorer: OrtScorer) -> None:
    model = Model(ModelIdentity("fake"), Needle(), encoder=scorer.encoder)
    now = itertools.count()
    loop = ScoringLoop(model, clock=lambda: 0.2 * next(now))  # every look at the clock costs a fifth of a second
    late = loop.submit(Job(RerankRequest("q", [SENTENCE * 2000] * 50), long_document="max_passage"), timeout_seconds=5)
    other = loop.submit(Job(RerankRequest("q", ["a"])), timeout_seconds=1000)
    while loop._queries:
        one = loop._next()
        assert one is not None
        loop._turn(one)
    with pytest.raises(DeadlineExceeded):
        late.result(0)
    assert other.result(0).model.name == "fake"


def test_half_a_document_is_an_answer_at_the_deadline_and_marked_as_cut(scorer: OrtScorer) -> None:
    model = Model(ModelIdentity("fake"), Needle(), encoder=scorer.encoder)
    slices = model.slices(Job(RerankRequest("q", [LONG, LONG]), long_document="max_passage", takes_partial=True))
    slices.prepare(10)
    slices.advance(2)
    half = slices.scored()
    assert (half.scores.tolist(), half.truncated.tolist(), half.passages) == ([-1.0], [True], 2)
    while not slices.is_done:
        slices.prepare(10)
        slices.advance(slices.next_size())
    whole = slices.scored()
    assert (whole.scores.tolist(), whole.truncated.tolist()) == ([1.0, 1.0], [False, False])


def test_only_what_may_hold_the_tokens_asked_for_is_tokenised(tiny_model: Path) -> None:
    model = loaded(tiny_model)
    begin = time.process_time()
    answer = model.score(Job(RerankRequest("q", ["word " * 5_600_000, "a b"]), max_document_tokens=5))
    assert time.process_time() - begin < 2
    assert answer.scored.truncated.tolist() == [True, False]
    short = model.score(Job(RerankRequest("q", ["word " * 30]), max_document_tokens=5))
    assert short.scored.scores[0] == pytest.approx(answer.scored.scores[0], abs=1e-3)
