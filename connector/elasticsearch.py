"""Install slimrank into Elasticsearch as an inference endpoint, for the `text_similarity_reranker` retriever.

Makes one `custom` rerank endpoint that calls the gateway, and removes it again; a `hugging_face` one where a build has no
`custom`, which was behind a feature flag at first. Both the endpoint and the retriever are Elastic's licensed features
(Enterprise, or the 30-day trial): on any other licence this stops and names the ways that need none,
`connector.client.rerank_search` and `slimrank proxy`.

Endpoint ids are the only names here, so an endpoint that calls another address than a reranker's is never touched.
"""

import json
from dataclasses import dataclass
from dataclasses import replace as _with
from typing import Any

from connector.bodies import require_name, rerank_url
from connector.cluster import Cluster, Refusal
from connector.facts import Facts, read_facts
from connector.findings import Finding
from connector.record import key_check
from connector.rerank_plan import DEFAULT_WINDOW
from slimrank.errors import ConfigError, EngineRefused, PipelineNotInstalled

Json = dict[str, Any]

CUSTOM_SINCE = {8: (8, 19), 9: (9, 1)}
"""Release line -> the first version with the `custom` service."""
_KEY_HEADER = "X-Slimrank-Key-Check"
"""Elasticsearch shows no secret, so a changed key is seen by three digits in a header that means nothing to the gateway."""
_NO_KEY = "none"
_LICENSED = {"enterprise", "trial"}
_ELSEWHERE = "rerank without a licence: connector.client.rerank_search in Python, or `slimrank proxy` in front of the cluster"
_OUR_PATHS = {"custom": "/rerank", "hugging_face": "/v1/rerank"}
"""Service -> how the address of an endpoint of ours ends; other people's servers behind hugging_face have /rerank."""
_QUERY = "which metal does not rust"
_DOCUMENTS = ["a metal that does not rust is gold", "a letter to the editor on which metal bands are loud"]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to install.

    Attributes:
        api_key: of the gateway; None keeps what is there.
        deadline_ms: how long the gateway may take before the first stage answers.
        first_stage_order: whether every search asks one shard, whose hits come in the first stage's order; the hits of
            several shards come shard by shard. None looks: it is so where no index has more than one.
    """

    gateway: str
    name: str = "slimrank"
    model: str = ""
    api_key: str | None = None
    deadline_ms: int = 5000
    first_stage_order: bool | None = None


def endpoint(plan: Plan, *, request_as_object: bool = False) -> Json:
    """Return the body of PUT /_inference/rerank/NAME.

    Raw scores: Elasticsearch maps a score s to max(s, 0) + min(exp(s), 1), which keeps their order, while probabilities
    would tie in 32 bits. No `on_failure`: a refusal is what lets the retriever fall back.

    Args:
        request_as_object: the form of `request` that the typed specification has, for versions that refuse a string.
    """
    model = f'"model": {json.dumps(plan.model)}, ' if plan.model else ""
    order = '"first_stage_order": true, ' if plan.first_stage_order else ""
    options = f'{model}"raw_scores": true, {order}"deadline_ms": {plan.deadline_ms}'
    request = '{"documents": ${input}, "query": ${query}, ' + options + "}"
    url = rerank_url(plan.gateway)
    check = {} if plan.api_key in (None, _NO_KEY) else {_KEY_HEADER: key_check(url, plan.api_key)}
    return {
        "service": "custom",
        "service_settings": {
            "secret_parameters": {"api_key": plan.api_key or _NO_KEY},
            "url": url,
            "headers": {"Authorization": "Bearer ${api_key}", "Content-Type": "application/json", **check},
            "request": {"content": request} if request_as_object else request,
            "response": {
                "json_parser": {"reranked_index": "$.results[*].index", "relevance_score": "$.results[*].relevance_score"}
            },
        },
    }


def plain_endpoint(plan: Plan) -> Json:
    """Return the body for a cluster without `custom`: the `hugging_face` service, which calls any URL.

    It sends query and texts alone, so probabilities come back, no deadline is kept but Elasticsearch's own, the gateway's
    default model answers, and the order of the hits is not said.
    """
    return {"service": "hugging_face", "service_settings": {"api_key": plan.api_key or _NO_KEY, "url": rerank_url(plan.gateway)}}


def search(query: str, field: str, *, name: str = "slimrank", size: int = 10, rank_window_size: int = DEFAULT_WINDOW) -> Json:
    """Return a search whose hits the endpoint reranks, with the first stage's order where it cannot."""
    return {
        "retriever": {
            "text_similarity_reranker": {
                "retriever": {"standard": {"query": {"match": {field: query}}}},
                "field": field,
                "inference_id": name,
                "inference_text": query,
                "rank_window_size": max(rank_window_size, size),
                "allow_rerank_failures": True,
            }
        },
        "size": size,
    }


