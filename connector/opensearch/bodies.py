"""The request bodies that slimrank sends to OpenSearch. Pure functions; tests compare their results with contract files.

Shapes: OpenSearch's ML Commons remote connectors, and the neural-search rerank processor.
"""

import re
from urllib.parse import urlsplit

from connector.opensearch import scripts
from slimrank.types import Json

CONNECTION_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
"""In whole seconds, the smallest unit of ML Commons. Without these two timeouts ML Commons waits for hours."""
MAX_CONNECTIONS = 300
"""How many searches of one node may wait for the gateway at the same time. A further search waits up to 10 s for a connection
before its read timeout begins, and no connector setting shortens that wait. So this limit is higher than the number of searches
that a node runs, and the gateway does the queueing."""
TRUSTED = "plugins.ml_commons.trusted_connector_endpoints_regex"
TRUSTED_PRIVATE = "plugins.ml_commons.trusted_connector_private_endpoints_regex"
PRIVATE_IP = "plugins.ml_commons.connector.private_ip_enabled"

# Raw scores: the engine keeps 32 bits of a score, so probabilities near 1 would tie. The hits of one call are in first-stage
# order and begin with the first hit. A gateway that cannot score in time answers the first-stage order with scores from UNSCORED
# down, so that each hit shows it. The pipeline's ignore_failure catches all other failures silently.
_OPTIONS: Json = {"raw_scores": True, "first_stage_order": True, "on_failure": "first_stage"}
SCORE_FIELD = "slimrank_score"
SCORED_FIELD = "slimrank_scored"
"""Field that is added to each hit: how many of the fetched hits the gateway scored in time."""
_RESERVE_MILLISECONDS = 500  # part of the read timeout that is kept for sending the answer back


def trusted_regex(url: str) -> str:
    """Return a regular expression that matches the server of ``url`` and no other server."""
    parts = urlsplit(url)
    return "^" + re.escape(f"{parts.scheme}://{parts.netloc}/").replace(r"\-", "-") + ".*$"


def connector(
    name: str,
    url: str,
    *,
    model: str,
    api_key: str,
    description: str,
    read_timeout_seconds: int = READ_TIMEOUT_SECONDS,
    by_field: bool = False,
) -> Json:
    """Return the body of POST /_plugins/_ml/connectors/_create; without a model, the gateway uses its default model.

    Args:
        by_field: Whether the connector is for the ml_inference processor, which needs the answer unchanged.
    """
    options = {
        **({"model": model} if model else {}),
        **_OPTIONS,
        "deadline_ms": read_timeout_seconds * 1000 - _RESERVE_MILLISECONDS,
    }
    script = scripts.request_script(options, by_field=by_field)
    return {
        "name": name,
        "description": description,
        "version": "1",
        "protocol": "http",
        # without this setting, the parameters of ml_inference do not reach a script
        "parameters": {"pre_process_function.process_remote_inference_input": "true"} if by_field else {},
        "credential": {"api_key": api_key},
        "client_config": {
            "max_connection": MAX_CONNECTIONS,
            "connection_timeout": CONNECTION_TIMEOUT_SECONDS,
            "read_timeout": read_timeout_seconds,
        },
        "actions": [
            {
                "action_type": "predict",
                "method": "POST",
                "url": url,
                "headers": {"Authorization": "Bearer ${credential.api_key}", "Content-Type": "application/json"},
                "request_body": scripts.REQUEST_BODY,
                "pre_process_function": script,
            }
            | ({} if by_field else {"post_process_function": "connector.post_process.cohere.rerank"})
        ],
    }


def deadline_ms(read_timeout_seconds: int) -> int:
    """Return the gateway's deadline, which is shorter than the cluster's read timeout."""
    return read_timeout_seconds * 1000 - _RESERVE_MILLISECONDS


def model(name: str, connector_id: str, *, description: str) -> Json:
    """Return the body of POST /_plugins/_ml/models/_register."""
    return {"name": name, "function_name": "remote", "description": description, "connector_id": connector_id}


def pipeline(
    model_id: str,
    *,
    fields: list[str],
    oversample: float,
    description: str,
    ignore_failure: bool = True,
    has_oversample: bool = True,
) -> Json:
    """Return the body of PUT /_search/pipeline/NAME.

    Args:
        oversample: The number of hits to fetch and rerank, as a multiple of the request's size; 1 leaves the two processors out.
        has_oversample: Whether the cluster has the processors oversample and truncate_hits.
    """
    rerank = {
        "rerank": {
            "tag": "slimrank",
            "ml_opensearch": {"model_id": model_id},
            "context": {"document_fields": fields},
            "ignore_failure": ignore_failure,
        }
    }
    return _with_window([rerank], oversample if has_oversample else 1, description)


def _with_window(processors: list[Json], oversample: float, description: str) -> Json:
    body: Json = {"description": description, "response_processors": processors}
    if oversample > 1:
        body["request_processors"] = oversampling(oversample)
        body["response_processors"] = [*processors, {"truncate_hits": {"tag": "slimrank"}}]
    return body


def oversampling(factor: float) -> list[Json]:
    """Return the processors that widen the window, and those that keep it within its limits."""
    window = {"oversample": {"tag": "slimrank", "sample_factor": factor}}
    return [scripts.before_oversampling(), window, scripts.after_oversampling(factor)]


def by_field_pipeline(
    model_id: str,
    *,
    field: str,
    query_path: str,
    oversample: float,
    description: str,
    ignore_failure: bool = True,
    has_oversample: bool = True,
) -> Json:
    """Return the body of a pipeline that needs no ``ext`` and keeps the first-stage score as ``previous_score``.

    Args:
        field: The field to judge; ml_inference sends the field's values of all hits in one call.
        query_path: The path of the query text in every search, such as query.match.title.query.
    """
    inference = {
        "ml_inference": {
            "tag": "slimrank",
            "model_id": model_id,
            "function_name": "REMOTE",
            "model_config": {},
            "input_map": [{"documents": field, "query": f"$._request.{query_path}"}],
            "output_map": [{SCORE_FIELD: "scores[*]", SCORED_FIELD: "meta.scored_documents"}],
            "full_response_path": False,
            "one_to_one": False,
            "override": True,
            "ignore_missing": False,
            "ignore_failure": ignore_failure,
        }
    }
    by_field = {"target_field": SCORE_FIELD, "remove_target_field": True, "keep_previous_score": True}
    rerank = {"rerank": {"tag": "slimrank", "by_field": by_field, "ignore_failure": ignore_failure}}
    return _with_window([inference, rerank], oversample if has_oversample else 1, description)


def at_path(path: str, text: str) -> Json:
    """Return a search body that has the text at a dotted path."""
    *parents, last = path.split(".")
    body: Json = {}
    inner = body
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = text
    return body


def search(query: str, field: str, *, size: int = 2) -> Json:
    """Return a search body that the pipeline can rerank: the query, and the query's text again under ``ext``."""
    return {
        "query": {"match": {field: {"query": query}}},
        "size": size,
        "ext": {"rerank": {"query_context": {"query_text": query}}},
    }


def by_field_predict(query: str, documents: list[str]) -> Json:
    """Return the body of POST /_plugins/_ml/models/MODEL_ID/_predict for a connector made for ml_inference."""
    return {"parameters": {"query": query, "documents": documents}}


def predict(query: str, documents: list[str]) -> Json:
    """Return the body of POST /_plugins/_ml/_predict/text_similarity/MODEL_ID."""
    return {"query_text": query, "text_docs": documents}
