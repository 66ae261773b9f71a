"""The cases, by name. Each asserts order and scores against what the first stage and the word-counting model must give."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from connector.fields import Template
from slimrank.fusion import fuse
from slimrank.types import Json
from tests.conformance.ways import FUSION, HTTP, INDEX, Ask, EngineSaysNo, Outcome, Way
from tests.doubles import FakeScorer


@dataclass(frozen=True, slots=True)
class Place:
    """Where a case runs: a way in, and the engine itself for the first stage.

    Attributes:
        secured: the same way to the same engine behind TLS and a password; `wrong` has another password, and
            `untrusting` does not trust the certificate.
        lacks: what the way cannot do, by the reason that is printed.
    """

    way: Way
    engine_url: str
    secured: Way | None = None
    wrong: Way | None = None
    untrusting: Way | None = None
    lacks: Mapping[str, str] = field(default_factory=dict)

    def need(self, ability: str) -> None:
        """Leave the case out where the way lacks an ability."""
        if ability in self.lacks:
            raise NotHere(self.lacks[ability])

    def first_stage(self, body: Json, size: int) -> list[Json]:
        """Return the engine's own hits, from the first on."""
        answer = HTTP.post(f"{self.engine_url}/{INDEX}/_search", json={**body, "from": 0, "size": size})
        hits: list[Json] = answer.json()["hits"]["hits"]
        return hits


class NotHere(Exception):
    """The case is not for this way in; the message says why."""


CASES: dict[str, Callable[[Place], None]] = {}


def case(name: str) -> Callable[[Callable[[Place], None]], Callable[[Place], None]]:
    """Put a function into the matrix under `name`."""

    def put(function: Callable[[Place], None]) -> Callable[[Place], None]:
        CASES[name] = function
        return function

    return put


def _match(text: str, name: str = "title", **more: Any) -> Json:
    return {"query": {"match": {name: text}}, **more}


def _expected(place: Place, ask: Ask, query: str) -> list[tuple[str, float]]:
    """Return all hits from the first on as (id, score): the window by score, ties as they were, then the rest."""
    size = max(ask.window, ask.body.get("from", 0) + ask.body.get("size", 10))
    hits = place.first_stage({key: value for key, value in ask.body.items() if key in ("query",)}, size)
    head, rest = hits[: ask.window], hits[ask.window :]
    texts = [Template(tuple(ask.fields)).render(hit) for hit in head]
    scores = FakeScorer().score(query, texts).scores.tolist()
    order = sorted(range(len(head)), key=lambda index: -scores[index])
    return [(head[index]["_id"], scores[index]) for index in order] + [(hit["_id"], hit["_score"]) for hit in rest]


def _check(place: Place, ask: Ask, query: str) -> Outcome:
    """Run the search and compare page, scores, and the first-stage scores and ranks."""
    outcome = place.way(ask)
    start, size = ask.body.get("from", 0), ask.body.get("size", 10)
    expected = _expected(place, ask, query)[start : start + size]
    assert outcome.reranked, outcome.mark
    assert outcome.ids == [identifier for identifier, _ in expected]
    assert [hit["_score"] for hit in outcome.hits] == pytest.approx([score for _, score in expected], rel=1e-5)
    if "first stage score" in place.lacks:
        return outcome
    first = {hit["_id"]: (rank, hit["_score"]) for rank, hit in enumerate(place.first_stage(ask.body, 1000), start=1)}
    for hit in outcome.hits:
        assert (hit["_first_stage_rank"], hit["_first_stage_score"]) == first[hit["_id"]]
    return outcome


def _check_first_stage(place: Place, ask: Ask) -> Outcome:
    outcome = place.way(ask)
    size = ask.body.get("size", 10)
    assert not outcome.reranked
    assert outcome.mark
    assert outcome.ids == [hit["_id"] for hit in place.first_stage(ask.body, size)]
    return outcome


