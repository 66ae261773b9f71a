"""Run an exported graph as serving does: feeds from ``slimrank.graph_io``, sessions of ONNX Runtime, one core for each batch.

It does not use ``slimrank.serving``, since stages meet on disk only. It has no batching and no cache: the
caller chooses which rows run as one batch.
"""

from collections.abc import Sequence
from pathlib import Path

import onnxruntime as ort

from slimrank import graph_io, processor, providers
from slimrank.errors import ManifestError
from slimrank.manifest import GRAPH_FILE, Manifest
from slimrank.scoring import scores_from_logits
from slimrank.types import Scores


class GraphRunner:
    """An open graph.

    Args:
        provider: Where it runs. TensorRT is replaced by CUDA for verifying and timing.

    Attributes:
        lanes: How many batches may run side by side: one for each core of a CPU, one on a GPU.

    Raises:
        ConfigError: this ONNX Runtime lacks the provider, or the provider cannot run the precision.
        ManifestError: ONNX Runtime cannot load it.
        ModelNotReady: the graph does not run on the provider.
    """

    def __init__(self, folder: Path, manifest: Manifest, *, provider: str = "cpu") -> None:
        providers.check_precision(provider, manifest.precision)
        provider = "cpu" if provider == "cpu" else "cuda"
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self.lanes = processor.lanes(0, provider)
        exact = manifest.kind == "cross_encoder"
        session = providers.open_session(ort, folder / GRAPH_FILE, options, provider, exact=exact, unloadable=ManifestError)
        names = [given.name for given in session.get_inputs()]
        self._graph = graph_io.open_graph(names, manifest.architecture, session.run)

    def score(self, rows: graph_io.Rows, *, prefix: Sequence[int] = ()) -> Scores:
        """Return (B,) scores of rows that run as one batch, after a prefix that runs once."""
        return scores_from_logits(self._graph.logits(rows, self._graph.share(prefix)))
