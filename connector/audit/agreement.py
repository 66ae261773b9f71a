"""How far judges agree, and which judge is partial.

Cohen's kappa on the documents that two judges graded, plain and with quadratic weights (a near miss costs less), each with
a bootstrap interval. A model that judges the rankings of its own family favours them (arXiv 2503.19092): it is flagged.
"""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from connector.audit.judgments import Grades
from connector.audit.spec import Json, Judge, Spec

_ROUNDS = 2_000
_FAMILIES = ("slimrank", "smollm", "qwen", "llama", "mistral", "mixtral", "gemma", "gemini", "phi", "gpt", "claude", "deepseek",
             "command", "mxbai", "prorank", "bge", "jina", "falcon", "olmo", "granite", "yi", "glm", "kimi")  # fmt: skip
Integers = npt.NDArray[np.int64]


def describe(judged: Sequence[tuple[Judge, Grades]], spec: Spec) -> Json:
    """Return the judges, their grades' counts, their partiality, and the agreement of each two that share documents."""
    rankers = [side.rerank.model or "slimrank" for side in (spec.before, spec.after) if side.rerank]
    return {
        "judges": [
            {
                "name": judge.name,
                "kind": judge.kind,
                "human": is_human(judge),
                "grades": sum(map(len, grades.values())),
                "partial": partiality(judge, rankers),
            }
            for judge, grades in judged
        ],
        "agreement": [
            {"judges": [a.name, b.name], "human": is_human(a) or is_human(b), **found}
            for (a, first), (b, second) in combinations(judged, 2)
            if (found := agree(first, second, spec.max_grade, seed=spec.sample.seed))
        ],
    }


def is_human(judge: Judge) -> bool:
    """Tell whether people graded."""
    return judge.kind == "person" or judge.human


def partiality(judge: Judge, rankers: Sequence[str]) -> str | None:
    """Return why a judge is partial to a ranker of the audit, or None."""
    if judge.kind not in ("reranker", "chat"):
        return None
    own = family(judge.model or "slimrank")
    same = [ranker for ranker in rankers if family(ranker) == own]
    if not same:
        return None
    return (
        f"this judge and the ranker {same[0]} are of one family ({own}): judges favour their own, so its grades flatter that side"
    )


def family(model: str) -> str:
    """Return a model's family, read off its name."""
    words = re.split(r"[^a-z]+", model.lower())
    return next((name for name in _FAMILIES if any(word.startswith(name) for word in words)), model.lower())


def agree(first: Grades, second: Grades, max_grade: int, *, seed: int) -> Json | None:
    """Return kappa, weighted kappa and their 95% intervals over the documents that both graded; None where there are none."""
    pairs = [
        (grade, second[query_id][doc_id])
        for query_id, judged in sorted(first.items())
        for doc_id, grade in sorted(judged.items())
        if doc_id in second.get(query_id, {})
    ]
    if not pairs:
        return None
    grades = np.array(pairs)
    picks = np.random.default_rng(seed).integers(0, len(grades), (_ROUNDS, len(grades)))
    found: Json = {"documents": len(grades), "equal": float((grades[:, 0] == grades[:, 1]).mean())}
    for name, is_weighted in (("kappa", False), ("weighted_kappa", True)):
        values = [kappa(grades[pick], max_grade, weighted=is_weighted) for pick in picks]
        low, high = np.nanpercentile(values, [2.5, 97.5]) if not np.isnan(values).all() else (np.nan, np.nan)
        found[name] = {"value": kappa(grades, max_grade, weighted=is_weighted), "low": float(low), "high": float(high)}
    return found


def kappa(grades: Integers, max_grade: int, *, weighted: bool) -> float:
    """Return Cohen's kappa, 1 - observed / expected disagreement (Cohen, 1960, 1968), of (n, 2) grades.

    Disagreement is 1 for any two different grades, or with `weighted` the square of their distance. nan where both
    judges gave everything one and the same grade, as chance then agrees too.
    """
    levels = np.arange(max_grade + 1)
    cost = (levels[:, None] - levels[None, :]) ** 2.0 if weighted else (levels[:, None] != levels[None, :]).astype(float)
    table = np.zeros((max_grade + 1, max_grade + 1))
    np.add.at(table, (grades[:, 0], grades[:, 1]), 1 / len(grades))
    expected = float((np.outer(table.sum(axis=1), table.sum(axis=0)) * cost).sum())
    return 1 - float((table * cost).sum()) / expected if expected else float("nan")
