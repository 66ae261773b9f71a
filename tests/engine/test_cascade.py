"""A cheap model narrows, the full one ranks; what is left out stays below, in the cheap order."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from slimrank.engine.cascade import CascadeScorer
from slimrank.engine.jobs import Job
from slimrank.engine.model import Model
from slimrank.errors import ManifestError, ScoringError
from slimrank.scoring import rank
from slimrank.settings import Settings
from slimrank.types import RerankRequest, Scored
from tests.doubles import FakeScorer


class Length:
    """Prefers longer documents; the cheap model of these tests. Remembers what it was asked."""

    def __init__(self, sign: int = 1) -> None:
        self.sign = sign
        self.asked: list[list[str]] = []

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        self.asked.append(list(documents))
        lengths = np.array([self.sign * len(text) for text in documents], dtype=np.float32)
        return Scored(lengths, lengths > 3, False, len(documents))


def test_only_what_the_cheap_model_keeps_reaches_the_full_one() -> None:
    cheap, full = Length(), Length(-1)
    scored = CascadeScorer(cheap, full, keep=2).score("q", ["a", "aaaa", "aa", "aaa"])
    assert full.asked == [["aaaa", "aaa"]]
    assert [document.index for document in rank(scored)] == [3, 1, 2, 0]
    assert scored.scores.tolist() == [-999.0, -4.0, -998.0, -3.0]
    assert scored.tokens == 6


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_window_no_larger_than_what_is_kept_is_the_full_models_alone(count: int) -> None:
    cheap, full = Length(), Length(-1)
    CascadeScorer(cheap, full, keep=3).score("q", ["a"] * count)
    assert (cheap.asked, full.asked) == ([], [["a"] * count])


def test_ties_of_the_cheap_model_keep_the_first_stage_order() -> None:
    full = Length()
    scored = CascadeScorer(Length(), full, keep=2).score("q", ["aa", "bb", "cc", "dd"])
    assert full.asked == [["aa", "bb"]]
    assert [document.index for document in rank(scored)] == [0, 1, 2, 3]


def test_permuting_the_documents_permutes_the_scores() -> None:
    documents = ["a gold ring", "gold", "a ring of lead pipes and more", "pipe", "ring gold mine"]
    cascade = CascadeScorer(Length(), FakeScorer(), keep=3)
    there = cascade.score("gold ring", documents).scores
    back = cascade.score("gold ring", documents[::-1]).scores
    assert np.array_equal(there, back[::-1])


def test_a_failing_model_fails_the_request() -> None:
    with pytest.raises(ScoringError):
        CascadeScorer(FakeScorer(), Length(), keep=1).score("fail", ["a", "b"])


def test_a_model_is_loaded_with_its_cascade(tiny_model: Path, tmp_path: Path) -> None:
    documents = [f"document {'gold ' * number}" for number in range(6)]
    job = Job(RerankRequest("gold", documents))
    alone = Model.from_settings(Settings(model=tiny_model, home=tmp_path))
    cascade = Model.from_settings(Settings(model=tiny_model, cascade_model=tiny_model, cascade_keep=4, home=tmp_path))
    full, narrowed = alone.score(job), cascade.score(job)
    best = np.argsort(-full.scored.scores, kind="stable")
    # the same model first and last: what it keeps are its own best
    assert narrowed.scored.scores[best[:4]] == pytest.approx(full.scored.scores[best[:4]], abs=1e-4)
    assert (narrowed.scored.scores[best[4:]] < -900).all()
    assert narrowed.model == full.model


def test_a_first_model_that_is_no_model_folder_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(ManifestError):
        Model.from_settings(Settings(model=tiny_model, cascade_model=tmp_path, home=tmp_path))
