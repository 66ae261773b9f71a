"""How far judges agree, and which judge is partial.

Cohen's kappa on the documents that two judges graded, plain and with quadratic weights (a near miss costs less), each with
a bootstrap interval. Only the table of their grades is held, so memory does not grow with the documents. A model that judges the rankings of its own family favours them (arXiv 2503.19092): it is flagged.
"""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from connector.audit.folder import Folder
from connector.audit.judgments import grades_file, in_step, read_grades, read_identity
from connector.audit.spec import Json, Judge

_ROUNDS = 2_000
_FAMILIES = ("slimrank", "smollm", "qwen", "llama", "mistral", "mixtral", "gemma", "gemini", "phi", "gpt", "claude", "deepseek",
             "command", "mxbai", "prorank", "bge", "jina", "falcon", "olmo", "granite", "yi", "glm", "kimi")  # fmt: skip
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def describe(folder: Folder) -> Json:
    """Return the judges, their grades' counts, their partiality, and the agreement of each two that share documents."""
    spec = folder.spec
    states = (folder.read(f"{which}.json") for which in ("before", "after"))
    rankers = [state["ranker"]["model"] or "slimrank" for state in states if "ranker" in state]
    return {
        "judges": [
            {
                "name": judge.name,
                "kind": judge.kind,
                "human": is_human(judge),
                "grades": sum(len(grades) for _, grades in read_grades(grades_file(folder, judge))),
                "partial": partiality(judge, rankers),
                "identity": read_identity(folder, judge),
            }
            for judge in spec.judges
        ],
        "agreement": [
            {"judges": [first.name, second.name], "human": is_human(first) or is_human(second), **found}
            for first, second in combinations(spec.judges, 2)
            if (found := agree(tabulate(folder, first, second), seed=spec.sample.seed))
        ],
    }


def tabulate(folder: Folder, first: Judge, second: Judge) -> Integers:
    """Return how many documents each pair of grades was given to, (grades, grades)."""
    table = np.zeros((folder.spec.max_grade + 1,) * 2, dtype=np.int64)
    of_second = in_step(grades_file(folder, second))
    for query_id, grades in read_grades(grades_file(folder, first)):
        others = of_second(query_id)
        for doc_id in grades.keys() & others.keys():
            table[grades[doc_id], others[doc_id]] += 1
    return table


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


def agree(table: Integers, *, seed: int) -> Json | None:
    """Return kappa, weighted kappa and their 95% intervals from a table of grades; None where no document has both.

    Drawing documents with replacement and counting their grades is drawing tables from a multinomial.
    """
    documents = int(table.sum())
    if not documents:
        return None
    shape = (_ROUNDS, *table.shape)
    tables = np.random.default_rng(seed).multinomial(documents, table.ravel() / documents, _ROUNDS).reshape(shape)
    found: Json = {"documents": documents, "equal": float(np.trace(table) / documents)}
    for name, is_weighted in (("kappa", False), ("weighted_kappa", True)):
        values = kappa(tables, weighted=is_weighted)
        low, high = np.nanpercentile(values, [2.5, 97.5]) if not np.isnan(values).all() else (np.nan, np.nan)
        found[name] = {"value": float(kappa(table, weighted=is_weighted)), "low": float(low), "high": float(high)}
    return found


def kappa(tables: Integers, *, weighted: bool) -> Floats:
    """Return Cohen's kappa, 1 - observed / expected disagreement (Cohen, 1960, 1968), of each (..., grades, grades) table.

    Disagreement is 1 for any two different grades, or with `weighted` the square of their distance. nan where both
    judges gave everything one and the same grade, as chance then agrees too.
    """
    levels = np.arange(tables.shape[-1])
    cost = (levels[:, None] - levels[None, :]) ** 2.0 if weighted else (levels[:, None] != levels[None, :]).astype(float)
    shares = tables / tables.sum(axis=(-2, -1), keepdims=True)
    by_chance = shares.sum(axis=-1)[..., :, None] * shares.sum(axis=-2)[..., None, :]
    observed, expected = (shares * cost).sum(axis=(-2, -1)), (by_chance * cost).sum(axis=(-2, -1))
    found: Floats = 1 - np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)
    return found