@case("the best of the window comes first")
def _order(place: Place) -> None:
    body = _match("red lamp")
    outcome = _check(place, Ask(body, window=50), "red lamp")
    assert outcome.ids != [hit["_id"] for hit in place.first_stage(body, 10)]


@case("the first stage's order is a prior where the model knows its worth")
def _fusion(place: Place) -> None:
    body = _match("red lamp")
    hits = place.first_stage(body, 50)
    scores = FakeScorer().score("red lamp", [hit["_source"].get("text", "") for hit in hits]).scores
    fused = fuse(scores, range(1, len(hits) + 1), FUSION.weight)
    order = sorted(range(len(hits)), key=lambda index: -fused[index])[:10]
    outcome = place.way(Ask(body, window=50, gateway="fused"))
    assert outcome.ids == [hits[index]["_id"] for index in order]
    assert [hit["_score"] for hit in outcome.hits] == pytest.approx([fused[index] for index in order], rel=1e-5)
    assert outcome.ids != place.way(Ask(body, window=50)).ids


@case("a narrow window reorders itself alone")
def _narrow(place: Place) -> None:
    _check(place, Ask(_match("oak table", "text"), window=10), "oak table")


@case("the page is as long as asked")
def _size(place: Place) -> None:
    assert len(_check(place, Ask(_match("red lamp", size=3)), "red lamp").hits) == 3


@case("ties keep the first stage's order")
def _ties(place: Place) -> None:
    _check(place, Ask(_match("tiecase")), "tiecase")


@case("a missing field is an empty document")
def _missing(place: Place) -> None:
    _check(place, Ask(_match("missingcase")), "missingcase")


@case("texts of any script arrive whole")
def _unicode(place: Place) -> None:
    _check(place, Ask(_match("unicodecase")), "unicodecase")


@case("special tokens, quotes and backslashes are plain text")
def _special(place: Place) -> None:
    hits = place.first_stage(_match("specialcase"), 10)
    outcome = place.way(Ask(_match("specialcase")))
    assert outcome.reranked
    assert sorted(outcome.ids) == sorted(hit["_id"] for hit in hits)


@case("a query in quotes and braces is plain text")
def _odd_query(place: Place) -> None:
    query = 'red "lamp" \\ {of} 100%'
    _check(place, Ask(_match(query)), query)


@case("a document of 200 kB does not stall the others")
def _long(place: Place) -> None:
    outcome = place.way(Ask(_match("longcase")))
    assert outcome.reranked
    assert len(outcome.hits) == 2


@case("one hit")
def _one(place: Place) -> None:
    assert len(_check(place, Ask(_match("alonecase")), "alonecase").hits) == 1


@case("no hit")
def _none(place: Place) -> None:
    outcome = place.way(Ask(_match("nosuchword")))
    assert outcome.hits == []


@case("1,000 hits in one window")
def _thousand(place: Place) -> None:
    _check(place, Ask(_match("manycase", size=1000), window=1000), "manycase")


@case("pages tile the reranked window and go on behind it")
def _pages(place: Place) -> None:
    place.need("paging")
    pages = [_check(place, Ask(_match("red", "text", size=12, **{"from": start}), window=30), "red").ids for start in (0, 12, 24)]
    found = [identifier for page in pages for identifier in page]
    assert len(set(found)) == len(found) == 36


@case("a page behind the window is the engine's own")
def _behind(place: Place) -> None:
    place.need("paging")
    body = _match("red", "text", size=5, **{"from": 30})
    outcome = place.way(Ask(body, window=20))
    assert not outcome.reranked
    assert outcome.ids == [hit["_id"] for hit in place.first_stage(body, 35)][30:]


@case("a filtered _source is judged whole and returned as asked")
def _source(place: Place) -> None:
    place.need("source")
    outcome = _check(place, Ask(_match("red lamp", _source=["price"])), "red lamp")
    assert all(set(hit["_source"]) == {"price"} for hit in outcome.hits)


@case("nested and object fields are judged")
def _nested(place: Place) -> None:
    place.need("nested")
    _check(place, Ask(_match("red lamp"), fields=("maker.name", "reviews.text")), "red lamp")


