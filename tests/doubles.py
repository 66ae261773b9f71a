"""Small real things that stand in for a model."""

import time
from collections.abc import Sequence

import numpy as np

from slimrank.errors import ScoringError
from slimrank.types import Scored

MAX_WORDS = 200


class FakeScorer:
    """Scores a document by the query's words in it, less a little for its length. Cuts at ``MAX_WORDS`` words.

    Args:
        seconds: How long each call takes,
        document_seconds: and each document of it beside that.
    """

    def __init__(self, *, seconds: float = 0.0, document_seconds: float = 0.0) -> None:
        self.seconds = seconds
        self.document_seconds = document_seconds
        self.calls = 0

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return one score a document; the query ``fail`` fails."""
        if query == "fail":
            raise ScoringError("the model was asked to fail")
        if query == "fault":
            raise RuntimeError("a fault at /secret/path")
        self.calls += 1
        time.sleep(self.seconds + self.document_seconds * len(documents))
        wanted = set(f"{query} {instruction or ''}".lower().split())
        words = [document.lower().split()[:MAX_WORDS] for document in documents]
        scores = [10 * len(wanted & set(found)) / len(wanted) - 5 - len(found) / 1000 for found in words]
        return Scored(
            np.asarray(scores, dtype=np.float32),
            np.asarray([len(document.split()) > MAX_WORDS for document in documents], dtype=np.bool_),
            False,
            sum(map(len, words)) + len(wanted),
        )
