"""Draw the queries to ask so that means over them are means over the traffic.

Distinct queries, by falling frequency, are cut into head, torso and tail, each a third of the traffic. From each comes
the same number, drawn with chance proportional to frequency (systematic sampling, Madow 1949), a query more frequent
than the sampling step being taken for certain. Each drawn query then stands for frequency / chance searches
(Horvitz, Thompson, 1952): its weight. So nothing that a few users ask is left out, and nothing is blown up.

Golden queries, which must not break, are asked in any case; one that was not drawn has weight 0.
"""

import hashlib
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from connector.audit.scrub import Scrub
from connector.audit.sources import Asked
from slimrank.errors import DataError

STRATA = ("head", "torso", "tail")


@dataclass(frozen=True, slots=True)
class Query:
    """One query of the audit."""

    query_id: str
    query: str
    frequency: float
    weight: float
    """Searches that it stands for; 0 for a golden query that was not drawn."""
    stratum: str
    golden: bool = False


@dataclass(frozen=True, slots=True)
class Population:
    """Distinct queries before sampling."""

    asked: dict[str, Asked]
    """query text -> the query with its whole frequency."""
    dropped: int
    """Distinct queries held back as personal data."""


def count(source: Iterable[Asked], scrub: Scrub) -> Population:
    """Add up the frequencies of equal queries, spaces normalised, and drop or mask what `scrub` says.

    Raises:
        DataError: no query is left.
    """
    asked: dict[str, Asked] = {}
    dropped: set[str] = set()
    for query, frequency, query_id in source:
        text = " ".join(query.split())
        kept = scrub(text) if text else None
        if kept:
            known = asked.get(kept)
            asked[kept] = Asked(kept, frequency + (known.frequency if known else 0), known.query_id if known else query_id)
        elif text:
            dropped.add(text)
    if not asked:
        raise DataError(f"no query is left to ask: {len(dropped)} were dropped as personal data, and no other was found")
    return Population(asked, len(dropped))


def draw(population: Population, golden: Sequence[Asked], *, size: int, seed: int, strata: bool) -> list[Query]:
    """Draw `size` queries, add the golden ones, and return them by query id."""
    ranked = sorted(population.asked.values(), key=lambda asked: (-asked.frequency, asked.query))
    even = ranked[0].frequency == ranked[-1].frequency
    layers = [("all", ranked)] if even or not strata else _thirds(ranked)
    drawn: dict[str, Query] = {}
    left = size
    for place, (stratum, asked) in enumerate(layers):
        share = left // (len(layers) - place)
        for query, weight in _systematic(asked, share, random.Random(f"{seed} {stratum}")):
            drawn[query.query] = Query(identify(query), query.query, query.frequency, weight, stratum)
        left = size - len(drawn)
    return _with_golden(drawn, golden)


def _with_golden(drawn: dict[str, Query], golden: Sequence[Asked]) -> list[Query]:
    for asked in golden:
        text = " ".join(asked.query.split())
        known = drawn.get(text) or Query(identify(asked._replace(query=text)), text, asked.frequency, 0.0, "golden")
        drawn[text] = Query(known.query_id, text, known.frequency, known.weight, known.stratum, golden=True)
    queries = sorted(drawn.values(), key=lambda query: query.query_id)
    if len({query.query_id for query in queries}) < len(queries):
        raise DataError("two different queries have one query_id; leave the ids out, or make them unique")
    return queries


def identify(asked: Asked) -> str:
    """Return the query's own id, or one made of its text."""
    return asked.query_id or "q" + hashlib.sha256(asked.query.encode()).hexdigest()[:12]


def _thirds(ranked: Sequence[Asked]) -> list[tuple[str, list[Asked]]]:
    """Cut by cumulative traffic; the query that crosses a border belongs to the part where it begins."""
    total = sum(asked.frequency for asked in ranked)
    layers: dict[str, list[Asked]] = {name: [] for name in STRATA}
    before = 0.0
    for asked in ranked:
        layers[STRATA[min(int(3 * before / total), 2)]].append(asked)
        before += asked.frequency
    return [(name, asked) for name, asked in layers.items() if asked]


def _systematic(asked: Sequence[Asked], size: int, chance: random.Random) -> list[tuple[Asked, float]]:
    """Draw `size` with chance proportional to frequency; return each with its weight frequency / chance."""
    if size >= len(asked):
        return [(query, query.frequency) for query in asked]
    certain: list[Asked] = []
    rest = sorted(asked, key=lambda query: -query.frequency)
    total = sum(query.frequency for query in rest)
    while rest and len(certain) < size and rest[0].frequency * (size - len(certain)) >= total:
        certain.append(rest.pop(0))
        total -= certain[-1].frequency
    drawn = [(query, query.frequency) for query in certain]
    wanted = size - len(certain)
    if wanted:
        chance.shuffle(rest)
        step = total / wanted
        border, reached = chance.random() * step, 0.0
        for query in rest:
            reached += query.frequency
            if border < reached and len(drawn) < size:
                drawn.append((query, step))
                border += step
    return drawn
