"""``slimrank bench hostile``: how often an irrelevant document that was written to win beats the relevant one.

There are twenty short queries that were written for this, each with a document that answers it and a document about something
else. Every attack of ``slimrank.evaluation.hostile_texts`` changes the second one. Only the model's score counts: the first
stage's order would help, but an attacker can win that too. A judged collection gives cases that nobody wrote for this: a relevant
document of each query, and a random document that is not relevant.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimrank.errors import DataError
from slimrank.evaluation.beir import read_collection
from slimrank.evaluation.evaluate import sample_queries
from slimrank.evaluation.hostile_texts import ATTACKS
from slimrank.scoring import Scorer, probabilities

CASES_FILE = Path(__file__).with_name("hostile.jsonl")


@dataclass(frozen=True, slots=True)
class Case:
    """A query, a document that answers it, and one that does not."""

    query: str
    relevant: str
    irrelevant: str


def read_cases() -> list[Case]:
    """Return the committed cases."""
    return [Case(**json.loads(line)) for line in CASES_FILE.read_text(encoding="utf-8").splitlines()]


def cases_of(folder: Path, *, split: str, queries: int | None, seed: int) -> list[Case]:
    """Return the cases of a judged collection, one for each query.

    Raises:
        DataError: the collection cannot be read, or no query has a relevant document.
    """
    collection, draw = read_collection(folder, split), random.Random(seed)
    relevant = {
        query_id: {doc_id for doc_id, grade in grades.items() if grade > 0} & collection.documents.keys()
        for query_id, grades in collection.qrels.items()
    }
    every, cases = sorted(collection.documents), []
    usable = {name: collection.queries[name] for name, found in relevant.items() if found and len(found) < len(every)}
    if not usable:
        raise DataError(f"{folder} gives no hostile cases: no query has both a relevant document and others")
    for query_id in sample_queries(replace(collection, queries=usable), queries, seed):
        best = max(relevant[query_id], key=lambda doc_id: (collection.qrels[query_id][doc_id], doc_id))
        other = draw.choice([doc_id for doc_id in every if doc_id not in relevant[query_id]])
        cases.append(Case(usable[query_id], collection.documents[best].content, collection.documents[other].content))
    return cases


def measure_hostile(scorer: Scorer, cases: Sequence[Case] | None = None) -> dict[str, Any]:
    """Return for each attack how many relevant documents it beats, and its mean probability.

    ``as_it_is`` is the irrelevant document without an attack.

    Args:
        cases: Default the twenty committed cases.
    """
    cases = read_cases() if cases is None else cases
    beaten = dict.fromkeys(("as_it_is", *ATTACKS), 0)
    chances = dict.fromkeys(beaten, 0.0)
    for case in cases:
        attacked = [case.irrelevant, *(attack(case.query, case.irrelevant) for attack in ATTACKS.values())]
        scored = scorer.score(case.query, [case.relevant, *attacked])
        probability = probabilities(scored.scores)
        for place, name in enumerate(beaten, start=1):
            beaten[name] += bool(scored.scores[place] >= scored.scores[0])
            chances[name] += float(probability[place]) / len(cases)
    return {
        "cases": len(cases),
        "beaten": beaten,
        "mean_probability": {name: round(chance, 3) for name, chance in chances.items()},
    }
