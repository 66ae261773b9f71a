"""A loaded model: its scorer, its name and how its scores become probabilities.

What a worker and an embedded gateway both hold. It answers a ``Job`` with an ``Answer`` and knows
nothing of queues or HTTP.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from slimrank import manifest
from slimrank.errors import InvalidRequest
from slimrank.prompt import PromptEncoder, encodable
from slimrank.scoring import Scorer
from slimrank.serving import anytime
from slimrank.serving.backend import Answer, Job
from slimrank.serving.cascade import CascadeScorer
from slimrank.serving.passages import PassageScorer
from slimrank.serving.probe import PROBES
from slimrank.serving.score_cache import CachedScorer, InMemory, InRedis, Level, model_id
from slimrank.serving.together import PairScorer, score_pairs
from slimrank.settings import Settings
from slimrank.store import model_folder
from slimrank.types import Scored


class DocumentCutter:
    """Cuts documents to a number of tokens that the caller chose, below the model's own limit.

    Args:
        tokenizer: The model's tokenizer; this object takes it over.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        tokenizer.encode_special_tokens = True
        self._tokenizer = tokenizer

    def cut(self, documents: Sequence[str], max_tokens: int) -> tuple[list[str], npt.NDArray[np.bool_]]:
        """Return the documents, each at most ``max_tokens`` long, and which of them were cut."""
        documents = [encodable(text) for text in documents]
        encodings = self._tokenizer.encode_batch(documents, add_special_tokens=False)
        kept, was_cut = [], np.zeros(len(documents), dtype=np.bool_)
        for place, (text, encoding) in enumerate(zip(documents, encodings, strict=True)):
            was_cut[place] = len(encoding.ids) > max_tokens
            kept.append(text[: encoding.offsets[max_tokens - 1][1]] if was_cut[place] else text)
        return kept, was_cut


