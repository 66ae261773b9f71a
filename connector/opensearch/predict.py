"""Make one predict call through an installed model, and explain the result.

ML Commons reports a failing gateway in its own words. This module translates its messages and adds a cure to each. ``install``
makes the call before it switches searches to a model; ``check`` makes it on an installation.
"""

import math
import re

from connector.cluster import Cluster, Refusal
from connector.findings import Finding
from connector.opensearch import bodies
from slimrank.errors import EngineRefused
from slimrank.scoring import PROBE_DOCUMENTS, PROBE_QUERY, UNSCORED

_LATE = "Read timed out"

# A node that passes on the error of another node reports an unknown host only as i_o_exception.
_NO_ADDRESS = (
    r"unknown_host_exception|^i_o_exception: [\w.-]+(: (Name or service not known|Temporary failure in name resolution))?$"
)
# A pattern of ML Commons' message, as seen on 3.5.0 with one node and with three; its meaning; the cure.
_MEANINGS = (
    ("Connection refused", "nothing listens at the gateway's address", "start it (`slimrank serve`), or install with the right --gateway"),
    ("connection timed out", "the gateway's address does not answer", "install with the right --gateway, or allow the connection in the firewall"),
    (_NO_ADDRESS, "the cluster cannot resolve the gateway's host", "install with a --gateway that the cluster's nodes can resolve"),
    (_LATE, "the gateway did not answer in time", "rerank fewer hits (--oversample), add workers, or raise --read-timeout"),
    ("Acquire operation took longer", "too many searches wait for the gateway", "check that the gateway answers, and add workers"),
    ("cannot be cast to class", "the endpoint's scores are not JSON floats", "the URL is not slimrank's /v1/rerank; install with the right --gateway"),
    ("Fail to execute PREDICT", "the endpoint's answer is not a reranker's", "the URL is not slimrank's /v1/rerank; install with the right --gateway"),
    ("Expected to find an object with property", "the endpoint's answer is not a reranker's", "the URL is not slimrank's /v1/rerank; install with the right --gateway"),
    ("not the same length", "the endpoint scored fewer documents than it got", "use slimrank's /v1/rerank, which scores all"),
    ("private ip", "ML Commons will not call a private address", "run install again with --replace: the setting is read when a model is created"),
    ("not matching the trusted connector", "the cluster does not trust the gateway's address", "run install again"),
    ("Invalid URI", "the gateway's host has an underscore", "give it a name without an underscore"),
    ("Error from remote service", "the gateway answered an error", "read its message above, and its log"),
    ("Failed to find model", "the pipeline names a model that no longer exists", "run install again"),
    ("Invalid processor type rerank", "the cluster has no rerank processor", "install the neural-search plugin"),
)  # fmt: skip


def explain(refusal: Refusal) -> tuple[str, str]:
    """Return an explanation of an ML Commons error, and its cure."""
    for sign, meaning, cure in _MEANINGS:
        if re.search(sign, f"{refusal.kind}: {refusal.reason}"):
            return f"{meaning} ({refusal.reason})", cure
    return str(refusal), "read the cluster's log"


def try_model(cluster: Cluster, model_id: str, *, by_field: bool) -> Finding:
    """Score two documents through a model.

    Args:
        by_field: Whether the connector is for ml_inference, which reads the gateway's answer unchanged.
    """
    try:
        scores = scores_of(cluster, model_id, PROBE_QUERY, list(PROBE_DOCUMENTS), by_field=by_field)
    except Refusal as refusal:
        return Finding("predict", "fault", *explain(refusal))
    if len(scores) != len(PROBE_DOCUMENTS) or not all(
        isinstance(score, int | float) and math.isfinite(score) for score in scores
    ):
        return Finding("predict", "fault", f"two documents were sent and the scores {scores} came back", "read the gateway's log")
    if max(scores) <= UNSCORED:
        words = "the gateway answers, but could not score: it returned the first-stage order"
        return Finding("predict", "fault", words, "check the gateway's /readyz and its log, and that a worker runs")
    return Finding("predict", "ok", f"two documents scored {scores[0]:.4g} and {scores[1]:.4g}")


def require_scores(cluster: Cluster, model_id: str, *, by_field: bool) -> str:
    """Let a model score two documents; return a line about the result.

    Raises:
        EngineRefused: the model does not score.
    """
    finding = try_model(cluster, model_id, by_field=by_field)
    if _LATE in finding.words:  # a new model's first call is slow
        finding = try_model(cluster, model_id, by_field=by_field)
    if finding.state != "ok":
        raise EngineRefused(f"the cluster gets no scores from the gateway: {finding.words}; {finding.cure}")
    return finding.words


def scores_of(cluster: Cluster, model_id: str, query: str, documents: list[str], *, by_field: bool) -> list[float]:
    """Return a model's scores of documents, through the cluster.

    Raises:
        Refusal: the cluster answers an error.
    """
    if by_field:
        path, body = f"/_plugins/_ml/models/{model_id}/_predict", bodies.by_field_predict(query, documents)
    else:
        path, body = f"/_plugins/_ml/_predict/text_similarity/{model_id}", bodies.predict(query, documents)
    results = cluster.read(path, body).get("inference_results", [])
    outputs = [tensor for result in results for tensor in result.get("output", [])]
    if by_field:
        return [score for output in outputs for score in output.get("dataAsMap", {}).get("scores", [])]
    return [score for output in outputs for score in output.get("data", [])]
