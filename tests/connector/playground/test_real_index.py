"""An index of a real engine: it is tested when it is named, then searched."""

import asyncio
from collections.abc import Iterator

import pytest

from connector.playground.sources import EngineAddress, EngineSource
from slimrank.errors import EngineRefused
from tests.connector.audit.shop import Index, Shop, make_shop
from tests.nodes.engine import Engine

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def shop() -> Shop:
    return make_shop(products=30, queries=5)


@pytest.fixture(scope="module")
def index(opensearch: Engine, shop: Shop) -> Iterator[Index]:
    made = Index(opensearch.url, "playground_shop").make(shop.products)
    yield made
    made.drop()


def source(index: Index, *fields: str, name: str = "playground_shop") -> EngineSource:
    return EngineSource(EngineAddress(index.url, name, fields))


def test_an_index_with_text_in_its_fields_is_accepted_and_searched(index: Index, shop: Shop) -> None:
    asyncio.run(source(index, "title", "text").check())
    [_, query, _] = shop.queries[0]
    assert asyncio.run(source(index, "title", "text").search(query, 5)).hits


def test_fields_without_text_are_reported_with_the_existing_fields(index: Index) -> None:
    with pytest.raises(EngineRefused, match=r"have no text in body; their fields are .*title"):
        asyncio.run(source(index, "body").check())


def test_a_missing_index_is_reported(index: Index) -> None:
    with pytest.raises(EngineRefused, match="has no index called nowhere"):
        asyncio.run(source(index, "title", name="nowhere").check())
