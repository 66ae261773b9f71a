"""The bodies that OpenSearch is sent: pure functions, kept equal to the contract files of the tests.

Shapes: OpenSearch's ML Commons remote connectors, and the neural-search rerank processor.
"""

import re
from typing import Any
from urllib.parse import urlsplit

from connector import scripts
from connector.urls import require_url
from slimrank.errors import ConfigError

Json = dict[str, Any]

CONNECTION_TIMEOUT_SECONDS = 2
READ_TIMEOUT_SECONDS = 5
"""Whole seconds: ML Commons knows no smaller unit, and without these two it waits for hours."""
MAX_CONNECTIONS = 300
"""Searches of one node that may wait for the gateway at a time. One more waits up to 10 s for a connection, which no setting of a
connector shortens, before its read timeout begins; so there are more than a node has searches, and the gateway does the queueing."""
TRUSTED = "plugins.ml_commons.trusted_connector_endpoints_regex"
TRUSTED_PRIVATE = "plugins.ml_commons.trusted_connector_private_endpoints_regex"
PRIVATE_IP = "plugins.ml_commons.connector.private_ip_enabled"

# Raw scores, since the engine keeps 32 bits of a score and probabilities near 1 would tie. The hits of one call are in
# first-stage order, from the first on. A gateway that cannot score in time answers the first stage's order in a band of its
# own, from DEGRADED down, so that a hit shows it; the pipeline's ignore_failure catches the rest, silently.
_OPTIONS: Json = {"raw_scores": True, "first_stage_order": True, "on_failure": "first_stage"}
SCORE_FIELD = "slimrank_score"
SCORED_FIELD = "slimrank_scored"
"""Stays on each hit: how many of the hits that were fetched the gateway scored in time."""
DEGRADED = -1000.0
_RESERVE_MILLISECONDS = 500  # of the read timeout, for the way back


def rerank_url(gateway: str) -> str:
    """Return the address the engine calls, of a gateway given with or without its path.

    Raises:
        ConfigError: not an http(s) URL, or a host with an underscore, which Java's URI parser takes for none.
    """
    require_url(gateway, "asked to use the gateway", "http://slimrank:8080")
    parts = urlsplit(gateway)
    if "_" in (parts.hostname or ""):
        raise ConfigError(
            f"the gateway's host {parts.hostname!r} has an underscore, which OpenSearch cannot call (it finds no host in the URL); "
            "give it a name without, for example a network alias with a hyphen"
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/rerank') else path + '/v1/rerank'}"


def require_name(name: str) -> str:
    """Return `name` if OpenSearch takes it for a connector, a model and a pipeline.

    Raises:
        ConfigError: it does not.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,100}", name):
        raise ConfigError(f"asked for the name {name!r}; use lower-case letters, digits, - and _, such as slimrank")
    return name


def trusted_regex(url: str) -> str:
    """Return the regular expression that trusts the server of `url` and no other."""
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
    """Return the body of POST /_plugins/_ml/connectors/_create; without a model the gateway uses its default one.

    Args:
        by_field: for the ml_inference processor, which needs the answer as it is.
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
        # ml_inference's own parameters reach a script only where this says so
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
    """Return the gateway's time, of what the cluster waits for it."""
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
        oversample: how many times the request's size is fetched and reranked; 1 leaves the two processors out.
        has_oversample: whether the cluster knows oversample and truncate_hits.
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
    """Return the processors that widen the window, and keep it right."""
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
    """Return the body of a pipeline that needs no `ext` and keeps the first-stage score, as `previous_score`.

    Args:
        field: the one field to judge; ml_inference passes its values of all hits in one call.
        query_path: where every search has its text, such as query.match.title.query.
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
    """Return a search body with a text at a dotted path."""
    *parents, last = path.split(".")
    body: Json = {}
    inner = body
    for name in parents:
        inner = inner.setdefault(name, {})
    inner[last] = text
    return body


def search(query: str, field: str, *, size: int = 2) -> Json:
    """Return a search body that the pipeline can rerank: the query, and its text again under `ext`."""
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
