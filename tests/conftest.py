"""Fixtures shared by all tests: the real services, each started once a session and only if a test asks for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.nodes.require import require

if TYPE_CHECKING:
    from tests.nodes.engine import Engine

__all__ = ["require"]


@pytest.fixture(scope="session")
def opensearch() -> Iterator["Engine"]:
    """Yield a running OpenSearch, empty at first; tests make indices of their own names."""
    from tests.nodes.engine import running_opensearch

    with running_opensearch() as engine:
        yield engine


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Yield the URL of a running Redis."""
    from tests.nodes.redis import running_redis

    with running_redis() as url:
        yield url
