"""Our search pipeline in a cluster that may hold more in it: find it, and bring our own processors up to date.

Ours carry our tag. Processors that others put into the pipeline stay where they are, and so do other sections, such as
`phase_results_processors`, which hybrid search needs.
"""

from typing import Any

from connector.cluster import Cluster
from connector.record import MARK
from slimrank.errors import EngineRefused

Json = dict[str, Any]

TAG = "slimrank"
_SECTIONS = ("request_processors", "response_processors")
NORMALISATION: Json = {
    "normalization-processor": {"normalization": {"technique": "min_max"}, "combination": {"technique": "arithmetic_mean"}}
}
"""Brings the scores of a hybrid query's parts together, before the hits are reranked."""


def find_pipeline(cluster: Cluster, name: str) -> Json | None:
    """Return the body of a search pipeline, or None."""
    found = cluster.find(f"/_search/pipeline/{name}")
    return found.get(name) if found else None


def pipeline_of_ours(cluster: Cluster, name: str) -> Json | None:
    """Return the pipeline, if it is there.

    Raises:
        EngineRefused: someone else made it.
    """
    body = find_pipeline(cluster, name)
    if body is not None and not str(body.get("description", "")).startswith(MARK):
        raise EngineRefused(
            f"the search pipeline {name!r} exists and was not made by slimrank; choose another name with --pipeline, or delete it"
        )
    return body


def merged(present: Json, wanted: Json, *, hybrid: bool = False) -> Json:
    """Return the pipeline that is there with our processors replaced by those wanted.

    Args:
        hybrid: add the normalisation, unless the pipeline has some phase_results_processors already.
    """
    body = {**present, **wanted}
    for section in _SECTIONS:
        processors = _replaced(present.get(section, []), wanted.get(section, []))
        if processors:
            body[section] = processors
        else:
            body.pop(section, None)
    if hybrid and not body.get("phase_results_processors"):
        body["phase_results_processors"] = [NORMALISATION]
    return body


def _replaced(present: list[Json], wanted: list[Json]) -> list[Json]:
    """Put ours where ours were: one by one where they are of the same kinds, else together where the first one was."""
    places = [place for place, processor in enumerate(present) if is_ours(processor)]
    if [_kind(present[place]) for place in places] == [_kind(processor) for processor in wanted]:
        own = iter(wanted)
        return [next(own) if is_ours(processor) else processor for processor in present]
    first = places[0] if places else len(present)
    return [*present[:first], *wanted, *(processor for processor in present[first:] if not is_ours(processor))]


def _kind(processor: Json) -> str:
    return next(iter(processor))


def is_ours(processor: Json) -> bool:
    """Tell whether we put a processor into a pipeline."""
    return any(isinstance(options, dict) and options.get("tag") == TAG for options in processor.values())


def foreign(body: Json) -> list[str]:
    """Return the kinds of the processors that are not ours."""
    sections = [processors for processors in body.values() if isinstance(processors, list)]
    return sorted({_kind(processor) for processors in sections for processor in processors if not is_ours(processor)})