@case("several fields are judged together")
def _several(place: Place) -> None:
    place.need("several")
    _check(place, Ask(_match("red lamp"), fields=("title", "text")), "red lamp")


@case("a boolean query's text is found")
def _bool(place: Place) -> None:
    place.need("detection")
    query = {"bool": {"must": [{"match": {"title": "red lamp"}}], "filter": [{"range": {"price": {"gte": 5}}}]}}
    _check(place, Ask({"query": query}), "red lamp")


@case("totals and aggregations are the engine's")
def _aggregations(place: Place) -> None:
    body = _match("red", aggs={"groups": {"terms": {"field": "group"}}})
    outcome = _check(place, Ask(body), "red")
    plain = HTTP.post(f"{place.engine_url}/{INDEX}/_search", json=body).json()
    assert outcome.answer["aggregations"] == plain["aggregations"]
    assert outcome.answer["hits"]["total"] == plain["hits"]["total"]


@case("a sorted search stays sorted")
def _sorted(place: Place) -> None:
    place.need("sort")
    _check_first_stage(place, Ask(_match("red", sort=[{"price": "desc"}])))


@case("a search for counts alone is passed")
def _counts(place: Place) -> None:
    place.need("counts")
    outcome = place.way(Ask(_match("red", size=0)))
    assert (outcome.hits, outcome.reranked) == ([], False)


@case("a search without a text is passed")
def _no_text(place: Place) -> None:
    place.need("detection")
    outcome = place.way(Ask({"query": {"match_all": {}}, "size": 5}))
    assert not outcome.reranked
    assert len(outcome.hits) == 5


@case("fields empty in every hit leave the first stage")
def _empty(place: Place) -> None:
    _check_first_stage(place, Ask(_match("emptycase")))


@case("gateway down: the first stage, marked")
def _down(place: Place) -> None:
    place.need("gateway")
    _check_first_stage(place, Ask(_match("red lamp"), gateway="down"))


@case("gateway too slow: the first stage in time, marked")
def _slow(place: Place) -> None:
    place.need("gateway")
    _check_first_stage(place, Ask(_match("red lamp"), gateway="slow"))


@case("gateway answers 500: the first stage, marked")
def _broken(place: Place) -> None:
    place.need("gateway")
    _check_first_stage(place, Ask(_match("red lamp"), gateway="broken"))


@case("gateway answers nonsense: the first stage, marked")
def _nonsense(place: Place) -> None:
    place.need("gateway")
    _check_first_stage(place, Ask(_match("red lamp"), gateway="nonsense"))


@case("the engine's 404 is the caller's")
def _not_found(place: Place) -> None:
    with pytest.raises(EngineSaysNo) as caught:
        place.way(Ask(_match("red"), index="no-such-index"))
    assert caught.value.status == 404


@case("the engine's 400 is the caller's")
def _refused(place: Place) -> None:
    with pytest.raises(EngineSaysNo) as caught:
        place.way(Ask(_match("red", min_score="much")))
    assert caught.value.status == 400


@case("TLS and a password: reranked as ever")
def _secured(place: Place) -> None:
    place.need("security")
    ask = Ask(_match("red lamp"))
    assert place.secured is not None
    assert place.secured(ask).reranked
    assert place.secured(ask).ids == place.way(ask).ids


@case("a wrong password: the engine's 401")
def _wrong_password(place: Place) -> None:
    place.need("security")
    assert place.wrong is not None
    with pytest.raises(EngineSaysNo) as caught:
        place.wrong(Ask(_match("red")))
    assert caught.value.status == 401


@case("a certificate that is not trusted is refused")
def _untrusted(place: Place) -> None:
    place.need("security")
    assert place.untrusting is not None
    with pytest.raises(EngineSaysNo) as caught:
        place.untrusting(Ask(_match("red")))
    assert caught.value.status in (0, 502)  # no answer, or the proxy's word for it
