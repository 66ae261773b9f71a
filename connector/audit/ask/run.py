"""Ask both sides every query, one chunk at a time, and write each finished chunk.

A run is idempotent: a chunk that has its file is skipped. So a run that was killed can continue, and its files are equal, byte
for byte, to those of a run that was not. Requests are throttled for each side. This module uses threads; ``connector.audit.ask.tasks`` runs
the same ``run_chunk`` from a queue.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait

from connector.audit.ask.access import Sides
from connector.audit.ask.documents import Shelf, pair_up
from connector.audit.ask.search import Searcher
from connector.audit.ask.state import read_state
from connector.audit.folder import Folder, write_lines
from connector.audit.spec import Spec
from connector.cluster import Refusal
from slimrank.errors import DeadlineExceeded, EngineError, EngineUnavailable, ModelNotReady, Overloaded
from slimrank.types import Json

log = logging.getLogger(__name__)

SIDES = ("before", "after")
Progress = Callable[[int, int], None]
"""A function that is called with the number of finished queries and the number of all queries."""
_ATTEMPTS = 4
_FIRST_PAUSE_SECONDS = 0.5


class Throttle:
    """Lets ``per_second`` calls through, at even intervals, from any number of threads."""

    def __init__(self, per_second: float) -> None:
        self._gap_seconds = 1 / per_second
        self._next = 0.0
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Wait until the next call is allowed."""
        with self._lock:
            turn = max(self._next, time.monotonic())
            self._next = turn + self._gap_seconds
        time.sleep(max(0.0, turn - time.monotonic()))


class Asker:
    """Asks both sides of an audit; several threads may use it."""

    def __init__(self, spec: Spec, sides: Sides) -> None:
        self._searchers = {which: Searcher(reached, spec) for which, reached in sides.items()}
        self._throttles = {which: Throttle(spec.requests_per_second) for which in SIDES}
        self._shelves = {which: Shelf(reached, spec) for which, reached in sides.items()}
        self._k = spec.k

    def ask(self, which: str, query: str) -> tuple[Json, Json]:
        """Ask one side. If the engine or gateway is overloaded or restarts, ask again after growing pauses."""
        for attempt in range(_ATTEMPTS):
            self._throttles[which].wait()
            try:
                return self._searchers[which].ask(query)
            except (EngineUnavailable, ModelNotReady, DeadlineExceeded, Overloaded, Refusal) as error:
                if attempt == _ATTEMPTS - 1 or (isinstance(error, Refusal) and error.status not in (429, 502, 503, 504)):
                    raise
                log.warning("retry side=%s attempt=%s error=%s", which, attempt + 1, error)
                time.sleep(_FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable")

    def documents(self, answers: Sequence[Json]) -> list[Json]:
        """Return the documents of the queries whose top k differs, from both sides, by ``doc_id``."""
        tops = [[answer[which]["ids"][: self._k] for which in SIDES] for answer in answers]
        wanted = sorted({document for before, after in tops if before != after for document in (*before, *after)})
        return pair_up(wanted, {which: shelf.fetch(wanted) for which, shelf in self._shelves.items()})


def run_chunk(folder: Folder, number: int, asker: Asker) -> int:
    """Ask both sides the queries of a chunk and write the answers, unless this was done; return the chunk's number of queries."""
    if folder.answers_file(number).is_file():
        return folder.chunk_size(number)
    answers: list[Json] = []
    timings: list[Json] = []
    queries = folder.chunk(number)
    for place, query in enumerate(queries):
        order = SIDES if place % 2 else SIDES[::-1]  # alternate, so that no side always profits from caches that the other warmed
        asked = {which: asker.ask(which, query.query) for which in order}
        answers.append({"query_id": query.query_id, **{which: answer for which, (answer, _) in asked.items()}})
        timings.append({"query_id": query.query_id, **{which: timing for which, (_, timing) in asked.items()}})
    write_lines(folder.documents_file(number), asker.documents(answers))
    write_lines(folder.timings_file(number), timings)
    write_lines(folder.answers_file(number), answers)  # last, because this file shows that the chunk is done
    return len(queries)


def keep_states(folder: Folder, sides: Sides) -> Mapping[str, Json]:
    """Write the state of both sides once, before the first query is asked.

    Raises:
        EngineError: a side changed since the run began; its answers would mix two indices.
    """
    states = {which: read_state(reached) for which, reached in sides.items()}
    for which, state in states.items():
        name = f"{which}.json"
        if not folder.has(name):
            folder.write(name, state)
        elif folder.read(name)["fingerprint"] != state["fingerprint"]:
            raise EngineError(
                f"{state['asked']} ({which}) changed since this audit began; "
                "a report that mixes answers from before and after the change would mislead. Start again in another folder"
            )
    return states


def run_audit(folder: Folder, sides: Sides, progress: Progress = lambda done, total: None) -> None:
    """Run every missing chunk, and make sure that neither side changed meanwhile."""
    keep_states(folder, sides)
    missing = folder.missing_chunks()
    total = folder.plan["queries"]
    done = total - sum(folder.chunk_size(number) for number in missing)
    progress(done, total)
    asker = Asker(folder.spec, sides)
    lock = threading.Lock()
    numbers, stop = iter(missing), threading.Event()

    def work() -> None:
        nonlocal done
        while not stop.is_set():
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            count = run_chunk(folder, number, asker)
            with lock:
                done += count
                progress(done, total)

    with ThreadPoolExecutor(folder.spec.threads) as pool:
        futures = [pool.submit(work) for _ in range(folder.spec.threads)]
        try:
            finished, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in finished:
                future.result()
        finally:
            stop.set()
    keep_states(folder, sides)
