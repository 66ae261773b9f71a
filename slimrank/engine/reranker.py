"""The public face: load a model, rank documents.

    from slimrank import Reranker

    reranker = Reranker.load()
    best = reranker.rank("run a shell command", ["subprocess.run ...", "os.listdir ..."], top_n=1)[0]

Everything happens in the caller's process; for a service see ``slimrank.serving.gateway.app``.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from slimrank import settings as process_settings
from slimrank import store
from slimrank.engine.anytime import check_depth, cost_of, score_until
from slimrank.engine.jobs import Depth, DocumentWindow, LongDocument
from slimrank.engine.passages import PassageScorer
from slimrank.engine.probe import PROBES
from slimrank.engine.window_scorer import Parts, WindowScorer
from slimrank.errors import InvalidRequest
from slimrank.fusion import fuse_scored
from slimrank.identity import NO_CALIBRATION
from slimrank.manifest import Calibration, Fusion
from slimrank.prompt import PromptEncoder
from slimrank.request_checks import DEFAULT_MAX_DOCUMENTS, check_request
from slimrank.scoring import Scorer, rank
from slimrank.types import RankedDocument, Scored


class Reranker:
    """Ranks the documents of a query with a scorer, by default an exported model in this process.

    Args:
        scorer: What scores the documents.
        calibration: From score to probability; in a model folder, the manifest's.
        fusion: How much the first stage's order weighs where a call says that it is given.
        max_documents: Most documents in one call.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        calibration: Calibration = NO_CALIBRATION,
        fusion: Fusion | None = None,
        max_documents: int = DEFAULT_MAX_DOCUMENTS,
    ) -> None:
        self.scorer = scorer
        self._calibration = calibration
        self._fusion = fusion
        self._max_documents = max_documents

    @classmethod
    def load(cls, folder: Path | str | None = None, *, threads: int | None = None) -> "Reranker":
        """Load a model: its folder or the name of one that ships; left out, the default model. A shipped one is made on first use.

        Raises:
            ConfigError: it is neither a folder nor the name of a shipped model.
            ManifestError: the folder may not be served.
            ModelSourceError: a shipped model could not be made.
        """
        from slimrank.engine.loading import open_engine

        settings = process_settings.load(model=None if folder is None else Path(folder), threads=threads)
        scorer = open_engine(settings, store.model_folder(settings))
        made = scorer.manifest
        return cls(scorer, calibration=made.calibration, fusion=made.fusion, max_documents=settings.max_documents)

    def rank(
        self,
        query: str,
        documents: Sequence[str],
        *,
        top_n: int | None = None,
        instruction: str | None = None,
        first_stage_order: bool = False,
        deadline_ms: int | None = None,
        depth: Depth | None = None,
        long_document: LongDocument = "truncate",
        document_window: DocumentWindow = "head",
        document_tokens: int | None = None,
    ) -> list[RankedDocument]:
        """Return the documents best first; equal scores keep the order given.

        Documents that a deadline or a depth left unscored come last, in the order given, with ``is_scored`` false.

        Args:
            top_n: Return only so many; all are scored.
            instruction: How to judge, such as "prefer recent manuals".
            first_stage_order: The documents stand in a search engine's order; use it as a prior.
            deadline_ms: Score only what there is time for, from the first document on, in milliseconds from now.
            depth: Documents to score, from the first; "auto" = as many as fit into the deadline, chosen beforehand.
            long_document: "truncate" cuts a document at the pair length; "max_passage" splits it, and its best passage
                counts, at the cost of one pair a passage.
            document_window: Which part is read of a document that is cut: its "head", or its "best" window, which shares most with the
                query among these documents.
            document_tokens: Most tokens of a document that are read; None = as many as the model takes. A gateway on a CPU reads 96 unless it
                is set otherwise.

        Raises:
            InvalidRequest: the query is blank, something is not a text, or there are too many.
            DeadlineExceeded: there was no time for a single document.
            ScoringError: the model could not score.
        """
        if depth == "auto":
            self._learn_cost()
        begin = time.monotonic()
        check_request(query, documents, max_documents=self._max_documents)
        if top_n is not None and top_n < 1:
            raise InvalidRequest(f"top_n must be at least 1, found {top_n}; leave it out to get every document")
        if document_tokens is not None and document_tokens < 1:
            raise InvalidRequest(
                f"document_tokens must be at least 1, found {document_tokens}; leave it out to read all that fits"
            )
        check_depth(depth)
        read, was_cut = self._read(query, documents, document_window, document_tokens, instruction)
        scored = score_until(
            self.scorer_for(long_document),
            query,
            read,
            deadline=None if deadline_ms is None else begin + deadline_ms / 1000,
            clock=time.monotonic,
            depth=depth,
            instruction=instruction,
        )
        scored = replace(scored, truncated=scored.truncated | was_cut)
        if first_stage_order:
            scored = self._fused(scored, 0)
        return rank(scored, scale=self._calibration.scale, offset=self._calibration.offset)[:top_n]

    def score_in_order(self, query: str, documents: Sequence[str], *, instruction: str | None = None, offset: int = 0) -> Scored:
        """Return the scores of documents in first-stage order, with that order as a prior.

        Args:
            offset: How many first-stage hits come before the first document, as on a second page.

        Raises:
            ScoringError: the model could not score.
        """
        return self._fused(self.scorer.score(query, documents, instruction=instruction), offset)

    def _learn_cost(self) -> None:
        """Let a model of ours time itself once, so that a depth can be chosen beforehand."""
        warm_up = getattr(self.scorer, "warm_up", None)
        if warm_up is not None and not cost_of(self.scorer).is_known:
            warm_up(process_settings.load().home_folder / PROBES)

    def scorer_for(
        self, long_document: LongDocument, document_window: DocumentWindow = "head", document_tokens: int | None = None
    ) -> Scorer:
        """Return what scores documents in this way.

        Args:
            document_tokens: Of each document that are read; None = as many as fit.

        Raises:
            InvalidRequest: passages or windows were asked for and the scorer has no tokenizer to cut documents with.
        """
        scorer = PassageScorer(self.scorer, self.encoder(long_document)) if long_document == "max_passage" else self.scorer
        if document_window == "head" and document_tokens is None:
            return scorer
        return WindowScorer(scorer, self.encoder(document_window), document_window, max_tokens=document_tokens)

    def _read(
        self, query: str, documents: Sequence[str], window: DocumentWindow, tokens: int | None, instruction: str | None
    ) -> tuple[Sequence[str], npt.NDArray[np.bool_]]:
        """Return what is read of each document, chosen among all of them, and which were cut for it."""
        if window == "head" and tokens is None:
            return documents, np.zeros(len(documents), dtype=np.bool_)
        return Parts(self.encoder(window)).of(query, documents, window, max_tokens=tokens, instruction=instruction)

    def encoder(self, wanted: str) -> PromptEncoder:
        """Return what cuts documents.

        Raises:
            InvalidRequest: the scorer has none.
        """
        encoder = getattr(self.scorer, "encoder", None)
        if not isinstance(encoder, PromptEncoder):
            raise InvalidRequest(
                f"{wanted!r} cannot be had here, as there is no tokenizer to cut documents with; load a model folder"
            )
        return encoder

    def _fused(self, scored: Scored, offset: int) -> Scored:
        if self._fusion is None:
            return scored
        return fuse_scored(scored, range(offset + 1, offset + len(scored.scores) + 1), self._fusion.weight)
