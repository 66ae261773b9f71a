"""Run an exported graph as serving does: feeds from ``slimrank.graph_io``, sessions from ONNX Runtime.

Kept apart from ``slimrank.serving`` because the two meet on disk only. No batching, no cache: the
caller says which rows go through the graph together.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from slimrank import graph_io
from slimrank.errors import ManifestError
from slimrank.manifest import GRAPH_FILE, Manifest
from slimrank.scoring import scores_from_logits
from slimrank.types import Scores


class GraphRunner:
    """An open graph.

    Raises:
        ManifestError: ONNX Runtime cannot load it.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, threads: int = 0) -> None:
        self._shapes = manifest.architecture
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        try:
            self._session = ort.InferenceSession(str(folder / GRAPH_FILE), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors share no base class but Exception
            raise ManifestError(f"ONNX Runtime cannot load {folder / GRAPH_FILE}: {error}; export the model again") from error

    def score(self, rows: Sequence[Sequence[int]], *, prefix: Sequence[int] = ()) -> Scores:
        """Return (B,) scores of rows run as one batch, after a prefix that is run once."""
        shared = graph_io.no_prefix(self._shapes)
        if prefix:
            feed = graph_io.plain_feed([prefix], shared, self._shapes)
            shared = self._session.run(graph_io.present_names(self._shapes), feed)
        logits: npt.NDArray[np.float32]
        (logits,) = self._session.run([graph_io.LOGITS], graph_io.plain_feed(rows, shared, self._shapes))
        return scores_from_logits(graph_io.answer_logits(logits, rows))
