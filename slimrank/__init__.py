"""slimrank: rerank search results with a small language model, on your own machines.

    from slimrank import Reranker

    reranker = Reranker.load()
    for hit in reranker.rank("run a shell command", ["subprocess.run ...", "os.listdir ..."]):
        print(hit.index, hit.score)

The public names are looked up when they are first used, so ``import slimrank`` stays light.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slimrank.engine.reranker import Reranker
    from slimrank.errors import SlimrankError
    from slimrank.types import RankedDocument, RerankResult

__all__ = ["RankedDocument", "RerankResult", "Reranker", "SlimrankError", "__version__"]
__version__ = "0.1.0"  # stated here only; tests/deploy/test_version.py names every place that repeats it

_HOMES = {
    "Reranker": "slimrank.engine.reranker",
    "SlimrankError": "slimrank.errors",
    "RankedDocument": "slimrank.types",
    "RerankResult": "slimrank.types",
}


def __getattr__(name: str) -> Any:
    """Import a public name from its home (PEP 562)."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
