"""Draw a sample of queries whose weighted means estimate the means over the traffic.

The distinct queries, ordered by decreasing frequency, are divided into head, torso and tail, each with a third of the traffic.
The same number is drawn from each, with probability proportional to frequency (systematic sampling, Madow 1949). A query that is
more frequent than the sampling step is always drawn. The weight of a drawn query is frequency / probability, the number of
searches that it stands for (Horvitz, Thompson, 1952). So rare queries are represented, and they are not overrated.

Golden queries, which must not break, are always asked; a golden query that was not drawn has weight 0.

A log may have more distinct queries than fit into memory. So they are counted, ordered and drawn in a temporary database.
"""

import hashlib
import random
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from connector.audit.scrub import Scrub
from connector.audit.sources import Asked
from connector.audit.spill import scratch
from slimrank.errors import DataError

STRATA = ("head", "torso", "tail")
_TABLES = """
CREATE TABLE asked (query PRIMARY KEY, frequency REAL, query_id) WITHOUT ROWID;
CREATE TABLE dropped (query PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE layered (stratum, frequency REAL, query, query_id, chance REAL);
CREATE INDEX by_frequency ON layered (stratum, frequency DESC, query);
CREATE INDEX by_chance ON layered (stratum, chance);
CREATE TABLE drawn (query PRIMARY KEY, query_id, frequency REAL, weight REAL, stratum, golden) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Query:
    """One query of the audit."""

    query_id: str
    query: str
    frequency: float
    weight: float
    """The number of searches that this query stands for; 0 for a golden query that was not drawn."""
    stratum: str
    golden: bool = False


class Population:
    """The distinct queries before sampling, in a database."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._database = database

    def asked(self) -> Iterator[Asked]:
        """Yield the distinct queries with their total frequencies, the most frequent first."""
        found = self._database.execute("SELECT query, frequency, query_id FROM asked ORDER BY frequency DESC, query")
        return (Asked(*row) for row in found)

    @property
    def size(self) -> int:
        """The number of distinct queries."""
        return int(self._one("SELECT COUNT(*) FROM asked"))

    @property
    def traffic(self) -> float:
        """The number of searches that the queries stand for."""
        return float(self._one("SELECT TOTAL(frequency) FROM asked"))

    @property
    def dropped(self) -> int:
        """The number of distinct queries that were dropped because of personal data."""
        return int(self._one("SELECT COUNT(*) FROM dropped"))

    def draw(self, golden: Iterable[Asked], *, size: int, seed: int, strata: bool) -> Iterator[Query]:
        """Draw ``size`` queries, add the golden ones, and yield them by query id.

        Raises:
            DataError: two queries have the same id.
        """
        self._database.execute("DELETE FROM drawn")
        layers = self._cut(seed, strata)
        for place, stratum in enumerate(layers):
            left = size - int(self._one("SELECT COUNT(*) FROM drawn"))
            rows = (
                (asked.query, identify(asked), asked.frequency, weight, stratum)
                for asked, weight in self._systematic(stratum, left // (len(layers) - place), random.Random(f"{seed} {stratum}"))
            )
            self._database.executemany("INSERT INTO drawn VALUES (?, ?, ?, ?, ?, 0)", rows)
        self._add_golden(golden)
        if self._one("SELECT COUNT(*) > COUNT(DISTINCT query_id) FROM drawn"):
            raise DataError("two different queries have the same query_id; leave the ids out, or make them unique")
        found = self._database.execute("SELECT query_id, query, frequency, weight, stratum, golden FROM drawn ORDER BY query_id")
        return (
            Query(query_id, query, frequency, weight, stratum, bool(is_golden))
            for query_id, query, frequency, weight, stratum, is_golden in found
        )

    def _cut(self, seed: int, strata: bool) -> list[str]:
        """Divide by cumulative traffic; a query that crosses a border belongs to the stratum in which it begins."""
        even = self._one("SELECT MIN(frequency) = MAX(frequency) FROM asked")
        total, before, chance = self.traffic, 0.0, random.Random(f"{seed} order")
        self._database.execute("DELETE FROM layered")

        def rows() -> Iterator[tuple[str, float, str, str | None, float]]:
            nonlocal before
            for query, frequency, query_id in self.asked():
                stratum = "all" if even or not strata else STRATA[min(int(3 * before / total), 2)]
                before += frequency
                yield stratum, frequency, query, query_id, chance.random()

        self._database.executemany("INSERT INTO layered VALUES (?, ?, ?, ?, ?)", rows())
        there = {row[0] for row in self._database.execute("SELECT DISTINCT stratum FROM layered")}
        return [name for name in ("all", *STRATA) if name in there]

    def _systematic(self, stratum: str, size: int, chance: random.Random) -> Iterator[tuple[Asked, float]]:
        """Draw ``size`` queries of a stratum with probability proportional to frequency; yield each with its weight."""
        select = "SELECT query, frequency, query_id FROM layered WHERE stratum = ?"
        count, total = self._database.execute(
            "SELECT COUNT(*), TOTAL(frequency) FROM layered WHERE stratum = ?", (stratum,)
        ).fetchone()
        largest = (Asked(*row) for row in self._database.execute(f"{select} ORDER BY frequency DESC, query", (stratum,)))
        if size >= count:
            yield from ((asked, asked.frequency) for asked in largest)
            return
        certain, border = 0, ("", float("inf"))
        for asked in largest:
            if certain >= size or asked.frequency * (size - certain) < total:
                break
            yield asked, asked.frequency
            certain, total, border = certain + 1, total - asked.frequency, (asked.query, asked.frequency)
        if certain == size:
            return
        step = total / (size - certain)
        next_stop, reached = chance.random() * step, 0.0
        # the queries that are not always drawn, in random order
        rest = f"{select} AND (frequency < ? OR (frequency = ? AND query > ?)) ORDER BY chance"
        for row in self._database.execute(rest, (stratum, border[1], border[1], border[0])):
            asked = Asked(*row)
            reached += asked.frequency
            if next_stop < reached and certain < size:
                yield asked, step
                certain, next_stop = certain + 1, next_stop + step

    def _add_golden(self, golden: Iterable[Asked]) -> None:
        for asked in golden:
            text = tidy(asked.query)
            row = (text, identify(asked._replace(query=text)), asked.frequency)
            self._database.execute(
                "INSERT INTO drawn VALUES (?, ?, ?, 0.0, 'golden', 1) ON CONFLICT (query) DO UPDATE SET golden = 1", row
            )

    def _one(self, select: str) -> float:
        (found,) = self._database.execute(select).fetchone()
        return float(found)


@contextmanager
def count(source: Iterable[Asked], scrub: Scrub) -> Iterator[Population]:
    """Normalise spaces, apply ``scrub``, and add up the frequencies of equal queries; yield the population.

    Raises:
        DataError: no query is left.
    """
    with scratch() as database:
        database.executescript(_TABLES)
        writer = database.cursor()
        for query, frequency, query_id in source:
            text = tidy(query)
            kept = scrub(text) if text else None
            if kept:
                writer.execute(
                    "INSERT INTO asked VALUES (?, ?, ?) ON CONFLICT (query) DO UPDATE SET frequency = frequency + excluded.frequency",
                    (kept, frequency, query_id),
                )
            elif text:
                writer.execute("INSERT OR IGNORE INTO dropped VALUES (?)", (text,))
        population = Population(database)
        if not population.size:
            raise DataError(
                f"no query is left to ask: {population.dropped} were dropped as personal data, and no other was found"
            )
        yield population


def tidy(query: str) -> str:
    """Return a query with single spaces, and without halves of surrogate pairs, which no encoding accepts."""
    return " ".join(query.split()).encode("utf-8", "replace").decode("utf-8")


def identify(asked: Asked) -> str:
    """Return the query's id, or an id made from its text."""
    return asked.query_id or "q" + hashlib.sha256(asked.query.encode()).hexdigest()[:12]
