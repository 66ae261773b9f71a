"""Measure how far judges agree, and find partial judges.

The measure is Cohen's kappa on the documents that two judges graded, plain and with quadratic weights (a near miss costs less),
each with a bootstrap interval. Only a table of grade counts is kept, so memory does not grow with the documents. A model that
judges rankings of its own family favours them (arXiv 2503.19092), so such a judge is flagged.
"""

import re
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import numpy.typing as npt

from connector.audit.folder import Folder
from connector.audit.judge.judgments import grades_file, in_step, read_grades, read_identity
from connector.audit.spec import Judge
from slimrank.types import Json

_ROUNDS = 2_000
_FAMILIES = ("slimrank", "smollm", "qwen", "llama", "mistral", "mixtral", "gemma", "gemini", "phi", "gpt", "claude", "deepseek",
             "command", "mxbai", "prorank", "bge", "jina", "falcon", "olmo", "granite", "yi", "glm", "kimi")  # fmt: skip
Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


def describe(folder: Folder) -> Json:
    """Return the judges with their numbers of grades and their partiality, and the agreement of each pair that shares
    documents."""
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
    """Return how many documents got each pair of grades, (grades, grades)."""
    table = np.zeros((folder.spec.max_grade + 1,) * 2, dtype=np.int64)
    of_second = in_step(grades_file(folder, second))
    for query_id, grades in read_grades(grades_file(folder, first)):
        others = of_second(query_id)
        for doc_id in grades.keys() & others.keys():
            table[grades[doc_id], others[doc_id]] += 1
    return table


def is_human(judge: Judge) -> bool:
    """Tell whether the judge is a person."""
    return judge.kind == "person" or judge.human


def partiality(judge: Judge, rankers: Sequence[str]) -> str | None:
    """Return why a judge is partial to a ranker of the audit; None if it is not."""
    if judge.kind not in ("reranker", "chat"):
        return None
    own = family(judge.model or "slimrank")
    same = [ranker for ranker in rankers if family(ranker) == own]
    if not same:
        return None
    return f"this judge and the ranker {same[0]} are of one family ({own}): a judge favours its own family, so its grades favour that side"


def family(model: str) -> str:
    """Return a model's family, by its name."""
    words = re.split(r"[^a-z]+", model.lower())
    return next((name for name in _FAMILIES if any(word.startswith(name) for word in words)), model.lower())


def agree(table: Integers, *, seed: int) -> Json | None:
    """Return kappa, weighted kappa and their 95% intervals from a table of grades; None if no document has two grades.

    Drawing documents with replacement and counting their grades equals drawing tables from a multinomial distribution.
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
    """Return Cohen's kappa, 1 - observed / expected disagreement (Cohen, 1960, 1968), for each (..., grades, grades) table.

    The disagreement of two different grades is 1, or with ``weighted`` the square of their distance. The result is nan if both
    judges gave all documents the same grade, because then chance agrees too.
    """
    levels = np.arange(tables.shape[-1])
    cost = (levels[:, None] - levels[None, :]) ** 2.0 if weighted else (levels[:, None] != levels[None, :]).astype(float)
    shares = tables / tables.sum(axis=(-2, -1), keepdims=True)
    by_chance = shares.sum(axis=-1)[..., :, None] * shares.sum(axis=-2)[..., None, :]
    observed, expected = (shares * cost).sum(axis=(-2, -1)), (by_chance * cost).sum(axis=(-2, -1))
    found: Floats = 1 - np.divide(observed, expected, out=np.full_like(expected, np.nan), where=expected > 0)
    return found
