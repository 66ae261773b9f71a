"""Install slimrank into Elasticsearch as an inference endpoint, for the ``text_similarity_reranker`` retriever.

Creates one ``custom`` rerank endpoint that calls the gateway, and removes it again. In builds without ``custom``, which was
behind a feature flag at first, it creates a ``hugging_face`` endpoint. Endpoint and retriever are licensed features of Elastic
(Enterprise, or the 30-day trial). With another licence the installer stops and names the two ways that need no licence:
``connector.client.rerank_search`` and ``slimrank proxy``.

An endpoint carries no mark of who created it. So the installer never changes an endpoint whose URL is not a reranker's.
"""

import json
from dataclasses import dataclass
from dataclasses import replace as _with
from typing import Any

from connector.cluster import Cluster, Refusal
from connector.facts import Facts, read_facts
from connector.installing import key_check, require_name, rerank_url
from connector.rerank_plan import DEFAULT_WINDOW
from slimrank.errors import ConfigError, EngineRefused, PipelineNotInstalled
from slimrank.types import Json

CUSTOM_SINCE = {8: (8, 19), 9: (9, 1)}
"""Release line -> the first version with the ``custom`` service."""
_KEY_HEADER = "X-Slimrank-Key-Check"
"""Elasticsearch does not show secrets. So three digits in this header, which the gateway ignores, show that a key has changed."""
_NO_KEY = "none"
_LICENSED = {"enterprise", "trial"}
_ELSEWHERE = "rerank without a licence: connector.client.rerank_search in Python, or `slimrank proxy` in front of the cluster"
_OUR_PATHS = {"custom": "/rerank", "hugging_face": "/v1/rerank"}
"""Service -> the end of the URL of our endpoints; other servers behind hugging_face end with /rerank."""


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What to install.

    Attributes:
        api_key: The gateway's key; None keeps the present key.
        deadline_ms: How long the gateway may take; after that the search returns the first-stage order.
        first_stage_order: Whether every search asks one shard only, so that hits arrive in first-stage order; the hits of several
            shards arrive shard by shard. None finds it out: true if no index has more than one shard.
    """

    gateway: str
    name: str = "slimrank"
    model: str = ""
    api_key: str | None = None
    deadline_ms: int = 5000
    first_stage_order: bool | None = None


def endpoint(plan: InstallPlan, *, request_as_object: bool = False) -> Json:
    """Return the body of PUT /_inference/rerank/NAME.

    It asks for raw scores: Elasticsearch maps a score s to max(s, 0) + min(exp(s), 1), which keeps the order, while probabilities
    would tie in 32 bits. It sets no ``on_failure``, because the retriever falls back only if the gateway refuses.

    Args:
        request_as_object: Send ``request`` as an object, as in the typed specification, for versions that refuse a string.
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


def plain_endpoint(plan: InstallPlan) -> Json:
    """Return the body for a cluster without ``custom``: it uses the ``hugging_face`` service, which can call any URL.

    This service sends only the query and the texts. So the gateway answers probabilities with its default model, does not know
    that the hits are in first-stage order, and has no deadline; only Elasticsearch's own timeout applies.
    """
    return {"service": "hugging_face", "service_settings": {"api_key": plan.api_key or _NO_KEY, "url": rerank_url(plan.gateway)}}


