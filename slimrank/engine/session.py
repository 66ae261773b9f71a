"""An exported model behind ONNX Runtime: texts in, scores out. Needs no torch.

    request -> prompt ids -> duplicates once -> batches by token budget -> graph, a core a batch
    -> scores in request order

The query's part of the prompt, and the words of the prompt before every document, are run once a request, and their keys and
values are shared by all documents; those of the prompt's own head are kept for all requests. A cross-encoder runs whole pairs. A
folder is served only if its manifest holds (``slimrank.manifest.check``); a wrong prompt, a missing file or a failed verification
is an error at load. One ``OrtScorer`` may be called by several threads.
"""

import logging
import threading
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tokenizers import Tokenizer

from slimrank import graph_io, manifest, processor, providers
from slimrank.engine import probe
from slimrank.engine.batching import GPU_RUN_TOKENS, lane_batches, repeating_batches, token_budget_batches
from slimrank.engine.cost import TokenCost
from slimrank.engine.device import DeviceRun
from slimrank.engine.lanes import Lanes
from slimrank.errors import ConfigError, ManifestError, ScoringError
from slimrank.manifest import GRAPH_FILE, PROMPT_FILE, TOKENIZER_FILE, Manifest
from slimrank.prompt import Piece, Prompt, PromptEncoder
from slimrank.scoring import NOTHING_SCORE, PROBE_DOCUMENT, PROBE_QUERY, is_readable, scores_from_logits
from slimrank.types import Scored

log = logging.getLogger(__name__)

DEFAULT_BATCH_TOKENS = 512
"""The budget of a batch before warm-up has fitted one, as in a command that scores once."""
PREFIX_CACHE_BYTES = 64 * 2**20
"""Keys and values of recent queries: 46 kB a token for 135M parameters, so some thirty queries."""


