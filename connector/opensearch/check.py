"""Test an installation with one predict call and one search, and report each fault with its cure.

A pipeline that fails soft hides its failures. So the search runs with the pipeline's own processors, set to report errors.
``connector.opensearch.deep_check`` checks for known traps. This module writes only a throw-away index, and only if the caller names no
index to search.
"""

import secrets
from collections.abc import Callable

from connector.cluster import Cluster, Refusal
from connector.facts import Facts, read_facts, require_reranking
from connector.findings import Finding
from connector.opensearch import bodies, trust
from connector.opensearch.installation import Installation, require_installation
from connector.opensearch.judging_processors import judges_of, strict
from connector.opensearch.pipelines import find_pipeline
from connector.opensearch.predict import explain, try_model
from slimrank.errors import EngineError, PipelineNotInstalled
from slimrank.scoring import PROBE_DOCUMENTS, PROBE_QUERY
from slimrank.types import Json

_FIELD = "text"


def _attempt(name: str, look: Callable[[], Finding]) -> Finding:
    try:
        return look()
    except Refusal as refusal:
        words, cure = explain(refusal)
        return Finding(name, "fault", words, cure)


def check(cluster: Cluster, *, name: str = "slimrank", pipeline: str = "", index: str = "", query: str = "") -> list[Finding]:
    """Check every part of an installation, in the order in which a search uses them.

    Args:
        index: The index to search instead of a throw-away one; then ``query`` should find something.

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
    by_field = any(judge.query_path for judge in judges_of(body or {}))
    findings = [
        Finding("cluster", "ok", f"{facts.name} with ML Commons and the rerank processor"),
        _check_trust(cluster, installation),
        _check_pipeline(facts, pipeline or name, body, installation),
        try_model(cluster, installation.model_id, by_field=by_field),
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
    judge = next(iter(judges_of(body)), None)
    if judge is None:
        return Finding("pipeline", "fault", f"the search pipeline {name!r} has no rerank processor", "run install again")
    if judge.model_id not in installation.models:
        return Finding("pipeline", "fault", f"the search pipeline {name!r} names another model", "run install again")
    if not judge.fails_soft:
        words = f"the search pipeline {name!r} fails the search when the reranker fails"
        return Finding("pipeline", "warning", words, "run install again")
    if facts.has_oversample and "request_processors" not in body:
        return Finding("pipeline", "warning", "only the page is reranked", "install with --oversample 5 to rerank more hits")
    return Finding("pipeline", "ok", f"{name} reranks {' + '.join(judge.fields)} and fails soft")


def _check_search(cluster: Cluster, pipeline: Json, index: str, query: str) -> Finding:
    judge = next(iter(judges_of(pipeline)), None)
    fields = judge.fields if judge else (_FIELD,)
    path = judge.query_path if judge else ""
    if index:
        return _search(cluster, pipeline, index, _body(query or PROBE_QUERY, fields[0], path))
    index = f"slimrank-check-{secrets.token_hex(4)}"
    try:
        for number, text in enumerate(PROBE_DOCUMENTS):
            source: Json = {}
            for field in fields:
                _merge(source, bodies.at_path(field, text))
            cluster.write("PUT", f"/{index}/_doc/{number}?refresh=true", source)
        return _search(cluster, pipeline, index, _body(PROBE_QUERY, fields[0], path))
    finally:
        _delete_quietly(cluster, index)


def _body(query: str, field: str, query_path: str) -> Json:
    return {**bodies.at_path(query_path, query), "size": 2} if query_path else bodies.search(query, field)


def _merge(target: Json, other: Json) -> None:
    for key, value in other.items():
        if isinstance(value, dict):
            _merge(target.setdefault(key, {}), value)
        else:
            target[key] = value


def _delete_quietly(cluster: Cluster, index: str) -> None:
    try:
        cluster.write("DELETE", f"/{index}")
    except EngineError:
        return  # the error of the search itself matters more


def _search(cluster: Cluster, pipeline: Json, index: str, body: Json) -> Finding:
    inline = {key: value for key, value in strict(pipeline).items() if key.endswith("processors")}
    hits = cluster.read(f"/{index}/_search", {**body, "search_pipeline": inline})["hits"]["hits"]
    if not hits:
        words = f"the search of {index} found no hits, so nothing was reranked"
        return Finding("search", "warning", words, "give a --query that finds something")
    plain = {key: value for key, value in body.items() if key != "ext"}
    first_stage = {
        hit["_id"]: hit["_score"] for hit in cluster.read(f"/{index}/_search?search_pipeline=_none", plain)["hits"]["hits"]
    }
    if all(hit["_score"] == first_stage.get(hit["_id"]) for hit in hits):
        return Finding("search", "fault", f"the hits of {index} kept their first-stage scores", "run install again")
    return Finding("search", "ok", f"{len(hits)} hits of {index} came back reranked, the best with {hits[0]['_score']:.4g}")
