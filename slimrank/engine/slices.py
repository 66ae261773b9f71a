"""Take one job through a model: prepare some of its texts at a time, and score them a slice at a time.

A slice is short in time, by the model's own cost model, whatever the texts are: between two slices the loop looks at who left, whose
deadline passed and who else waits (``scoring_loop``). So nothing that a caller chooses may make one long. Texts are cut, split into
passages and counted in windows of bounded length; the passages of one document may be scored in several slices.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Protocol

import numpy as np

from slimrank.engine.anytime import depth_within, estimated_tokens, first_depth, next_chunk
from slimrank.engine.cascade import kept_of, narrowed
from slimrank.engine.cost import TokenCost
from slimrank.engine.jobs import Job
from slimrank.engine.passages import MOST_CHARACTERS, Split, best_passages
from slimrank.scoring import joined
from slimrank.types import Scored

SLICE_SECONDS = 0.3
"""The time of a slice by the cost model. A slice has at least one text for each lane."""
TAIL = 1.5
"""If what is left is at most this many slices, it is scored at once: the last slice would be too small for the machine."""
FIRST_TEXTS = 16
"""The texts of a slice before their cost is known."""
WINDOW_CHARACTERS = 2**17
"""The most characters of documents that are prepared at once: some tens of milliseconds of a tokenizer."""
MOST_WINDOWS = 16
"""The most windows that are prepared for one slice, when documents are short or cached."""


class SlicedModel(Protocol):
    """The methods of a model (``model.Model``) that a slice calls."""

    cost: TokenCost

    def texts(self, job: Job) -> list[Split]:
        """Return the part of each document of a job that is read."""
        ...

    def token_counts(self, job: Job, texts: Sequence[str]) -> list[int]:
        """Return the tokens that each text would put through the model."""
        ...

    def score_texts(self, job: Job, texts: Sequence[str]) -> Scored:
        """Return the score of each text."""
        ...


class PlainSlices:
    """A job that one model scores.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, model: SlicedModel, job: Job, *, clock: Callable[[], float]) -> None:
        self._model, self._job, self._clock = model, job, clock
        self._cost: TokenCost = model.cost
        self._estimates = [estimated_tokens(document, self._limit) for document in job.request.documents]
        self.wanted = min(job.depth, len(self._estimates)) if isinstance(job.depth, int) else len(self._estimates)
        """The number of documents to score, from the first on."""
        self._is_planned = job.depth != "auto"
        self._texts: list[str] = []
        self._tokens: list[int] = []
        self._counts: list[int] = []
        """The number of texts of each prepared document: one, or its passages."""
        self._is_cut: list[bool] = []
        self._done = 0
        self._parts: list[Scored] = []

    @property
    def _limit(self) -> int | None:
        return MOST_CHARACTERS if self._job.long_document == "max_passage" else None

    @property
    def is_done(self) -> bool:
        """Return whether all wanted documents are scored."""
        return self._done == len(self._texts) and len(self._counts) == self.wanted and bool(self._parts)

    @property
    def has_scores(self) -> bool:
        """Return whether at least one document is scored."""
        return bool(self._parts)

    @property
    def rest_seconds(self) -> float:
        """The estimated time of the texts that are left."""
        unread = sum(self._estimates[len(self._counts) : self.wanted])
        return self._cost.seconds(sum(self._tokens[self._done :]) + unread)

    def prepare(self, left_seconds: float) -> None:
        """Prepare the texts of the next slice.

        Args:
            left_seconds: For the whole job; what a depth of "auto" is chosen by.
        """
        for _ in range(MOST_WINDOWS):
            rest = self._tokens[self._done :]
            is_enough = bool(rest) and (not self._cost.is_known or self._cost.seconds(self._cost.work(rest)[-1]) >= SLICE_SECONDS)
            if is_enough or len(self._counts) == self.wanted:
                break
            self._read_on()
        if not self._is_planned:
            self._is_planned = True
            self.wanted = first_depth(self._job.depth, self._foreseen(), left_seconds, self._cost)
            self._forget_unwanted()

    def _read_on(self) -> None:
        """Cut, split and count the next documents: as many as make a window, at least one."""
        start, documents = len(self._counts), self._job.request.documents
        end = characters = 0
        for end in range(start, self.wanted):
            characters += min(len(documents[end]), MOST_CHARACTERS)
            if characters > WINDOW_CHARACTERS:
                break
        else:
            end = self.wanted
        splits = self._model.texts(self._job.part(start, max(1, end - start)))
        texts = [text for split in splits for text in split.passages]
        self._texts += texts
        self._tokens += self._model.token_counts(self._job, texts)
        self._counts += [len(split.passages) for split in splits]
        self._is_cut += [split.is_cut for split in splits]

    def _foreseen(self) -> list[int]:
        """Return the tokens of each document: counted where it is ready, else by its characters, as the counted ones were to theirs."""
        ends = list(accumulate(self._counts, initial=0))
        known = [sum(self._tokens[a:b]) for a, b in pairwise(ends)]
        share = sum(known) / max(1, sum(self._estimates[: len(known)]))
        return known + [round(share * estimate) for estimate in self._estimates[len(known) :]]

    def _forget_unwanted(self) -> None:
        texts = sum(self._counts[: self.wanted])
        del self._counts[self.wanted :], self._is_cut[self.wanted :], self._texts[texts:], self._tokens[texts:]

    def next_size(self) -> int:
        """Return how many texts make a slice."""
        rest = self._tokens[self._done :]
        if not self._cost.is_known:
            return min(FIRST_TEXTS, len(rest))
        # Where a run costs much by itself, a slice holds as much again: else most of the machine would go into beginning.
        limit = max(SLICE_SECONDS, 2 * self._cost.seconds(0))
        if self.rest_seconds <= TAIL * limit:
            return len(rest)
        return min(len(rest), max(self._cost.lanes, depth_within(rest, limit, self._cost)))

    def size_within(self, left_seconds: float) -> int:
        """Return how many texts make a slice that ends in the time that is left; 0 where none does."""
        return min(self.next_size(), next_chunk(self._tokens[self._done :], left_seconds, self._cost))

    def seconds(self, size: int) -> float:
        """Return the estimated time of the next texts."""
        rest = self._tokens[self._done : self._done + size]
        return self._cost.seconds(self._cost.work(rest)[-1] if rest else 0)

    def advance(self, size: int) -> None:
        """Score the next texts, and learn from the time that it took."""
        begin, end = self._clock(), self._done + size
        self._parts.append(self._model.score_texts(self._job, self._texts[self._done : end]))
        if size:
            self._cost.learn_documents(self._tokens[self._done : end], self._clock() - begin)
        self._done = end

    def scored(self) -> Scored:
        """Return what is known of the documents so far; one whose passages were not all scored counts as cut."""
        scored = joined(self._parts)
        counts, left = [], self._done
        for count in self._counts:
            if not left:
                break
            counts.append(min(count, left))
            left -= counts[-1]
        is_cut = [cut or now < count for cut, now, count in zip(self._is_cut, counts, self._counts, strict=False)]
        if self._job.long_document == "max_passage":
            return best_passages(scored, counts, is_cut)
        return replace(scored, truncated=scored.truncated | np.asarray(is_cut, dtype=np.bool_))


