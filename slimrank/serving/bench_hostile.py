"""``slimrank bench --hostile``: how often an irrelevant document that was written to win beats the relevant one.

Twenty short queries, written for this, each with a document that answers it and one about something else. Every
attack of ``slimrank.hostile`` is tried on the second. What is counted is the model alone: the first stage's
order would help, but an attacker wins that too. A judged collection gives more cases, which nobody wrote for this: a relevant
document of a query beside one that is relevant to no query.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slimrank.beir import read_collection
from slimrank.errors import DataError
from slimrank.evaluation import sample_queries
from slimrank.hostile import ATTACKS
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


def cases_of(folder: Path, *, split: str, queries: int, seed: int) -> list[Case]:
    """Return cases of a judged collection, one a query.

    Raises:
        DataError: the collection cannot be read, or no query has a relevant document.
    """
    collection, draw = read_collection(folder, split), random.Random(seed)
    relevant = {
        query_id: {doc_id for doc_id, grade in grades.items() if grade > 0} & collection.documents.keys()
        for query_id, grades in collection.qrels.items()
    }
    others = sorted(collection.documents.keys() - set().union(*relevant.values()))
    if not others or not any(relevant.values()):
        raise DataError(
            f"{folder} gives no hostile cases: a query with a relevant document is needed, and a document that is relevant to none"
        )
    cases = []
    for query_id in sample_queries(
        replace(collection, queries={name: text for name, text in collection.queries.items() if relevant[name]}), queries, seed
    ):
        best = max(relevant[query_id], key=lambda doc_id: (collection.qrels[query_id][doc_id], doc_id))
        texts = [collection.documents[doc_id].content for doc_id in (best, draw.choice(others))]
        cases.append(Case(collection.queries[query_id], *texts))
    return cases


def measure_hostile(scorer: Scorer, cases: Sequence[Case] | None = None) -> dict[str, Any]:
    """Return for each attack how many relevant documents it beats, and its mean probability.

    ``as_it_is`` is the irrelevant document without any attack.

    Args:
        cases: Left out, the committed ones.
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
