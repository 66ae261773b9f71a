"""The same product queries through every way into one engine: over the same hits and one field, the same top ten.

The model uses the first stage's order, as a trained one does, so every way has to say it alike.
"""

from tests.conformance.cases import Place
from tests.conformance.catalogue import queries
from tests.conformance.ways import Ask


def same_top_ten(places: dict[str, Place]) -> dict[str, list[str]]:
    """Return the queries whose top ten differs from the first way's, by way; an empty dictionary is agreement."""
    differing: dict[str, list[str]] = {}
    for query in queries():
        ask = Ask({"query": {"match": {"text": query}}, "size": 10}, window=50, gateway="fused")
        tops = {name: place.way(ask).ids for name, place in places.items()}
        expected = next(iter(tops.values()))
        assert len(expected) == 10
        for name, ids in tops.items():
            if ids != expected:
                differing.setdefault(name, []).append(query)
    return differing