class CascadeSlices:
    """A job whose documents a cheap model narrows first, all of them together.

    Args:
        keep: Documents that reach the full model.
    """

    def __init__(self, cheap: SlicedModel, full: SlicedModel, keep: int, job: Job, *, clock: Callable[[], float]) -> None:
        self._full, self._keep, self._job, self._clock = full, keep, job, clock
        self._cheap_slices = self._now = PlainSlices(cheap, job, clock=clock)
        self._cheap: Scored | None = None
        self._kept: Sequence[int] = ()

    @property
    def is_done(self) -> bool:
        """Return whether all wanted documents are scored."""
        return self._cheap is not None and self._now.is_done

    @property
    def rest_seconds(self) -> float:
        """The estimated time of what is left, as far as it is known."""
        return self._now.rest_seconds

    def prepare(self, left_seconds: float) -> None:
        """Make ready what the next slice may hold; once all are narrowed, of what is kept."""
        if self._cheap is None and self._cheap_slices.is_done:
            self._cheap = self._cheap_slices.scored()
            self._kept = kept_of(self._cheap, self._keep)
            documents = [self._job.request.documents[place] for place in self._kept]
            job = replace(self._job, request=replace(self._job.request, documents=documents), depth=None)
            self._now = PlainSlices(self._full, job, clock=self._clock)
        self._now.prepare(left_seconds)

    def next_size(self) -> int:
        """Return how many texts make a slice."""
        return self._now.next_size()

    def seconds(self, size: int) -> float:
        """Return the estimated time of the next texts."""
        return self._now.seconds(size)

    def advance(self, size: int) -> None:
        """Score the next texts."""
        self._now.advance(size)

    def scored(self) -> Scored:
        """Return a score for each document."""
        if self._cheap is None:
            raise RuntimeError("a cascade has no scores before it has narrowed")
        return narrowed(self._cheap, self._kept, self._now.scored())
