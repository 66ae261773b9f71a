"""Store ranx's results for random rankings, for ``test_measures``. ranx compiles for minutes, so the tests do not depend on it.

    uv venv /tmp/ranx && uv pip install --python /tmp/ranx/bin/python ranx==0.3.21
    NUMBA_DISABLE_JIT=1 /tmp/ranx/bin/python tests/connector/audit/compare/ranx_cases.py tests/data/ranx_cases.json

40 queries, 12 documents graded 0 to 3, up to 10 ranked; seed 0. Ungraded documents are ranked too.
"""

import json
import random
import sys
from importlib.metadata import version
from pathlib import Path

CUTOFFS = (1, 5, 10)
NAMES = {"nDCG": "ndcg", "RR": "mrr", "AP": "map", "P": "precision"}


def main() -> None:
    """Write the file that the command line names."""
    from ranx import Qrels, Run, evaluate

    chance = random.Random(0)
    documents = [f"d{number:02}" for number in range(20)]
    cases = []
    for _ in range(40):
        judged = {document: chance.choice((0, 0, 1, 2, 3)) for document in chance.sample(documents, 12)}
        ranking = chance.sample(documents, chance.randint(1, 10))
        run = Run({"q": {document: float(len(ranking) - place) for place, document in enumerate(ranking)}})
        wanted = {f"{ours}@{k}": f"{theirs}@{k}" for ours, theirs in NAMES.items() for k in CUTOFFS}
        found = evaluate(Qrels({"q": judged}), run, list(wanted.values()))
        values = {ours: float(found[theirs]) for ours, theirs in wanted.items()}
        cases.append({"judged": judged, "ranking": ranking, "values": values})
    lines = ",\n".join(json.dumps(case) for case in cases)
    origin = json.dumps(f"ranx {version('ranx')}, tests/connector/audit/compare/ranx_cases.py")
    Path(sys.argv[1]).write_text(f'{{"made_by": {origin}, "cases": [\n{lines}\n]}}\n', encoding="utf-8")


if __name__ == "__main__":
    main()
