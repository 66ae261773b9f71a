"""Facts about a cluster: its distribution, version, plugins and search-pipeline processors. Only reads."""

import re
from dataclasses import dataclass

from connector.cluster import Cluster
from slimrank.errors import PipelineNotInstalled

Version = tuple[int, int]

PIPELINES_SINCE: Version = (2, 12)
"""The first version with the rerank processor, oversample and truncate_hits."""
BY_FIELD_SINCE: Version = (2, 18)
PRIVATE_IP_SINCE: Version = (2, 15)
PRIVATE_REGEX_SINCE: Version = (3, 7)

_ELSEWHERE = (
    "rerank outside the cluster instead: connector.client.rerank_search in Python, or `slimrank proxy` in front of the cluster"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Facts about one cluster. It lists only the processors and plugins that every node has."""

    distribution: str
    number: str
    plugins: frozenset[str]
    processors: frozenset[str]

    @property
    def version(self) -> Version:
        """Major and minor version."""
        major, minor = re.findall(r"\d+", self.number + ".0")[:2]
        return int(major), int(minor)

    @property
    def name(self) -> str:
        """Distribution and version, such as OpenSearch 3.5.0."""
        return f"{'OpenSearch' if self.distribution == 'opensearch' else 'Elasticsearch'} {self.number}"

    @property
    def has_oversample(self) -> bool:
        """Whether the window can be wider than the page; this also needs a script (``connector.opensearch.scripts``)."""
        return {"oversample", "truncate_hits", "script"} <= self.processors


def read_facts(cluster: Cluster) -> Facts:
    """Read the facts from the cluster."""
    version = cluster.read("/").get("version", {})
    distribution = str(version.get("distribution", "elasticsearch"))
    plugins: list[set[str]] = []
    processors: list[set[str]] = []
    # Elasticsearch answers 400 if it does not know a metric
    metrics = "plugins,search_pipelines" if distribution == "opensearch" else "plugins"
    for node in cluster.read(f"/_nodes/{metrics}").get("nodes", {}).values():
        plugins.append({plugin["name"] for plugin in node.get("plugins", [])})
        kinds = node.get("search_pipelines", {}).values()
        processors.append({processor["type"] for kind in kinds for processor in kind})
    return Facts(
        distribution,
        str(version.get("number", "0.0")),
        frozenset(set.intersection(*plugins) if plugins else ()),
        frozenset(set.intersection(*processors) if processors else ()),
    )


def require_reranking(facts: Facts, *, by_field: bool = False) -> None:
    """Make sure that a search pipeline of this cluster can call a reranker; with ``by_field``, through ml_inference.

    Raises:
        PipelineNotInstalled: it cannot; the message names what is missing and the alternatives.
    """
    if facts.distribution != "opensearch":
        raise PipelineNotInstalled(
            f"this is {facts.name}, which has no search pipelines; use `slimrank connect elasticsearch`, or {_ELSEWHERE}"
        )
    if facts.version < PIPELINES_SINCE:
        raise PipelineNotInstalled(f"this is {facts.name}; the rerank processor came with 2.12, so upgrade, or {_ELSEWHERE}")
    if by_field and (facts.version < BY_FIELD_SINCE or (facts.plugins and "ml_inference" not in facts.processors)):
        raise PipelineNotInstalled(
            f"this {facts.name} has no ml_inference with by_field, which came with 2.18; leave --query-path out"
        )
    missing = [
        plugin
        for plugin, there in (
            ("opensearch-ml (ML Commons)", "opensearch-ml" in facts.plugins),
            ("opensearch-neural-search (the rerank processor)", "rerank" in facts.processors),
        )
        if not there
    ]
    if missing:
        raise PipelineNotInstalled(
            f"this {facts.name} lacks {' and '.join(missing)} on at least one node; the official distribution has both. "
            f"Install them, or {_ELSEWHERE}"
        )
