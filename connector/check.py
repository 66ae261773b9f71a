"""Try a finished installation: one predict, one search, and what is wrong in words.

A pipeline that fails soft hides its failures, so the search runs once with the pipeline's own processors set to fail
loudly. Deep checks of known traps are in `deep`, whose rules are `connector.traps`. Writes nothing but a throw-away index, and only where no
index is named to search in.
"""

import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from connector import bodies, traps, trust
from connector.cluster import Cluster, Refusal
from connector.facts import Facts, read_facts, require_reranking
from connector.findings import Finding
from connector.opensearch import Installation, find_pipeline, require_installation
from connector.traps import rerank_processors
from slimrank.errors import EngineError, PipelineNotInstalled

Json = dict[str, Any]

_QUERY = "which metal does not rust"
_DOCUMENTS = ["a metal that does not rust is gold", "a letter to the editor on which metal bands are loud"]
_FIELD = "text"

# What ML Commons says, as seen on 3.5.0, what it means, and the cure.
_MEANINGS = (
    ("Connection refused", "nothing listens at the gateway's address", "start it (`slimrank serve`), or install with the right --gateway"),
    ("UnknownHost", "the cluster cannot resolve the gateway's host", "use a name that the cluster's nodes know"),
    ("Read timed out", "the gateway did not answer in time", "rerank fewer hits (--oversample), add workers, or raise --read-timeout"),
    ("Acquire operation took longer", "too many searches wait for the gateway", "add workers; raising max_connection only moves the queue"),
    ("cannot be cast to class", "the endpoint's scores are not JSON floats", "the URL is not slimrank's /v1/rerank; install with the right --gateway"),
    ("Fail to execute PREDICT", "the endpoint's answer is no reranking", "the URL is not slimrank's /v1/rerank; install with the right --gateway"),
    ("not the same length", "the endpoint answered fewer documents than it was sent", "use slimrank's /v1/rerank, which answers all"),
    ("private ip", "ML Commons will not call a private address", "run install again with --replace: the setting counts when a model is made"),
    ("not matching the trusted connector", "the cluster does not trust the gateway's address", "run install again"),
    ("Invalid URI", "the gateway's host has an underscore", "give it a name without"),
    ("Error from remote service", "the gateway answered an error", "see its words above and its log"),
    ("Failed to find model", "the pipeline names a model that is gone", "run install again"),
    ("Invalid processor type rerank", "the cluster has no rerank processor", "install the neural-search plugin"),
)  # fmt: skip


def explain(refusal: Refusal) -> tuple[str, str]:
    """Return an ML Commons error in words, and its cure."""
    for sign, meaning, cure in _MEANINGS:
        if sign in refusal.reason:
            return f"{meaning} ({refusal.reason})", cure
    return str(refusal), "look at the cluster's log"


