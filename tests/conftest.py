"""Fixtures shared by all tests: the real services, each started once a session and only if a test asks for it."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from tests.logs import logging_ends_with_its_test
from tests.nodes.require import require
from tests.processes import (
    pytest_collection_modifyitems,
    pytest_configure,
    pytest_deselected,
    pytest_sessionfinish,
    pytest_terminal_summary,
    pytest_testnodedown,
)
from tests.shipping import shipping, shipping_once
from tests.tiny import model_copy, other_tiny_model, tiny_checkpoint, tiny_model, tiny_qwen_checkpoint
from tests.tiny_pairs import tiny_cross_encoder, tiny_pair_model

if TYPE_CHECKING:
    from tests.nodes.engine import Engine
    from tests.nodes.ml_commons import MlCommons

__all__ = [
    "logging_ends_with_its_test",
    "model_copy",
    "other_tiny_model",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_deselected",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
    "pytest_testnodedown",
    "require",
    "shipping",
    "shipping_once",
    "tiny_checkpoint",
    "tiny_cross_encoder",
    "tiny_model",
    "tiny_pair_model",
    "tiny_qwen_checkpoint",
]


@pytest.fixture(scope="session")
def opensearch() -> Iterator["Engine"]:
    """Yield a running OpenSearch, empty at first; tests make indices of their own names."""
    from tests.nodes.engine import OPENSEARCH, running

    with running(OPENSEARCH) as engine:
        yield engine


@pytest.fixture(scope="session")
def elasticsearch_8() -> Iterator["Engine"]:
    """Yield a running Elasticsearch 8.19."""
    from tests.nodes.engine import ELASTICSEARCH_8, running

    with running(ELASTICSEARCH_8) as engine:
        yield engine


@pytest.fixture(scope="session")
def elasticsearch_7() -> Iterator["Engine"]:
    """Yield a running Elasticsearch 7.17."""
    from tests.nodes.engine import ELASTICSEARCH_7, running

    with running(ELASTICSEARCH_7) as engine:
        yield engine


@pytest.fixture(scope="session")
def ml_commons() -> Iterator["MlCommons"]:
    """Yield the published ML Commons classes, in a Java process."""
    from tests.nodes.engine import CACHE
    from tests.nodes.ml_commons import MlCommons

    harness = MlCommons(CACHE)
    yield harness
    harness.close()


@pytest.fixture(scope="session")
def redis_url() -> Iterator[str]:
    """Yield the URL of a running Redis."""
    from tests.nodes.redis import running_redis

    with running_redis() as url:
        yield url
