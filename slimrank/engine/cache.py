"""Scores that are known already: the same document for the same query is not scored twice.

A score depends on the model, its prompt, the query, the instruction and the document, and on nothing
else, so a hash of those is its key. What is kept is the pure score, before any first-stage prior.
Two levels: this process' memory, and where it is asked for Redis, which all workers share. Redis
holds hashes and numbers, no text. Both are bounded in entries and age; a cache that fails is a miss.
"""

import hashlib
import logging
import struct
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
import redis

from slimrank.engine import anytime
from slimrank.engine.merging import score_pairs
from slimrank.engine.redis_clients import KEY_PREFIX
from slimrank.manifest import Manifest
from slimrank.scoring import Scorer
from slimrank.types import Scored

log = logging.getLogger(__name__)

KEY_BYTES = 16
ENTRY = struct.Struct("<fB")
"""A score and its flags."""
TRUNCATED, QUERY_TRUNCATED = 1, 2
SLOTS = 256
"""Hashes in Redis over which entries are spread; one that is full is dropped whole."""


class Level(Protocol):
    """One place where entries are kept."""

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the entry of each key, or None."""
        ...

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries."""
        ...


class InMemory:
    """The least recently used leave first; used by several threads.

    Args:
        entries: Most entries kept; each takes some 200 bytes.
        seconds: How long an entry is good for.
    """

    def __init__(self, *, entries: int, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = entries
        self._seconds = seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[bytes, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        """Return how many entries are kept."""
        return len(self._entries)

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the entry of each key, or None."""
        with self._lock:
            return [self._get(key) for key in keys]

    def _get(self, key: bytes) -> bytes | None:
        found = self._entries.get(key)
        if found is None:
            return None
        if found[0] < self._clock():
            del self._entries[key]
            return None
        self._entries.move_to_end(key)
        return found[1]

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries."""
        end = self._clock() + self._seconds
        with self._lock:
            for key, entry in entries.items():
                self._entries[key] = end, entry
                self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)


class InRedis:
    """Shared by all workers of one Redis.

    Args:
        entries: Most entries kept, about; each takes some 60 bytes of Redis' memory.
        seconds: How long a slot lives after its first entry.
    """

    def __init__(self, client: redis.Redis, *, entries: int, seconds: float) -> None:
        self._client = client
        self._most_of_a_slot = max(1, entries // SLOTS)
        self._lifetime_ms = max(1, int(seconds * 1000))

    def get(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the entry of each key, or None; all None where Redis does not answer."""
        with self._client.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.hget(_slot(key), key)
            try:
                return list(pipe.execute())
            except redis.RedisError as error:
                log.warning("score cache not read error=%s", type(error).__name__)
                return [None] * len(keys)

    def put(self, entries: Mapping[bytes, bytes]) -> None:
        """Keep entries, if Redis takes them."""
        slots = sorted({_slot(key) for key in entries})
        try:
            with self._client.pipeline(transaction=False) as pipe:
                for key, entry in entries.items():
                    pipe.hset(_slot(key), key, entry)
                for slot in slots:
                    pipe.pexpire(slot, self._lifetime_ms, nx=True)
                    pipe.hlen(slot)
                lengths = pipe.execute()[len(entries) + 1 :: 2]
                full = [slot for slot, length in zip(slots, lengths, strict=True) if length > self._most_of_a_slot]
                if full:
                    self._client.unlink(*full)
        except redis.RedisError as error:
            log.warning("score cache not written error=%s", type(error).__name__)


class CachedScorer:
    """A scorer that scores only what no level knows.

    Args:
        model_id: Says which model and prompt the scores are of.
        levels: Nearest first.
        scope: Whose scores these are: none is known to another scope.
    """

    def __init__(self, scorer: Scorer, model_id: str, levels: Sequence[Level], *, scope: str = "") -> None:
        self._scorer = scorer
        self._model_id = model_id
        self._levels = levels
        self._scope = scope
        self.cost = anytime.cost_of(scorer)

    def scoped(self, scope: str) -> "CachedScorer":
        """Return the same for another scope."""
        return CachedScorer(self._scorer, self._model_id, self._levels, scope=scope)

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return the score of each document, in the order given; ``cached`` says how many were known.

        Raises:
            ScoringError: the model failed.
        """
        keys = self._keys(query, documents, instruction)
        known = self._known(keys)
        new = {key: document for key, document in zip(keys, documents, strict=True) if key not in known}
        if not new and documents:
            return _assembled(keys, known, tokens=0, cached=len(keys))
        scored = self._scorer.score(query, list(new.values()), instruction=instruction)
        fresh = dict(zip(new, _entries(scored), strict=True))
        for level in self._levels:
            level.put(fresh)
        cached = sum(key in known for key in keys)
        if not documents:
            return scored
        answer = _assembled(keys, known | fresh, tokens=scored.tokens, cached=cached)
        return replace(answer, tokenise_seconds=scored.tokenise_seconds, batch_tokens=scored.batch_tokens)

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None) -> list[Scored]:
        """Return the score of each pair of a query and a document.

        Raises:
            ScoringError: the model failed.
        """
        keys = [self._keys(query, [document], instruction)[0] for query, document in pairs]
        known = self._known(keys)
        new = {key: pair for key, pair in zip(keys, pairs, strict=True) if key not in known}
        scored = dict(zip(new, score_pairs(self._scorer, list(new.values()), instruction=instruction), strict=True))
        fresh = {key: _entries(one)[0] for key, one in scored.items()}
        for level in self._levels:
            level.put(fresh)
        # A pair that comes twice was put through the model for the first of them alone.
        return [scored.pop(key) if key in scored else _assembled([key], known | fresh, tokens=0, cached=1) for key in keys]

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Return the tokens of each document; none for one whose score is known."""
        keys = self._keys(query, documents, instruction)
        known = self._known(keys)
        new = [document for key, document in zip(keys, documents, strict=True) if key not in known]
        counts = iter(anytime.token_counts(self._scorer, query, new, instruction=instruction))
        return [0 if key in known else next(counts) for key in keys]

    def _known(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        known: dict[bytes, bytes] = {}
        for depth, level in enumerate(self._levels):
            if not (missing := [key for key in dict.fromkeys(keys) if key not in known]):
                break
            entries = zip(missing, level.get(missing), strict=True)
            found = {key: entry for key, entry in entries if entry is not None and len(entry) == ENTRY.size}
            for nearer in self._levels[:depth]:
                nearer.put(found)
            known |= found
        return known

    def _keys(self, query: str, documents: Sequence[str], instruction: str | None) -> list[bytes]:
        # Lengths keep parts apart: without them ("ab", "c") and ("a", "bc") would be one request.
        request = hashlib.blake2b(digest_size=KEY_BYTES)
        for part in (self._scope, self._model_id, query, instruction or ""):
            text = part.encode("utf-8", "surrogatepass")
            request.update(len(text).to_bytes(8, "little") + text)
        start = request.digest()
        return [
            hashlib.blake2b(document.encode("utf-8", "surrogatepass"), digest_size=KEY_BYTES, key=start).digest()
            for document in documents
        ]


@runtime_checkable
class ScopedScorer(Protocol):
    """A scorer that remembers, for each scope by itself."""

    def scoped(self, scope: str) -> Scorer:
        """Return the scorer for a scope."""
        ...


def scoped(scorer: Scorer, scope: str) -> Scorer:
    """Return a scorer that knows only what was scored for this scope; "" is everybody's."""
    return scorer.scoped(scope) if scope and isinstance(scorer, ScopedScorer) else scorer


def model_id(manifest: Manifest) -> str:
    """Return what tells a model's scores from any other's: its graph, tokenizer, prompt and limits."""
    files = sorted(record.sha256 for record in manifest.files.values())
    return "|".join([*files, manifest.prompt_sha256, str(manifest.max_pair_tokens), str(manifest.max_query_tokens)])


def _slot(key: bytes) -> str:
    return f"{KEY_PREFIX}scores:{key[0] % SLOTS}"


def _entries(scored: Scored) -> list[bytes]:
    query = QUERY_TRUNCATED if scored.query_truncated else 0
    return [
        ENTRY.pack(float(score), query | (TRUNCATED if cut else 0))
        for score, cut in zip(scored.scores, scored.truncated, strict=True)
    ]


def _assembled(keys: Sequence[bytes], entries: Mapping[bytes, bytes], *, tokens: int, cached: int) -> Scored:
    scores, flags = zip(*(ENTRY.unpack(entries[key]) for key in keys), strict=True)
    return Scored(
        np.array(scores, dtype=np.float32),
        np.array([bool(flag & TRUNCATED) for flag in flags], dtype=np.bool_),
        bool(flags[0] & QUERY_TRUNCATED),
        tokens,
        cached=cached,
    )
