"""Ranking measures through ir-measures (trec_eval underneath).

nDCG uses linear gain (the grade itself), log2(rank + 1) discount, and the ideal ranking over all
judged documents, as trec_eval does. RR and P count relevance >= 1. Judged@k is the share of the
top k with a judgment: print it beside every nDCG.
"""

import math
from collections.abc import Mapping, Sequence

import ir_measures

from slimrank.errors import DataError
from slimrank.types import Qrels, Run

DEFAULT_MEASURES = ("nDCG@10", "RR@10", "Judged@10")


def per_query(qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES) -> dict[str, dict[str, float]]:
    """Return measure -> query_id -> value for every judged query; one without results counts 0.

    Ties in ``run`` are broken by the order of its documents, not by their ids.

    Raises:
        DataError: a measure's name is not known.
    """
    parsed = [_parse(name) for name in measures]
    values: dict[str, dict[str, float]] = {name: dict.fromkeys(qrels, 0.0) for name in measures}
    strict = {query_id: _strictly_ordered(run[query_id]) for query_id in qrels if run.get(query_id)}
    for metric in ir_measures.iter_calc(parsed, qrels, strict):
        values[str(metric.measure)][metric.query_id] = float(metric.value)
    return values


def mean(qrels: Qrels, run: Run, measures: Sequence[str] = DEFAULT_MEASURES) -> dict[str, float]:
    """Return the mean of each measure over all judged queries."""
    table = per_query(qrels, run, measures)
    return {name: math.fsum(values.values()) / len(values) for name, values in table.items()}


def _strictly_ordered(scores: Mapping[str, float]) -> dict[str, float]:
    """Replace scores by falling integers in rank order: trec_eval breaks ties by document id."""
    best_first = sorted(scores, key=lambda doc_id: -scores[doc_id])
    return {doc_id: float(len(best_first) - place) for place, doc_id in enumerate(best_first)}


def _parse(name: str) -> "ir_measures.Measure":
    try:
        return ir_measures.parse_measure(name)
    except (NameError, ValueError) as error:
        raise DataError(
            f"no measure is called {name!r}; ir-measures' names are used, such as nDCG@10, RR@10, P@5, AP, Judged@10"
        ) from error