def _attempt(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Refusal as refusal:
        words, cure = explain(refusal)
        return Finding(name, "fault", words, cure)


def check(cluster: Cluster, *, name: str = "slimrank", pipeline: str = "", index: str = "", query: str = "") -> list[Finding]:
    """Look at every part of an installation, in the order in which a search meets them.

    Args:
        index: search in this index instead of a throw-away one; then `query` should find something.

    Raises:
        EngineUnavailable: the cluster does not answer at all.
    """
    try:
        facts = read_facts(cluster)
        require_reranking(facts)
        installation = require_installation(cluster, name)
    except PipelineNotInstalled as error:
        return [Finding("cluster", "fault", str(error))]
    body = find_pipeline(cluster, pipeline or name)
    findings = [
        Finding("cluster", "ok", f"{facts.name} with ML Commons and the rerank processor"),
        _check_trust(cluster, installation),
        _check_pipeline(facts, pipeline or name, body, installation),
        _attempt("predict", lambda: _check_predict(cluster, next(iter(installation.models)))),
    ]
    if body is not None:
        findings.append(_attempt("search", lambda: _check_search(cluster, body, index, query)))
    return findings


def _check_trust(cluster: Cluster, installation: Installation) -> Finding:
    if trust.trusts(cluster, installation.url):
        return Finding("settings", "ok", f"{installation.url} is trusted")
    return Finding("settings", "fault", f"{installation.url} matches none of {bodies.TRUSTED}", "run install again")


def _check_pipeline(facts: Facts, name: str, body: Json | None, installation: Installation) -> Finding:
    if body is None:
        return Finding("pipeline", "fault", f"there is no search pipeline {name!r}", "run install again")
    processors = rerank_processors(body)
    if not processors:
        return Finding("pipeline", "fault", f"the search pipeline {name!r} has no rerank processor", "run install again")
    if processors[0]["ml_opensearch"]["model_id"] not in installation.models:
        return Finding("pipeline", "fault", f"the search pipeline {name!r} names another model", "run install again")
    if not processors[0].get("ignore_failure"):
        return Finding(
            "pipeline", "warning", f"the search pipeline {name!r} fails the search when the reranker fails", "run install again"
        )
    if facts.has_oversample and "request_processors" not in body:
        return Finding("pipeline", "warning", "only the page is reranked", "install with --oversample 5 to rerank a wider window")
    return Finding("pipeline", "ok", f"{name} reranks {' + '.join(processors[0]['context']['document_fields'])} and fails soft")


def _check_predict(cluster: Cluster, model_id: str) -> Finding:
    answer = cluster.read(f"/_plugins/_ml/_predict/text_similarity/{model_id}", bodies.predict(_QUERY, _DOCUMENTS))
    outputs = [tensor for result in answer.get("inference_results", []) for tensor in result.get("output", [])]
    scores = [value for tensor in outputs for value in tensor.get("data", [])]
    if len(scores) != len(_DOCUMENTS) or not all(isinstance(score, int | float) and math.isfinite(score) for score in scores):
        return Finding("predict", "fault", f"two documents were sent and the scores {scores} came back", "see the gateway's log")
    if max(scores) <= bodies.DEGRADED:
        words = "the gateway answers, but could not score: it gave the first stage's order back"
        return Finding("predict", "fault", words, "see the gateway's /readyz and log; is a worker up?")
    return Finding("predict", "ok", f"two documents scored {scores[0]:.4g} and {scores[1]:.4g}")


def strict(pipeline: Json) -> Json:
    """Return the pipeline set to fail loudly, to be sent within a search body."""
    loud = [
        {kind: {**options, "ignore_failure": False}} for part in pipeline["response_processors"] for kind, options in part.items()
    ]
    return {**pipeline, "response_processors": loud}


def _check_search(cluster: Cluster, pipeline: Json, index: str, query: str) -> Finding:
    fields = rerank_processors(pipeline)[0]["context"]["document_fields"] if rerank_processors(pipeline) else [_FIELD]
    if index:
        return _search(cluster, pipeline, index, query or _QUERY, fields[0])
    index = f"slimrank-check-{secrets.token_hex(4)}"
    try:
        for number, text in enumerate(_DOCUMENTS):
            source: Json = {}
            for field in fields:
                _set_path(source, field, text)
            cluster.write("PUT", f"/{index}/_doc/{number}?refresh=true", source)
        return _search(cluster, pipeline, index, _QUERY, fields[0])
    finally:
        _delete_quietly(cluster, index)


def _set_path(source: Json, path: str, value: str) -> None:
    *parents, last = path.split(".")
    for parent in parents:
        source = source.setdefault(parent, {})
    source[last] = value


def _delete_quietly(cluster: Cluster, index: str) -> None:
    try:
        cluster.write("DELETE", f"/{index}")
    except EngineError:
        return  # the search's own error is the one worth telling


def _search(cluster: Cluster, pipeline: Json, index: str, query: str, field: str) -> Finding:
    inline = {key: value for key, value in strict(pipeline).items() if key.endswith("processors")}
    body = {**bodies.search(query, field), "search_pipeline": inline}
    hits = cluster.read(f"/{index}/_search", body)["hits"]["hits"]
    if not hits:
        return Finding(
            "search", "warning", f"{query!r} finds nothing in {field} of {index}, so nothing was reranked", "give another --query"
        )
    plain = cluster.read(f"/{index}/_search?search_pipeline=_none", {key: body[key] for key in ("query", "size")})["hits"]["hits"]
    first_stage = {hit["_id"]: hit["_score"] for hit in plain}
    if all(hit["_score"] == first_stage.get(hit["_id"]) for hit in hits):
        return Finding(
            "search",
            "fault",
            f"the hits of {index} kept their first-stage scores",
            "run install again",
        )
    return Finding("search", "ok", f"{len(hits)} hits of {index} came back reranked, the best with {hits[0]['_score']:.4g}")


def deep(
    cluster: Cluster,
    *,
    name: str = "slimrank",
    pipeline: str = "",
    index: str = "",
    searches: Sequence[Json] = (),
    is_msearch: bool = False,
) -> list[Finding]:
    """Look for every known trap in an installation, an index and sample searches; an empty list means none.

    Args:
        index: look at this index's mapping and settings too.
        searches: bodies to be sent through the pipeline, or the lines of an _msearch.
    """
    facts = read_facts(cluster)
    installation = require_installation(cluster, name)
    body = find_pipeline(cluster, pipeline or name) or {}
    found = traps.pipeline_traps(facts, body)
    found += traps.connector_traps(cluster.read(f"/_plugins/_ml/connectors/{installation.connector_id}"))
    for model_id in installation.models:
        found += traps.model_traps(cluster.read(f"/_plugins/_ml/models/{model_id}"))
        found += _try_json_query(cluster, model_id)
    if index:
        found += _look_at_index(cluster, index, body)
    bodies_sent = list(searches)[1::2] if is_msearch else list(searches)
    found += traps.msearch_traps(list(searches)) if is_msearch else []
    for search in bodies_sent:
        found += traps.body_traps(search, body)
    return found


def _try_json_query(cluster: Cluster, model_id: str) -> list[Finding]:
    try:
        cluster.read(f"/_plugins/_ml/_predict/text_similarity/{model_id}", bodies.predict('["error"]', _DOCUMENTS))
    except Refusal:
        words = 'a query that is itself a JSON list or object, such as ["error"], is refused by ML Commons and not reranked'
        return [Finding("query that is JSON", "warning", words, "put a word before it in the application")]
    return []


def _look_at_index(cluster: Cluster, index: str, pipeline: Json) -> list[Finding]:
    found = []
    mappings = cluster.read(f"/{index}/_mapping")
    settings = cluster.read(f"/{index}/_settings/index.*?flat_settings=true")
    for name, body in mappings.items():  # an alias or a pattern may be several
        flat = settings.get(name, {}).get("settings", {})
        default = flat.get("index.search.default_pipeline")
        default = default if default not in (None, "_none") else None
        found += traps.index_traps(name, body.get("mappings", {}), flat, pipeline, default)
    return found