def search(query: str, field: str, *, name: str = "slimrank", size: int = 10, rank_window_size: int = DEFAULT_WINDOW) -> Json:
    """Return a search that the endpoint reranks; if the endpoint fails, the search returns the first-stage order."""
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
        PipelineNotInstalled: one of them is missing; the message names it and the alternatives.
    """
    facts = read_facts(cluster)
    if facts.distribution == "opensearch":
        raise PipelineNotInstalled(f"this is {facts.name}; use `slimrank connect opensearch`")
    first = CUSTOM_SINCE.get(facts.version[0], CUSTOM_SINCE[9])
    if facts.version < first:
        raise PipelineNotInstalled(f"this is {facts.name}; custom endpoints came with 8.19 and 9.1, so upgrade, or {_ELSEWHERE}")
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
    except Refusal:  # a build without x-pack has no licences
        return ""
    return str(licence.get("type", "")) if licence.get("status") == "active" else f"an {licence.get('status')}"


def find_endpoint(cluster: Cluster, name: str) -> Json | None:
    """Return an endpoint as the cluster shows it, without its secrets; None if there is none."""
    found = cluster.find(f"/_inference/rerank/{name}")
    return next(iter(found.get("endpoints", [])), None) if found else None


def _endpoint_of_ours(cluster: Cluster, name: str) -> Json | None:
    found = find_endpoint(cluster, name)
    url = str((found or {}).get("service_settings", {}).get("url", ""))
    if found is not None and not url.endswith(_OUR_PATHS.get(str(found.get("service")), "nowhere")):
        raise EngineRefused(f"the inference endpoint {name!r} exists and was not made by slimrank; choose another --name")
    return found


def _same(found: Json, wanted: Json) -> bool:
    """Compare the settings that the cluster shows; the cluster adds defaults and hides secrets."""
    shown = found.get("service_settings", {})
    compared = [item for item in wanted["service_settings"].items() if item[0] not in ("secret_parameters", "api_key")]
    return found.get("service") == wanted["service"] and all(plain(shown.get(key)) == plain(value) for key, value in compared)


def plain(value: Any) -> Any:
    """Return a setting as it was given; the cluster shows the text of a template in an object of its own."""
    return value["content"] if isinstance(value, dict) and set(value) == {"content"} else value


def install(cluster: Cluster, plan: InstallPlan, *, replace: bool = False) -> list[str]:
    """Create or update the endpoint; return what was done, one line for each step.

    Raises:
        PipelineNotInstalled: the cluster lacks the service or the licence.
        ConfigError: the present endpoint sends a key, and the plan has none.
        EngineRefused: the name is taken, or the cluster refused; it refuses if its test call to the gateway fails.
    """
    require_name(plan.name)
    rerank_url(plan.gateway)
    require_inference(cluster)
    if plan.first_stage_order is None:
        plan = _with(plan, first_stage_order=not _has_large_indices(cluster))
    found = _endpoint_of_ours(cluster, plan.name)
    if found is not None and not replace:
        if found["service"] == "hugging_face" and _same(found, plain_endpoint(plan)):
            return [f"inference endpoint {plan.name}: up to date (service hugging_face; use --replace if the key has changed)"]
        if _same(_with_key_of(found, plan), endpoint(plan)):
            return [f"inference endpoint {plan.name}: up to date"]
    _require_key(found, plan)
    if found is not None:  # the old endpoint is removed only after a new one has worked
        _put(cluster, f"{plan.name}-trial", plan)
        cluster.write("DELETE", f"/_inference/rerank/{plan.name}-trial")
        cluster.write("DELETE", f"/_inference/rerank/{plan.name}")
    if _put(cluster, plan.name, plan) == "hugging_face":
        return [
            f"inference endpoint {plan.name}: calls {rerank_url(plan.gateway)} as hugging_face, since this cluster has no custom service"
        ]
    order = "with" if plan.first_stage_order else "without (hits of several shards do not arrive in that order)"
    return [f"inference endpoint {plan.name}: calls {rerank_url(plan.gateway)}, {order} the first-stage order"]


def _require_key(found: Json | None, plan: InstallPlan) -> None:
    """Make sure that an endpoint with a key is not replaced by an endpoint without a key.

    Raises:
        ConfigError: it would be replaced; Elasticsearch does not show a stored key.
    """
    headers = (found or {}).get("service_settings", {}).get("headers")
    if plan.api_key is None and isinstance(headers, dict) and _KEY_HEADER in headers:
        raise ConfigError(
            f"the inference endpoint {plan.name!r} must be created again, but it sends a key to the gateway, and Elasticsearch does not show "
            f"that key; give the key again with --api-key, or --api-key {_NO_KEY} if the gateway no longer asks for a key"
        )


def _with_key_of(found: Json, plan: InstallPlan) -> Json:
    """Return the endpoint for a comparison: if the plan has no key, the key counts as unchanged."""
    settings = found["service_settings"]
    if plan.api_key is not None or not isinstance(settings.get("headers"), dict):
        return found
    headers = {name: value for name, value in settings["headers"].items() if name != _KEY_HEADER}
    return {**found, "service_settings": {**settings, "headers": headers}}


def _put(cluster: Cluster, name: str, plan: InstallPlan) -> str:
    """Create an endpoint in the first form that this version accepts; return its service.

    Raises:
        Refusal: the cluster accepts no form, or the gateway did not answer its test call.
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
    """Tell whether an index has, or may have, several shards: Elasticsearch sends their hits to an endpoint shard by shard."""
    try:
        return any(count > 1 for count in _shards(cluster, "_all"))
    except Refusal:  # the user may not list the indices
        return True


def has_several_shards(cluster: Cluster, index: str) -> bool:
    """Tell whether a search of ``index``, which may be an alias or a pattern, asks more than one shard."""
    try:
        return sum(_shards(cluster, index)) > 1
    except Refusal:
        return False  # the finding about the search reports what is wrong


def _shards(cluster: Cluster, index: str) -> list[int]:
    answer = cluster.read(f"/{index}/_settings/index.number_of_shards?flat_settings=true&expand_wildcards=open")
    return [int(body["settings"].get("index.number_of_shards", 1)) for body in answer.values() if isinstance(body, dict)]


def remove(cluster: Cluster, *, name: str = "slimrank") -> list[str]:
    """Remove the endpoint; return what was done."""
    if _endpoint_of_ours(cluster, name) is None:
        return [f"there is no inference endpoint {name!r}"]
    cluster.write("DELETE", f"/_inference/rerank/{name}")
    return [f"removed the inference endpoint {name}"]
