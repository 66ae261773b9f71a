"""Find our search pipeline in a cluster, and update our processors in it.

Our processors have our tag. Processors that others added to the pipeline are kept in place, and so are other sections, such as
``phase_results_processors``, which hybrid search needs.
"""

from connector.cluster import Cluster
from connector.opensearch.record import MARK
from slimrank.errors import EngineRefused
from slimrank.types import Json

TAG = "slimrank"
_SECTIONS = ("request_processors", "response_processors")
NORMALISATION: Json = {
    "normalization-processor": {"normalization": {"technique": "min_max"}, "combination": {"technique": "arithmetic_mean"}}
}
"""Normalises and combines the scores of a hybrid query's parts, before the hits are reranked."""


def find_pipeline(cluster: Cluster, name: str) -> Json | None:
    """Return the body of a search pipeline; None if there is none."""
    found = cluster.find(f"/_search/pipeline/{name}")
    return found.get(name) if found else None


def pipeline_of_ours(cluster: Cluster, name: str) -> Json | None:
    """Return our pipeline; None if there is none.

    Raises:
        EngineRefused: slimrank did not create the pipeline.
    """
    body = find_pipeline(cluster, name)
    if body is not None and not str(body.get("description", "")).startswith(MARK):
        raise EngineRefused(
            f"the search pipeline {name!r} exists and was not made by slimrank; choose another name with --pipeline, or delete it"
        )
    return body


def merged(present: Json, wanted: Json, *, hybrid: bool = False) -> Json:
    """Return the present pipeline with our processors replaced by the wanted ones.

    Args:
        hybrid: Add the normalisation, unless the pipeline already has phase_results_processors.
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
    """Replace our processors: one by one if the kinds are the same, else all at the place of our first one."""
    places = [place for place, processor in enumerate(present) if is_ours(processor)]
    if [_kind(present[place]) for place in places] == [_kind(processor) for processor in wanted]:
        own = iter(wanted)
        return [next(own) if is_ours(processor) else processor for processor in present]
    first = places[0] if places else len(present)
    return [*present[:first], *wanted, *(processor for processor in present[first:] if not is_ours(processor))]


def _kind(processor: Json) -> str:
    return next(iter(processor))


def is_ours(processor: Json) -> bool:
    """Tell whether slimrank added a processor to a pipeline."""
    return any(isinstance(options, dict) and options.get("tag") == TAG for options in processor.values())


def foreign(body: Json) -> list[str]:
    """Return the kinds of the processors that slimrank did not add."""
    sections = [processors for processors in body.values() if isinstance(processors, list)]
    return sorted({_kind(processor) for processors in sections for processor in processors if not is_ours(processor)})
