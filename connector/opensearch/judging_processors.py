"""Read a search pipeline: which processors judge its hits, with which model, on which fields, and by which query text."""

from dataclasses import dataclass

from connector.opensearch import scripts
from slimrank.types import Json

_REQUEST = "$._request."


@dataclass(frozen=True, slots=True)
class JudgingProcessor:
    """A processor that calls a model.

    Attributes:
        query_path: The path of the query text in a search; "" if ``ext.rerank`` holds the text.
    """

    model_id: str
    fields: tuple[str, ...]
    query_path: str
    fails_soft: bool


def judges_of(pipeline: Json) -> list[JudgingProcessor]:
    """Return the judging processors in order: rerank processors with a model, and ml_inference followed by a rerank by_field."""
    found = []
    parts = [(kind, options) for part in pipeline.get("response_processors", []) for kind, options in part.items()]
    by_field = [options for kind, options in parts if kind == "rerank" and "by_field" in options]
    for kind, options in parts:
        fails_soft = bool(options.get("ignore_failure"))
        if kind == "rerank" and "ml_opensearch" in options:
            fields = options.get("context", {}).get("document_fields", [])
            found.append(JudgingProcessor(options["ml_opensearch"].get("model_id", ""), tuple(fields), "", fails_soft))
        elif kind == "ml_inference" and by_field:
            inputs: Json = next(iter(options.get("input_map", [])), {})
            path = str(inputs.get("query", "")).removeprefix(_REQUEST)
            soft = fails_soft and all(other.get("ignore_failure") for other in by_field)
            found.append(JudgingProcessor(options.get("model_id", ""), (str(inputs.get("documents", "")),), path, soft))
    return found


def sample_factor(pipeline: Json) -> float:
    """Return the number of hits that the pipeline fetches, as a multiple of the page."""
    factors = [part["oversample"]["sample_factor"] for part in pipeline.get("request_processors", []) if "oversample" in part]
    return float(factors[0]) if factors else 1.0


def refuses_pages(pipeline: Json) -> bool:
    """Tell whether our script refuses later pages, and sets a size if a search has none."""
    return scripts.before_oversampling() in pipeline.get("request_processors", [])


def capped(pipeline: Json) -> bool:
    """Tell whether our script limits the window to what an index returns by default."""
    return scripts.after_oversampling(sample_factor(pipeline)) in pipeline.get("request_processors", [])


def strict(pipeline: Json) -> Json:
    """Return the pipeline with failures made visible; it can be sent inside a search body."""
    parts = [part.items() for part in pipeline["response_processors"]]
    return {
        **pipeline,
        "response_processors": [{kind: {**options, "ignore_failure": False}} for part in parts for kind, options in part],
    }
