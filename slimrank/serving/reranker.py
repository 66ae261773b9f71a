"""The public face: load a model, rank documents.

    from slimrank import Reranker

    reranker = Reranker.load()
    best = reranker.rank("run a shell command", ["subprocess.run ...", "os.listdir ..."], top_n=1)[0]

Everything happens in the caller's process; for a service see ``slimrank.serving.gateway``.
"""

from collections.abc import Sequence
from pathlib import Path

from slimrank import settings as process_settings
from slimrank import store
from slimrank.errors import InvalidRequest
from slimrank.fusion import fuse_scored
from slimrank.manifest import Calibration, Fusion
from slimrank.requests import DEFAULT_MAX_DOCUMENTS, check_request
from slimrank.scoring import Scorer, rank
from slimrank.types import RankedDocument

NO_CALIBRATION = Calibration()


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
        """Load a model folder; left out, the default model, which is made on first use.

        Raises:
            ManifestError: the folder may not be served.
            ModelSourceError: the default model could not be made.
        """
        from slimrank.serving.session import OrtScorer

        settings = process_settings.load(model=None if folder is None else Path(folder), threads=threads)
        scorer = OrtScorer.load(store.model_folder(settings), threads=settings.threads, batch_tokens=settings.batch_tokens)
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
    ) -> list[RankedDocument]:
        """Return the documents best first; equal scores keep the order given.

        Args:
            top_n: Return only so many; all are scored.
            instruction: How to judge, such as "prefer recent manuals".
            first_stage_order: The documents stand in a search engine's order; use it as a prior.

        Raises:
            InvalidRequest: the query is blank, something is not a text, or there are too many.
            ScoringError: the model could not score.
        """
        check_request(query, documents, max_documents=self._max_documents)
        if top_n is not None and top_n < 1:
            raise InvalidRequest(f"top_n must be at least 1, found {top_n}; leave it out to get every document")
        scored = self.scorer.score(query, documents, instruction=instruction)
        if first_stage_order and self._fusion is not None:
            scored = fuse_scored(scored, range(1, len(documents) + 1), self._fusion.weight)
        return rank(scored, scale=self._calibration.scale, offset=self._calibration.offset)[:top_n]
