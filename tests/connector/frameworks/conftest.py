"""The shared task of all frameworks: the same documents with a gateway over HTTP, a loaded reranker, and failing scorers."""

import gc
import os
import warnings
from collections.abc import Iterator, Sequence

import httpx
import numpy as np
import pytest

from slimrank.engine.model import Model
from slimrank.engine.reranker import Reranker
from slimrank.identity import ModelIdentity
from slimrank.manifest import Fusion
from slimrank.serving.gateway.server import make_app
from slimrank.settings import Settings
from slimrank.types import Scored
from tests.doubles import FakeScorer
from tests.serving.conftest import in_thread

os.environ["HAYSTACK_TELEMETRY_ENABLED"] = "False"  # Haystack reads it at import

QUERY = "gold ring"
TEXTS = ["a lead pipe", "gold", "the gold ring of the mine", "a silver ring", "gold ring"]
BEST_FIRST = [4, 2, 1, 3, 0]
"""The order of ``FakeScorer``: documents with both words, shorter first; then with one word, shorter first; then the others."""


@pytest.fixture(autouse=True)
def calm() -> Iterator[None]:
    """Ignore the frameworks' own deprecations and open connections, which we cannot fix."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@pytest.fixture(autouse=True, scope="module")
def tidy() -> Iterator[None]:
    """Collect the frameworks' open resources once for each file, because a collection takes half a second."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()


@pytest.fixture(scope="session")
def gateway() -> Iterator[str]:
    """Yield the URL of a real gateway with a fake model; its answers are sorted by score and have indices."""
    settings = Settings(embedded=True)
    with in_thread(settings, make_app(settings, Model(ModelIdentity("fake"), FakeScorer()))) as client:
        yield str(client.base_url).rstrip("/")


@pytest.fixture(params=["gateway", "reranker", "scorer"])
def scorer(request: pytest.FixtureRequest) -> object:
    """Yield each kind of scorer that an adapter takes."""
    if request.param == "gateway":
        return request.getfixturevalue("gateway")
    return Reranker(FakeScorer()) if request.param == "reranker" else FakeScorer()


class UnsortedGateway:
    """Answers results in an order that is neither the input's order nor best first."""

    def __call__(self, request: httpx.Request) -> httpx.Response:
        results = [{"index": index, "relevance_score": float(score)} for index, score in ((1, 3), (4, 5), (0, 1), (3, 2), (2, 4))]
        return httpx.Response(200, json={"results": results})


@pytest.fixture
def unsorted() -> object:
    """Return a scorer for a gateway with unsorted results."""
    from connector.gateway_client import GatewayScorer

    return GatewayScorer("http://gateway", http=httpx.Client(transport=httpx.MockTransport(UnsortedGateway())))


class TiedScorer:
    """Gives all documents the same score."""

    def score(self, query: str, documents: Sequence[str], *, instruction: str | None = None) -> Scored:
        return Scored(np.zeros(len(documents), dtype=np.float32), np.zeros(len(documents), dtype=np.bool_), False, 0)


@pytest.fixture
def first_stage_reranker() -> Reranker:
    """Return a reranker that weighs the first-stage order above its scores, so that its answer shows whether it got that
    order."""
    return Reranker(FakeScorer(), fusion=Fusion(weight=1000.0, first_stage="a retriever"))