def require_inference(cluster: Cluster) -> Facts:
    """Make sure that this cluster has the service and the licence.

    Raises:
        PipelineNotInstalled: it has not; the message says what is missing and what else to do.
    """
    facts = read_facts(cluster)
    if facts.distribution == "opensearch":
        raise PipelineNotInstalled(f"this is {facts.name}; use `slimrank connect opensearch`")
    first = CUSTOM_SINCE.get(facts.version[0], CUSTOM_SINCE[9])
    if facts.version < first:
        raise PipelineNotInstalled(
            f"this is {facts.name}; an endpoint of one's own came with 8.19 and 9.1, so upgrade, or {_ELSEWHERE}"
        )
    licence = _licence(cluster)
    if licence not in _LICENSED:
        raise PipelineNotInstalled(
            f"this {facts.name} has {licence or 'no'} licence; Elastic asks for Enterprise, or the 30-day trial "
            f"(POST /_license/start_trial?acknowledge=true), for inference endpoints and the retriever. Or {_ELSEWHERE}"
        )
    return facts


def _licence(cluster: Cluster) -> str:
    try:
        licence = cluster.read("/_license").get("license", {})
    except Refusal:  # a build without x-pack knows no licences
        return ""
    return str(licence.get("type", "")) if licence.get("status") == "active" else f"an {licence.get('status')}"


def find_endpoint(cluster: Cluster, name: str) -> Json | None:
    """Return an endpoint as the cluster has it, without its secrets, or None."""
    found = cluster.find(f"/_inference/rerank/{name}")
    return next(iter(found.get("endpoints", [])), None) if found else None


def _endpoint_of_ours(cluster: Cluster, name: str) -> Json | None:
    found = find_endpoint(cluster, name)
    url = str((found or {}).get("service_settings", {}).get("url", ""))
    if found is not None and not url.endswith(_OUR_PATHS.get(str(found.get("service")), "nowhere")):
        raise EngineRefused(f"the inference endpoint {name!r} exists and was not made by slimrank; choose another --name")
    return found


def _same(found: Json, wanted: Json) -> bool:
    """Compare what the cluster shows of its settings; it adds defaults, and hides secrets."""
    shown = found.get("service_settings", {})
    compared = [item for item in wanted["service_settings"].items() if item[0] not in ("secret_parameters", "api_key")]
    return found.get("service") == wanted["service"] and all(_plain(shown.get(key)) == _plain(value) for key, value in compared)


def _plain(value: Any) -> Any:
    return value["content"] if isinstance(value, dict) and set(value) == {"content"} else value


def install(cluster: Cluster, plan: Plan, *, replace: bool = False) -> list[str]:
    """Make the endpoint, or bring it up to date; return what was done, a line each.

    Raises:
        PipelineNotInstalled: the cluster lacks the service or the licence.
        ConfigError: the key is missing that the present endpoint sends.
        EngineRefused: the name is taken, or the cluster refused; it calls the gateway once to see that it works.
    """
    require_name(plan.name)
    rerank_url(plan.gateway)
    require_inference(cluster)
    if plan.first_stage_order is None:
        plan = _with(plan, first_stage_order=not _has_large_indices(cluster))
    found = _endpoint_of_ours(cluster, plan.name)
    if found is not None and not replace:
        if found["service"] == "hugging_face" and _same(found, plain_endpoint(plan)):
            return [f"inference endpoint {plan.name}: as wanted (a hugging_face one; --replace after a change of key)"]
        if _same(_with_key_of(found, plan), endpoint(plan)):
            return [f"inference endpoint {plan.name}: as wanted"]
    _require_key(found, plan)
    if found is not None:  # the old one goes only when a new one was seen to work
        _put(cluster, f"{plan.name}-trial", plan)
        cluster.write("DELETE", f"/_inference/rerank/{plan.name}-trial")
        cluster.write("DELETE", f"/_inference/rerank/{plan.name}")
    if _put(cluster, plan.name, plan) == "hugging_face":
        return [
            f"inference endpoint {plan.name}: calls {rerank_url(plan.gateway)} as hugging_face, since there is no custom here"
        ]
    order = "with" if plan.first_stage_order else "without (hits of several shards do not come in it)"
    return [f"inference endpoint {plan.name}: calls {rerank_url(plan.gateway)}, {order} the first stage's order"]


def _require_key(found: Json | None, plan: Plan) -> None:
    """Make sure that an endpoint with a key is not replaced by one without.

    Raises:
        ConfigError: it would be; Elasticsearch shows no key again that it was given.
    """
    headers = (found or {}).get("service_settings", {}).get("headers")
    if plan.api_key is None and isinstance(headers, dict) and _KEY_HEADER in headers:
        raise ConfigError(
            f"the inference endpoint {plan.name!r} sends a key to the gateway, which Elasticsearch does not show again, and must be made "
            f"anew; give the key again with --api-key, or --api-key {_NO_KEY} if the gateway asks for none now"
        )


def _with_key_of(found: Json, plan: Plan) -> Json:
    """Return an endpoint as it is compared: a key that is not given again counts as unchanged."""
    settings = found["service_settings"]
    if plan.api_key is not None or not isinstance(settings.get("headers"), dict):
        return found
    headers = {name: value for name, value in settings["headers"].items() if name != _KEY_HEADER}
    return {**found, "service_settings": {**settings, "headers": headers}}