class Model:
    """A scorer with the name and calibration it is served under.

    Args:
        cutter: Needed only for requests that ask for shorter documents than the model's limit.
        encoder: Needed only for requests that have long documents split into passages.
    """

    def __init__(
        self,
        name: str,
        scorer: Scorer,
        *,
        scale: float = 1.0,
        offset: float = 0.0,
        fusion_weight: float = 0.0,
        model_sha256: str = "",
        prompt_sha256: str = "",
        cutter: DocumentCutter | None = None,
        encoder: PromptEncoder | None = None,
    ) -> None:
        self.name = name
        self.scale = scale
        self.offset = offset
        self.fusion_weight = fusion_weight
        self.model_sha256, self.prompt_sha256 = model_sha256, prompt_sha256
        self.cost = anytime.cost_of(scorer)
        self._scorer = scorer
        self._cutter = cutter
        self._passages = PassageScorer(scorer, encoder) if encoder else None
        self._encoder = encoder

    @classmethod
    def load(
        cls,
        folder: Path,
        *,
        threads: int,
        batch_tokens: int,
        probe_folder: Path | None = None,
        provider: str = "cpu",
        cuda_graphs: bool = False,
    ) -> "Model":
        """Load a model folder that passed its checks.

        Args:
            batch_tokens: Most padded tokens in a batch; 0 = fitted in warm-up.
            probe_folder: Where the warm-up's timings are kept for the next start.
            provider: Where the graph runs.
            cuda_graphs: Record runs as CUDA graphs.

        Raises:
            ManifestError: the folder may not be served.
        """
        from slimrank.serving.session import OrtScorer  # onnxruntime is not needed by a gateway without a model

        scorer = OrtScorer.load(folder, threads=threads, batch_tokens=batch_tokens, provider=provider, cuda_graphs=cuda_graphs)
        scorer.warm_up(probe_folder)
        return cls(
            scorer.manifest.name,
            scorer,
            scale=scorer.manifest.calibration.scale,
            offset=scorer.manifest.calibration.offset,
            fusion_weight=scorer.manifest.fusion.weight if scorer.manifest.fusion else 0.0,
            model_sha256=scorer.manifest.digest(),
            prompt_sha256=scorer.manifest.prompt_sha256,
            cutter=DocumentCutter(Tokenizer.from_file(str(folder / manifest.TOKENIZER_FILE))),
            encoder=scorer.encoder,
        )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Model":
        """Load the model that the settings name, behind a cheaper one where they name that too.

        Raises:
            ManifestError: a folder may not be served.
            ModelSourceError: the default model could not be made.
        """

        levels = _cache_levels(settings)

        def load(folder: Path) -> "Model":
            probes = settings.home_folder / PROBES
            model = cls.load(
                folder,
                threads=settings.threads,
                batch_tokens=settings.batch_tokens,
                probe_folder=probes,
                provider=settings.provider,
                cuda_graphs=settings.cuda_graphs,
            )
            if not levels:
                return model
            return model.over(CachedScorer(model._scorer, model_id(manifest.read(folder)), levels))

        model = load(model_folder(settings))
        if settings.cascade_model is None:
            return model
        first = load(settings.cascade_model)
        return model.over(CascadeScorer(first._scorer, model._scorer, keep=settings.cascade_keep))

    def over(self, scorer: Scorer) -> "Model":
        """Return this model, its name, limits and calibration, with scores from another scorer."""
        return Model(
            self.name,
            scorer,
            scale=self.scale,
            offset=self.offset,
            fusion_weight=self.fusion_weight,
            model_sha256=self.model_sha256,
            prompt_sha256=self.prompt_sha256,
            cutter=self._cutter,
            encoder=self._encoder,
        )

    def token_counts(self, job: Job) -> list[int]:
        """Return the tokens that each document of a job would put through the model, about."""
        request = job.request
        return anytime.token_counts(self._scorer_for(job), request.query, request.documents, instruction=request.instruction)

    def score(self, job: Job) -> Answer:
        """Return the scores of a job's documents, in the order given."""
        documents, was_cut = self._cut(job)
        scored = self._scorer_for(job).score(job.request.query, documents, instruction=job.request.instruction)
        return self._answer(scored, was_cut)

    @property
    def merges(self) -> bool:
        """Whether jobs that go with each other (``together``) are cheaper in one run."""
        return isinstance(self._scorer, PairScorer)

    def score_together(self, jobs: Sequence[Job]) -> list[Answer]:
        """Return the answer to each of several jobs that go with each other (``together``), from one run."""
        cut = [self._cut(job) for job in jobs]
        pairs = [(job.request.query, documents[0]) for job, (documents, _) in zip(jobs, cut, strict=True)]
        scored = score_pairs(self._scorer, pairs, instruction=jobs[0].request.instruction)
        return [self._answer(one, was_cut) for one, (_, was_cut) in zip(scored, cut, strict=True)]

    def _cut(self, job: Job) -> tuple[Sequence[str], npt.NDArray[np.bool_] | None]:
        if job.max_document_tokens is None or self._cutter is None:
            return job.request.documents, None
        return self._cutter.cut(job.request.documents, job.max_document_tokens)

    def _answer(self, scored: Scored, was_cut: npt.NDArray[np.bool_] | None) -> Answer:
        if was_cut is not None:
            scored = replace(scored, truncated=scored.truncated | was_cut)
        return Answer(scored, self.name, self.scale, self.offset, self.fusion_weight, self.model_sha256, self.prompt_sha256)

    def _scorer_for(self, job: Job) -> Scorer:
        if job.long_document == "truncate":
            return self._scorer
        if self._passages is None:
            raise InvalidRequest(f"{self.name} has no tokenizer to split documents with; leave out long_document", status=422)
        return self._passages


def _cache_levels(settings: Settings) -> list[Level]:
    bounds = {"entries": settings.score_cache_entries, "seconds": settings.score_cache_seconds}
    levels: list[Level] = [InMemory(**bounds)] if settings.score_cache != "off" else []  # type: ignore[arg-type]
    if settings.score_cache == "redis":
        from slimrank.serving.redis_clients import connect  # Redis is not needed otherwise

        levels.append(InRedis(connect(settings), **bounds))  # type: ignore[arg-type]
    return levels
