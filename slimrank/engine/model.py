"""A loaded model: its scorer and its identity.

What a worker and an embedded gateway both hold. It answers a ``Job`` with an ``Answer`` and knows
nothing of queues or HTTP.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Encoding, Tokenizer

from slimrank import manifest
from slimrank.engine import anytime
from slimrank.engine.cache import CachedScorer, InMemory, InRedis, Level, model_id, scoped
from slimrank.engine.cascade import CascadeScorer
from slimrank.engine.jobs import Answer, DocumentWindow, Job
from slimrank.engine.merging import PairScorer, score_pairs
from slimrank.engine.passages import MOST_CHARACTERS, Split, Splitter
from slimrank.engine.probe import PROBES
from slimrank.engine.slices import CascadeSlices, PlainSlices
from slimrank.engine.windows import windows
from slimrank.errors import InvalidRequest
from slimrank.identity import ModelIdentity
from slimrank.prompt import MAX_CHARACTERS_PER_TOKEN, PromptEncoder, encodable
from slimrank.scoring import Scorer, only_first
from slimrank.settings import Settings
from slimrank.store import folder_of, model_folder
from slimrank.types import Scored

log = logging.getLogger(__name__)

USUAL_CHARACTERS_PER_TOKEN = 6
"""At first, this many characters of a document are tokenised for each token that is read; ordinary text has 3 to 5."""


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
        """Return the documents, each at most ``max_tokens`` long, and which of them were cut.

        No more of a text is tokenised than so many tokens may hold, and never more than a model could be given; at first as much as
        usual texts need, which nearly always is enough.
        """
        bound = min(max_tokens * MAX_CHARACTERS_PER_TOKEN, MOST_CHARACTERS)
        texts = [encodable(document[:bound]) for document in documents]
        kept, was_cut = list(texts), np.array([len(document) > bound for document in documents], dtype=np.bool_)
        unread = list(range(len(texts)))
        for characters in (max_tokens * USUAL_CHARACTERS_PER_TOKEN, bound):
            encodings = self._tokenizer.encode_batch([texts[place][:characters] for place in unread], add_special_tokens=False)
            again = []
            for place, encoding in zip(unread, encodings, strict=True):
                is_long = len(encoding.ids) > max_tokens
                if len(texts[place]) > characters and not (is_long and _ends_before_last_word(encoding, max_tokens)):
                    again.append(place)
                elif is_long:
                    kept[place] = texts[place][: encoding.offsets[max_tokens - 1][1]]
                    was_cut[place] = True
            unread = again
        return kept, was_cut


def _ends_before_last_word(encoding: Encoding, count: int) -> bool:
    """Return whether the first ``count`` tokens end before the last word: if a text continues, only its last word may change."""
    return bool(encoding.token_to_word(count - 1) != encoding.token_to_word(len(encoding.ids) - 1))


class Model:
    """A scorer with the identity that it is served under.

    Args:
        cutter: Needed only for requests that ask for shorter documents than the model's limit.
        encoder: Needed only for requests that have long documents split into passages, or cut to their best window.
        document_window: Which part of a document is read where a request does not say.
        document_tokens: Most tokens of a document that are read where a request does not say; 0 = as many as the model takes.
        cascade: A cheap model that narrows, the full one, and how many documents reach it; ``scorer`` is both in one.
    """

    def __init__(
        self,
        identity: ModelIdentity,
        scorer: Scorer,
        *,
        cutter: DocumentCutter | None = None,
        encoder: PromptEncoder | None = None,
        cascade: "tuple[Model, Model, int] | None" = None,
        document_window: DocumentWindow = "head",
        document_tokens: int = 0,
    ) -> None:
        self.identity = identity
        self.cost = anytime.cost_of(scorer)
        self._scorer = scorer
        self._cutter = cutter
        self._splitter = Splitter(encoder) if encoder else None
        self._encoder = encoder
        self._cascade = cascade
        self._document_window = document_window
        self.document_tokens = document_tokens if cutter else 0

    @classmethod
    def from_settings(cls, settings: Settings) -> "Model":
        """Load the model that the settings name, behind a cheaper one where they name that too.

        Raises:
            ConfigError: a model is named that neither lies here nor ships.
            ManifestError: a folder may not be served.
            ModelSourceError: a shipped model could not be made.
        """
        folder = model_folder(settings)
        cheap = (
            None if settings.cascade_model is None else folder_of(settings.cascade_model, settings)
        )  # told before one is loaded
        levels = _cache_levels(settings)

        def load(folder: Path) -> "Model":
            model = cls._of_folder(folder, settings)
            return model.over(CachedScorer(model._scorer, model_id(manifest.read(folder)), levels)) if levels else model

        model = load(folder)
        log.info(
            "model name=%s provider=%s document_window=%s document_tokens=%s",
            *(model.identity.name, settings.provider, settings.document_window, model.document_tokens or "all that fit"),
        )
        if cheap is None:
            return model
        first = load(cheap)
        keep = settings.cascade_keep
        return model.over(CascadeScorer(first._scorer, model._scorer, keep=keep), cascade=(first, model, keep))

    @classmethod
    def _of_folder(cls, folder: Path, settings: Settings) -> "Model":
        """Load one model folder that passed its checks."""
        from slimrank.engine.loading import open_engine  # onnxruntime is not needed by a gateway without a model

        scorer = open_engine(settings, folder)
        scorer.warm_up(settings.home_folder / PROBES)
        identity = ModelIdentity.of(scorer.manifest)
        if settings.fusion_weight is not None:
            identity = replace(identity, fusion_weight=settings.fusion_weight)
        return cls(
            identity,
            scorer,
            cutter=DocumentCutter(Tokenizer.from_file(str(folder / manifest.TOKENIZER_FILE))),
            encoder=scorer.encoder,
            document_window="best" if settings.document_window == "best" else "head",
            document_tokens=settings.tokens_read,
        )

    def over(self, scorer: Scorer, *, cascade: "tuple[Model, Model, int] | None" = None) -> "Model":
        """Return this model, its identity and limits, with scores from another scorer."""
        return Model(
            self.identity,
            scorer,
            cutter=self._cutter,
            encoder=self._encoder,
            cascade=cascade,
            document_window=self._document_window,
            document_tokens=self.document_tokens,
        )

    def slices(self, job: Job, *, clock: Callable[[], float] = time.monotonic) -> PlainSlices | CascadeSlices:
        """Return what takes a job forward, a slice at a time.

        Raises:
            InvalidRequest: passages were asked for, and there is no tokenizer to split documents with.
        """
        if job.long_document != "truncate" and self._splitter is None:
            raise InvalidRequest(
                f"{self.identity.name} has no tokenizer to split documents with; leave out long_document", status=422
            )
        if self._window(job) == "best":  # also where a slice holds only some of the documents
            job = replace(job, of=job.of or job.request.documents)
        if self._cascade is not None and not job.takes_partial:
            cheap, full, keep = self._cascade
            if len(job.request.documents) > keep:
                return CascadeSlices(cheap, full, keep, job, clock=clock)
        return PlainSlices(self, job, clock=clock)

    def texts(self, job: Job) -> list[Split]:
        """Return what is read of each document of a job: as much as is allowed of it, whole or in passages."""
        documents, was_cut = self._cut(job)
        if job.long_document == "truncate" or self._splitter is None:
            return [Split([document], bool(cut)) for document, cut in zip(documents, was_cut, strict=True)]
        splits = self._splitter.split(job.request.query, documents, job.request.instruction)
        return [split._replace(is_cut=split.is_cut or bool(cut)) for split, cut in zip(splits, was_cut, strict=True)]

    def token_counts(self, job: Job, texts: Sequence[str]) -> list[int]:
        """Return the tokens that each text of a job would put through the model, about."""
        return anytime.token_counts(
            scoped(self._scorer, job.scope), job.request.query, texts, instruction=job.request.instruction
        )

    def score_texts(self, job: Job, texts: Sequence[str]) -> Scored:
        """Return the score of each text of a job, in the order given."""
        return scoped(self._scorer, job.scope).score(job.request.query, texts, instruction=job.request.instruction)

    def score(self, job: Job) -> Answer:
        """Return the scores of a job's documents, in the order given, all at once."""
        slices = self.slices(job)
        while not slices.is_done:
            slices.prepare(float("inf"))
            slices.advance(slices.next_size())
        return self.answer(only_first(slices.scored(), len(job.request.documents)), job)

    @property
    def merges(self) -> bool:
        """Return whether jobs that can be merged (``merging``) are cheaper in one run."""
        return isinstance(self._scorer, PairScorer)

    def score_together(self, jobs: Sequence[Job]) -> list[Answer]:
        """Return the answer to each of several jobs that go with each other (``merging``), from one run."""
        cut = [self._cut(job) for job in jobs]
        pairs = [(job.request.query, documents[0]) for job, (documents, _) in zip(jobs, cut, strict=True)]
        scored = score_pairs(scoped(self._scorer, jobs[0].scope), pairs, instruction=jobs[0].request.instruction)
        return [
            self.answer(replace(one, truncated=one.truncated | was_cut), job)
            for job, one, (_, was_cut) in zip(jobs, scored, cut, strict=True)
        ]

    def _cut(self, job: Job) -> tuple[Sequence[str], npt.NDArray[np.bool_]]:
        """Return the text that is read of each document, and which documents were cut by a limit of the request or the model.

        A cut by this process's setting is not among them: the answer names it once, for all documents.
        """
        request, max_tokens = job.request, job.tokens_read(self.document_tokens)
        if self._window(job) == "best" and self._encoder is not None and job.long_document == "truncate":
            room = self._encoder.document_room(len(self._encoder.prefix_ids(request.query, request.instruction).ids))
            max_tokens = min(room, max_tokens or room)
        nothing = np.zeros(len(request.documents), dtype=np.bool_)
        if not max_tokens or self._cutter is None:
            return request.documents, nothing
        if self._window(job) == "best":
            read, was_cut = windows(request.query, request.documents, max_tokens, self._cutter.cut, of=job.of)
        else:
            read, was_cut = self._cutter.cut(request.documents, max_tokens)
        return read, nothing if max_tokens == self._tokens_by_default(job) else was_cut

    def _tokens_by_default(self, job: Job) -> int:
        """Return what a document is cut to because the process is set so; 0 where the job says, or nothing is set."""
        return 0 if job.max_document_tokens is not None else job.tokens_read(self.document_tokens)

    def _window(self, job: Job) -> DocumentWindow:
        return job.document_window or self._document_window

    def answer(self, scored: Scored, job: Job) -> Answer:
        """Return scores as this model's answer to a job."""
        return Answer(scored, self.identity, document_tokens=self._tokens_by_default(job))


def _cache_levels(settings: Settings) -> list[Level]:
    bounds = {"entries": settings.score_cache_entries, "seconds": settings.score_cache_seconds}
    levels: list[Level] = [InMemory(**bounds)] if settings.score_cache != "off" else []  # type: ignore[arg-type]
    if settings.score_cache == "redis":
        from slimrank.engine.redis_clients import connect  # Redis is not needed otherwise

        levels.append(InRedis(connect(settings), **bounds))  # type: ignore[arg-type]
    return levels