def _put(cluster: Cluster, name: str, plan: Plan) -> str:
    """Make an endpoint in the first form that this version takes; return its service.

    Raises:
        Refusal: it takes none, or the gateway did not answer its first call.
    """
    path = f"/_inference/rerank/{name}"
    body = endpoint(plan)
    try:
        cluster.write("PUT", path, body)
    except Refusal as refusal:
        if refusal.status != 400:
            raise
        if "service [custom]" in refusal.reason:
            body = plain_endpoint(plan)
        elif "request" in refusal.reason:
            body = endpoint(plan, request_as_object=True)
        else:
            raise
        cluster.write("PUT", path, body)
    return str(body["service"])


def _has_large_indices(cluster: Cluster) -> bool:
    """Tell whether any index has several shards, or may have: Elasticsearch sends their hits to an endpoint shard by shard."""
    try:
        return any(count > 1 for count in _shards(cluster, "_all"))
    except Refusal:  # not allowed to look
        return True


def _has_several_shards(cluster: Cluster, index: str) -> bool:
    """Tell whether a search of `index`, which may be an alias or a pattern, asks more than one shard."""
    try:
        return sum(_shards(cluster, index)) > 1
    except Refusal:
        return False  # the search's own finding says what is wrong


def _shards(cluster: Cluster, index: str) -> list[int]:
    answer = cluster.read(f"/{index}/_settings/index.number_of_shards?flat_settings=true&expand_wildcards=open")
    return [int(body["settings"].get("index.number_of_shards", 1)) for body in answer.values() if isinstance(body, dict)]


def remove(cluster: Cluster, *, name: str = "slimrank") -> list[str]:
    """Remove the endpoint; return what was done."""
    if _endpoint_of_ours(cluster, name) is None:
        return [f"there is no inference endpoint {name!r}"]
    cluster.write("DELETE", f"/_inference/rerank/{name}")
    return [f"removed the inference endpoint {name}"]


def check(cluster: Cluster, *, name: str = "slimrank", index: str = "", field: str = "", query: str = "") -> list[Finding]:
    """Look at licence, endpoint and one call of it; and at one search, where an index and a field are named."""
    try:
        facts = require_inference(cluster)
    except PipelineNotInstalled as error:
        return [Finding("cluster", "fault", str(error))]
    findings = [Finding("cluster", "ok", f"{facts.name} with a licence for inference")]
    endpoint_found = find_endpoint(cluster, name)
    if endpoint_found is None:
        return [
            *findings,
            Finding(
                "endpoint", "fault", f"there is no inference endpoint {name!r}", "run `slimrank connect elasticsearch install`"
            ),
        ]
    findings.append(_check_call(cluster, name))
    if index and '"first_stage_order": true' in str(_plain(endpoint_found.get("service_settings", {}).get("request"))):
        findings += _check_order(cluster, index)
    if index and field:
        findings.append(_check_search(cluster, name, index, field, query or _QUERY))
    return findings


def _check_order(cluster: Cluster, index: str) -> list[Finding]:
    if not _has_several_shards(cluster, index):
        return []
    words = (
        f"a search of {index} asks several shards, whose hits do not come in the first stage's order, but the endpoint says so"
    )
    return [Finding("first stage", "fault", words, "run install with --no-first-stage-order")]


def _check_call(cluster: Cluster, name: str) -> Finding:
    try:
        answer = cluster.read(f"/_inference/rerank/{name}", {"query": _QUERY, "input": _DOCUMENTS})
    except Refusal as refusal:
        return Finding(
            "endpoint",
            "fault",
            f"a call of the endpoint failed: {refusal.reason}",
            "is the gateway up, and its address the nodes' own?",
        )
    scores = {entry["index"]: entry["relevance_score"] for entry in answer.get("rerank", [])}
    if sorted(scores) != list(range(len(_DOCUMENTS))):
        return Finding(
            "endpoint", "fault", f"two documents were sent and {scores} came back", "the URL is not slimrank's /v1/rerank"
        )
    return Finding("endpoint", "ok", f"two documents scored {scores[0]:.4g} and {scores[1]:.4g}")


def _check_search(cluster: Cluster, name: str, index: str, field: str, query: str) -> Finding:
    body = search(query, field, name=name)
    body["retriever"]["text_similarity_reranker"]["allow_rerank_failures"] = False
    try:
        hits = cluster.read(f"/{index}/_search", body)["hits"]["hits"]
    except Refusal as refusal:
        return Finding(
            "search", "fault", f"a reranked search of {index} failed: {refusal.reason}", "see the endpoint's finding above"
        )
    if not hits:
        return Finding("search", "warning", f"{query!r} finds nothing in {field} of {index}", "give another --query")
    return Finding("search", "ok", f"{len(hits)} hits of {index} came back reranked, the best with {hits[0]['_score']:.4g}")
