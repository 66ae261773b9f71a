"""Look at an installation in Elasticsearch: its licence, one call of its endpoint, one search."""

from connector.cluster import Cluster, Refusal
from connector.elasticsearch.install import find_endpoint, has_several_shards, plain, require_inference, search
from connector.findings import Finding
from slimrank.errors import PipelineNotInstalled
from slimrank.scoring import PROBE_DOCUMENTS, PROBE_QUERY


def check(cluster: Cluster, *, name: str = "slimrank", index: str = "", field: str = "", query: str = "") -> list[Finding]:
    """Check the licence, the endpoint and one call of it; also one search if ``index`` and ``field`` are given."""
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
    if index and '"first_stage_order": true' in str(plain(endpoint_found.get("service_settings", {}).get("request"))):
        findings += _check_order(cluster, index)
    if index and field:
        findings.append(_check_search(cluster, name, index, field, query or PROBE_QUERY))
    return findings


def _check_order(cluster: Cluster, index: str) -> list[Finding]:
    if not has_several_shards(cluster, index):
        return []
    words = f"a search of {index} asks several shards, so its hits do not arrive in first-stage order, but the endpoint says that they do"
    return [Finding("first stage", "fault", words, "run install with --no-first-stage-order")]


def _check_call(cluster: Cluster, name: str) -> Finding:
    try:
        answer = cluster.read(f"/_inference/rerank/{name}", {"query": PROBE_QUERY, "input": PROBE_DOCUMENTS})
    except Refusal as refusal:
        return Finding(
            "endpoint",
            "fault",
            f"a call of the endpoint failed: {refusal.reason}",
            "check that the gateway runs, and that the cluster's nodes can reach its URL",
        )
    scores = {entry["index"]: entry["relevance_score"] for entry in answer.get("rerank", [])}
    if sorted(scores) != list(range(len(PROBE_DOCUMENTS))):
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
