"""A scorer that reads a part of each document: so many tokens, its head or its best window (``slimrank.engine.windows``).

For callers in this process, who hand over all documents of a request at once; the service cuts within ``model``.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from slimrank.engine import anytime
from slimrank.engine.jobs import DocumentWindow
from slimrank.engine.model import DocumentCutter
from slimrank.engine.windows import windows
from slimrank.prompt import PromptEncoder
from slimrank.scoring import Scorer
from slimrank.types import Scored


class Parts:
    """Cuts documents to what is read of them.

    Args:
        encoder: Tells how many tokens a pair has left for a document.
    """

    def __init__(self, encoder: PromptEncoder) -> None:
        self._encoder = encoder
        self._cutter = DocumentCutter(encoder.tokenizer())

    def of(
        self,
        query: str,
        documents: Sequence[str],
        window: DocumentWindow,
        *,
        max_tokens: int | None = None,
        instruction: str | None = None,
    ) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Return what is read of each document, and which were cut.

        Args:
            max_tokens: Of a document; None = as many as fit into a pair.
        """
        room = self._encoder.document_room(len(self._encoder.prefix_ids(query, instruction).ids))
        room = min(room, max_tokens or room)
        if window == "best":
            return windows(query, documents, room, self._cutter.cut)
        return self._cutter.cut(documents, room)


class WindowScorer:
    """Scores documents by a part of them.

    Args:
        scorer: Scores the parts.
        encoder: Tells how many tokens a pair has left for a document.
        max_tokens: Of a document that are read; None = as many as fit.
    """

    def __init__(
        self, scorer: Scorer, encoder: PromptEncoder, window: DocumentWindow = "head", *, max_tokens: int | None = None
    ) -> None:
        self._scorer, self._window, self._max_tokens = scorer, window, max_tokens
        self._parts = Parts(encoder)
        self.cost = anytime.cost_of(scorer)

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return the score of each document's part, in the order given.

        Raises:
            InvalidRequest: the instruction leaves no room for the query.
            ScoringError: the model failed.
        """
        parts, was_cut = self._read(query, documents, instruction)
        scored = self._scorer.score(query, parts, instruction=instruction)
        return replace(scored, truncated=scored.truncated | was_cut)

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Return the tokens of each document's part."""
        return anytime.token_counts(self._scorer, query, self._read(query, documents, instruction)[0], instruction=instruction)

    def _read(self, query: str, documents: Sequence[str], instruction: str | None) -> tuple[list[str], npt.NDArray[np.bool_]]:
        return self._parts.of(query, documents, self._window, max_tokens=self._max_tokens, instruction=instruction)