class OrtScorer:
    """Scores the documents of one query with an exported model.

    Args:
        session: The open graph.
        manifest: The checked manifest of its folder.
        encoder: Renders the folder's prompt.
        batch_tokens: Most padded tokens in one run of the graph; bounds memory. 0 = fitted in warm-up.
        device_run: Runs the graph and keeps on the device what is used again; left out, all passes through the host's memory.
        lanes: Threads that run a batch each.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        manifest: Manifest,
        encoder: PromptEncoder,
        *,
        batch_tokens: int = 0,
        device_run: DeviceRun | None = None,
        lanes: Lanes | None = None,
    ) -> None:
        self.manifest = manifest
        self._session = session
        self._device_run = device_run
        self._shapes_repeat = device_run is not None and device_run.records
        self._on_gpu = device_run is not None and device_run.device == "cuda"
        names = [given.name for given in session.get_inputs()]
        step = graph_io.SHAPE_STEP if self._shapes_repeat else 1
        self._graph = graph_io.open_graph(names, manifest.architecture, self._run, step=step)
        self.encoder = encoder
        self._lanes = lanes or Lanes(1)
        self.cost = TokenCost(self._lanes.count)
        self._planned: tuple[tuple[str, str | None], dict[str, Piece]] = ("", None), {}
        self._head: graph_io.KeysValues | None = None
        self._prefixes: OrderedDict[tuple[int, ...], graph_io.KeysValues] = OrderedDict()
        self._lock = threading.Lock()
        self._batch_tokens = batch_tokens or DEFAULT_BATCH_TOKENS
        self._fits_budget = batch_tokens == 0

    @classmethod
    def load(
        cls, folder: Path, *, threads: int = 0, batch_tokens: int = 0, provider: str = "cpu", cuda_graphs: bool = False
    ) -> "OrtScorer":
        """Open a model folder.

        Args:
            threads: Cores that score side by side, a batch each; 0 = all physical ones that this process may use. A GPU has one batch at a time.
            provider: cpu, cuda or tensorrt (``slimrank.providers``).
            cuda_graphs: Record each shape of a batch as a CUDA graph, and make shapes repeat.

        Raises:
            ConfigError: this ONNX Runtime lacks the provider, or the provider cannot run the folder's precision.
            PromptMismatch, ManifestError: the folder may not be served; the message says why.
            ModelNotReady: ONNX Runtime cannot run its graph.
        """
        checked = manifest.check(folder)
        providers.check_precision(provider, checked.precision)
        tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        encoder = PromptEncoder(
            Prompt.load(folder / PROMPT_FILE),
            tokenizer,
            max_pair_tokens=checked.max_pair_tokens,
            max_query_tokens=checked.max_query_tokens,
        )
        if (encoder.irrelevant_id, encoder.relevant_id) != (checked.irrelevant_id, checked.relevant_id):
            raise ManifestError(
                f"{folder} was exported for answer tokens {checked.irrelevant_id} and {checked.relevant_id}, but its tokenizer has"
                f" {encoder.irrelevant_id} and {encoder.relevant_id}; export the model again"
            )
        # Graphs in other precisions copy lengths to the device, which no recording may hold.
        if cuda_graphs and checked.precision not in graph_io.FOR_GPU:
            raise ConfigError(
                f"CUDA graphs need {', '.join(graph_io.FOR_GPU)}, and {folder} is in {checked.precision};"
                " `slimrank export --precision fp16`"
            )
        lanes = Lanes(processor.lanes(threads, provider))
        threads = 1 if provider == "cpu" else threads
        exact = checked.kind == "cross_encoder"
        session = open_session(folder / GRAPH_FILE, threads=threads, provider=provider, cuda_graphs=cuda_graphs, exact=exact)
        is_fused = graph_io.is_fused([given.name for given in session.get_inputs()])
        device_run = DeviceRun(session, "cuda", records=cuda_graphs) if provider != "cpu" and is_fused else None
        log.info("load model=%s precision=%s provider=%s folder=%s", checked.name, checked.precision, provider, folder)
        return cls(session, checked, encoder, batch_tokens=batch_tokens, device_run=device_run, lanes=lanes)

    def with_budget(self, batch_tokens: int) -> "OrtScorer":
        """Return the same open model with another batch size and no cached prefixes."""
        run, lanes = self._device_run, self._lanes
        return OrtScorer(self._session, self.manifest, self.encoder, batch_tokens=batch_tokens, device_run=run, lanes=lanes)

    def warm_up(self, probe_folder: Path | None = None) -> None:
        """Make ready for the first request: pay for first-time work, learn what tokens cost and how many make a batch.

        Args:
            probe_folder: Where timings are kept, so that only the first start of a model takes them.
        """
        lanes, most = self._lanes.count, probe.memory_tokens() // self._lanes.count
        digests = [record.sha256 for record in self.manifest.files.values()]
        file = probe_folder and probe.probe_file(probe_folder, ort.__version__, lanes, *digests)
        found = probe.kept(file)
        if found is None:
            sizes = probe.GPU_SIZES if self._on_gpu else probe.SIZES
            found = probe.timings(self._run_rows, sizes=sizes, largest=most)
            if probe.is_telling(found):
                probe.keep(file, found)
        self.score(PROBE_QUERY, [PROBE_DOCUMENT, ""])
        for tokens, seconds in found:
            self.cost.learn(lanes * tokens, seconds)
        if self._fits_budget:
            best = probe.best_budget(found) if probe.is_telling(found) else DEFAULT_BATCH_TOKENS
            self._batch_tokens = min(best, most)
        log.info("warm model=%s lanes=%d batch_tokens=%d", self.manifest.name, lanes, self._batch_tokens)

    def _run_rows(self, count: int, length: int) -> None:
        """Run a batch of so many rows of so many tokens in every lane."""
        length = min(length, self.manifest.max_pair_tokens)
        rows, nothing = [(self.encoder.suffix_ids * length)[:length]] * count, self._graph.share([])

        def run(lane: int) -> None:
            self._graph.logits(rows, nothing)

        self._lanes.each(run, range(self._lanes.count))

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        """Return the score of each document, in the order given.

        Raises:
            InvalidRequest: the instruction leaves no room for the query.
            ScoringError: the graph failed or gave a score that is not finite.
        """
        begin = perf_counter()
        prefix = self.encoder.prefix_ids(query, instruction)
        place = {document: i for i, document in enumerate(dict.fromkeys(documents))}
        pieces = self._pieces(query, list(place), instruction, len(prefix.ids))
        readable = [i for document, i in place.items() if is_readable(document)]
        shared, rows = self._parted(prefix.ids, [pieces[i].ids + self.encoder.suffix_ids for i in readable])
        tokenise_seconds = perf_counter() - begin
        scores = np.full(len(place), NOTHING_SCORE, dtype=np.float32)
        scores[readable], batch_tokens = self._score_batches(shared, rows)
        order = np.fromiter((place[document] for document in documents), dtype=np.intp, count=len(documents))
        return Scored(
            scores=scores[order],
            truncated=np.array([piece.truncated for piece in pieces], dtype=np.bool_)[order],
            query_truncated=prefix.truncated,
            tokens=len(shared) * (min(1, len(rows)) if self._graph.shares else len(rows)) + sum(map(len, rows)),
            tokenise_seconds=tokenise_seconds,
            batch_tokens=batch_tokens,
        )

    def score_pairs(self, pairs: Sequence[tuple[str, str]], *, instruction: str | None = None) -> list[Scored]:
        """Return the score of each pair of a query and a document; different queries share runs of the graph.

        Raises:
            InvalidRequest: the instruction leaves no room for a query.
            ScoringError: the graph failed or gave a score that is not finite.
        """
        begin = perf_counter()
        prefixes = [self.encoder.prefix_ids(query, instruction) for query, _ in pairs]
        pieces = [
            self.encoder.document_ids([document], len(prefix.ids))[0]
            for prefix, (_, document) in zip(prefixes, pairs, strict=True)
        ]
        rows = [piece.ids + self.encoder.suffix_ids for piece in pieces]
        readable = [place for place, (_, document) in enumerate(pairs) if is_readable(document)]
        tokenise_seconds = (perf_counter() - begin) / max(1, len(pairs))
        scores = np.full(len(pairs), NOTHING_SCORE, dtype=np.float32)
        parted = [self._parted(prefixes[place].ids, [rows[place]]) for place in readable]
        scores[readable], batch_tokens = self._score_mixed([shared for shared, _ in parted], [row for _, [row] in parted])
        return [
            Scored(
                scores[place : place + 1],
                np.array([piece.truncated], dtype=np.bool_),
                prefix.truncated,
                len(prefix.ids) + len(rows[place]) if place in readable else 0,
                tokenise_seconds=tokenise_seconds,
                batch_tokens=() if place else batch_tokens,  # each batch is told of once
            )
            for place, (prefix, piece) in enumerate(zip(prefixes, pieces, strict=True))
        ]

    def _parted(self, prefix_ids: list[int], rows: list[list[int]]) -> tuple[list[int], list[list[int]]]:
        """Return what is the same in all rows of a query, the words of the prompt before a document included, and the rest of each."""
        start = self._start(rows)
        return prefix_ids + rows[0][:start] if start else prefix_ids, [row[start:] for row in rows]

    def _start(self, rows: list[list[int]]) -> int:
        """Return how many tokens before a document's text all these rows share; 0 where nothing can be shared."""
        ids = self.encoder.document_start_ids if self._graph.shares and rows else []
        return len(ids) if all(len(row) > len(ids) and row[: len(ids)] == ids for row in rows) else 0

    def _score_mixed(self, prefixes: list[list[int]], rows: list[list[int]]) -> tuple[npt.NDArray[np.float32], tuple[int, ...]]:
        """Return a score for each row after its own prefix, and the padded tokens of each batch.

        A query that comes once and is new goes, row by row, behind the head of the prompt, which all share; others have a run of their own.
        Where the graph shares nothing, all pairs go whole.
        """
        counts, head = Counter(map(tuple, prefixes)), tuple(self.encoder.head_ids) if self._graph.shares else ()
        behind: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, prefix in enumerate(map(tuple, prefixes)):
            is_shared = self._graph.shares and (counts[prefix] > 1 or prefix in self._prefixes)
            behind[prefix if is_shared else head].append(place)
        scores, batch_tokens = np.empty(len(rows), dtype=np.float32), tuple[int, ...]()
        for shared, places in behind.items():
            scores[places], padded = self._score_batches(
                list(shared), [prefixes[place][len(shared) :] + rows[place] for place in places]
            )
            batch_tokens += padded
        return scores, batch_tokens

    def token_counts(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> list[int]:
        """Return the tokens that each document puts through the model, after the prefix if that is shared.

        Whoever counts scores next: the ids of the last request that was counted are kept for it.
        """
        prefix = self.encoder.prefix_ids(query, instruction)
        pieces = self.encoder.document_ids(documents, len(prefix.ids))
        self._planned = (query, instruction), dict(zip(documents, pieces, strict=True))
        around = len(self.encoder.suffix_ids) + (0 if self._graph.shares else len(prefix.ids))
        return [len(piece.ids) - self._start([piece.ids]) + around for piece in pieces]

    def _pieces(self, query: str, documents: list[str], instruction: str | None, prefix_tokens: int) -> list[Piece]:
        """Return the documents' token ids, those that were counted from memory."""
        of, planned = self._planned
        known = planned if of == (query, instruction) else {}
        new = [document for document in documents if document not in known]
        known = known | dict(zip(new, self.encoder.document_ids(new, prefix_tokens), strict=True)) if new else known
        return [known[document] for document in documents]

    def score_rows(self, prefix_ids: list[int], rows: list[list[int]]) -> npt.NDArray[np.float32]:
        """Return a score for each row of token ids, run after one shared prefix."""
        return self._score_batches(*self._parted(prefix_ids, rows))[0]

    def _score_batches(self, prefix_ids: list[int], rows: list[list[int]]) -> tuple[npt.NDArray[np.float32], tuple[int, ...]]:
        """Return a score for each row, and the padded tokens of each batch."""
        scores = np.empty(len(rows), dtype=np.float32)
        if not rows:
            return scores, ()
        if not self._graph.shares:
            prefix_ids, rows = [], [prefix_ids + row for row in rows]
        elif self._shapes_repeat:
            prefix_ids, rows = self._behind_head(prefix_ids, rows)
        shared = self._shared(prefix_ids)
        batches = self._batches([len(row) for row in rows])

        def run(batch: list[int]) -> None:
            scores[batch] = scores_from_logits(self._graph.logits([rows[i] for i in batch], shared))

        self._lanes.each(run, batches)
        return scores, tuple(len(batch) * max(len(rows[i]) for i in batch) for batch in batches)

    def _batches(self, lengths: list[int]) -> list[list[int]]:
        if self._shapes_repeat:
            return repeating_batches(lengths, self._batch_tokens)
        if self._on_gpu:
            return token_budget_batches(lengths, self._batch_tokens, run_tokens=GPU_RUN_TOKENS)
        return lane_batches(lengths, self._batch_tokens, lanes=self._lanes.count)

    def _behind_head(self, prefix_ids: list[int], rows: list[list[int]]) -> tuple[list[int], list[list[int]]]:
        """Return a prefix whose length does not change from request to request, the prompt's head, and the rest in the rows."""
        head = self.encoder.head_ids
        shared = len(head) if prefix_ids[: len(head)] == head else 0
        return prefix_ids[:shared], [prefix_ids[shared:] + row for row in rows]

    def _shared(self, prefix_ids: list[int]) -> graph_io.KeysValues:
        """Return a prefix's keys and values, from the cache if a recent request had the same."""
        key = tuple(prefix_ids)
        with self._lock:
            if key in self._prefixes:
                self._prefixes.move_to_end(key)
                return self._prefixes[key]
        head = self.encoder.head_ids
        if prefix_ids[: len(head)] == head:
            shared = self._graph.share(prefix_ids[len(head) :], self._head_shared())
        else:
            shared = self._graph.share(prefix_ids)
        with self._lock:
            self._prefixes[key] = shared
            while len(self._prefixes) > 1 and sum(one.nbytes for one in self._prefixes.values()) > PREFIX_CACHE_BYTES:
                self._prefixes.popitem(last=False)
        return shared

    def _head_shared(self) -> graph_io.KeysValues:
        """Return the keys and values of what every prompt begins with, run once for all requests."""
        if self._head is None:
            self._head = self._graph.share(self.encoder.head_ids)
        return self._head

    def _run(self, outputs: list[str], feed: graph_io.Feed) -> list[Any]:
        try:
            if self._device_run is not None:
                return self._device_run(outputs, feed)
            results: list[Any] = self._session.run(outputs, feed)
        except Exception as error:  # ONNX Runtime's errors share no base class but Exception
            raise ScoringError(
                f"the graph failed on {feed[graph_io.INPUT_IDS].shape} tokens: {error}; verify the model folder or lower batch_tokens"
            ) from error
        return results


def open_session(
    graph: Path, *, threads: int = 0, provider: str = "cpu", cuda_graphs: bool = False, exact: bool = False
) -> ort.InferenceSession:
    """Open a graph for inference; ``exact`` as in ``providers.open_session``.

    Raises:
        ConfigError: this ONNX Runtime lacks the provider.
        ModelNotReady: ONNX Runtime cannot load the graph, or not on the provider that was asked for.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    # Shapes change with every batch: a plan of memory by shape would grow with each new one. The arena is kept between runs; it is as
    # large as the largest batch of each lane. Handed back after every run, its pieces left holes in the heap (docs/log/engine.md).
    options.enable_mem_pattern = False
    session: ort.InferenceSession = providers.open_session(ort, graph, options, provider, cuda_graphs=cuda_graphs, exact=exact)
    return session
