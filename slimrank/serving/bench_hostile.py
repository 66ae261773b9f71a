"""``slimrank bench --hostile``: how often an irrelevant document that was written to win beats the relevant one.

Twenty short queries, written for this, each with a document that answers it and one about something else. Every
attack of ``slimrank.hostile`` is tried on the second. What is counted is the model alone: the first stage's
order would help, but an attacker wins that too.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def measure_hostile(scorer: Scorer) -> dict[str, Any]:
    """Return for each attack how many relevant documents it beats, and its mean probability.

    ``as_it_is`` is the irrelevant document without any attack.
    """
    cases = read_cases()
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
