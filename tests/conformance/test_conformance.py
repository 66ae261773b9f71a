"""Every way into slimrank, before every engine, gives the order and scores that it must. `make conformance` prints it."""

from collections.abc import Iterator

import pytest

from tests.conformance.cases import CASES, NotHere, Place
from tests.conformance.side_by_side import same_top_ten
from tests.conformance.stage import ENGINES, WAYS, gateways, has, places
from tests.nodes.ml_commons import MlCommons

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def urls() -> Iterator[dict[str, str]]:
    with gateways() as urls:
        yield urls


@pytest.fixture(scope="module", params=ENGINES)
def stage(request: pytest.FixtureRequest, urls: dict[str, str]) -> Iterator[tuple[str, dict[str, Place]]]:
    engine: str = request.param
    ml_commons: MlCommons | None = request.getfixturevalue("ml_commons") if has(engine, "search pipeline") else None
    with places(engine, request.getfixturevalue(engine), urls, ml_commons) as ready:
        yield engine, ready


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", CASES)
def test_a_way_in_passes_a_case(stage: tuple[str, dict[str, Place]], way: str, name: str) -> None:
    engine, ready = stage
    if has(engine, way):
        try:
            CASES[name](ready[way])
        except NotHere:
            return  # printed with its reason by `make conformance`


def test_every_way_into_one_engine_gives_the_same_top_ten(stage: tuple[str, dict[str, Place]]) -> None:
    assert same_top_ten(stage[1]) == {}


def test_the_matrix_has_its_cases() -> None:
    assert len(CASES) >= 25
