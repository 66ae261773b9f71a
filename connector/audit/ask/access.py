"""Open connections to both sides. Credentials come from the environment, never from the specification or the audit's folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import httpx
from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from connector.audit.spec import Side, Spec
from connector.bounded import PLAIN_OR_GZIP, bounded
from connector.cluster import Cluster, open_cluster
from connector.gateway_client import GatewayScorer
from slimrank.errors import EngineRefused

GATEWAY_SECONDS = 300.0
_DEFAULT_PIPELINE = "index.search.default_pipeline"


@dataclass(frozen=True, slots=True)
class Reached:
    """One side with its open connections."""

    side: Side
    cluster: Cluster
    scorer: GatewayScorer | None
    """The scorer that reranks the hits outside the engine; None if the side has no ``rerank``."""
    default_pipeline: str | None = None
    """The index's default search pipeline."""

    @property
    def pipeline(self) -> str | None:
        """The name of the search pipeline that this side's searches use; None if they use none."""
        name = self.side.pipeline or self.default_pipeline
        return None if name == "_none" else name


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides with their open connections."""

    before: Reached
    after: Reached

    def items(self) -> tuple[tuple[str, Reached], tuple[str, Reached]]:
        """Return both sides with their names."""
        return ("before", self.before), ("after", self.after)

    def require_indices(self) -> None:
        """Make sure that each side has an index to search.

        Raises:
            EngineRefused: the index of a side does not exist.
            EngineUnavailable: a cluster does not answer.
        """
        for which, reached in self.items():
            index, url = reached.side.index, reached.cluster.http.base_url
            if not reached.cluster.find(f"/{index}?flat_settings=true"):
                raise EngineRefused(
                    f"asked to search the index {index} as `{which}`, but {url} has no such index; "
                    f"correct `{which}.index` in the specification, or create the index first"
                )


class Access(BaseSettings):
    """Credentials of the two sides and of a chat judge, from SLIMRANK_AUDIT_*."""

    model_config = SettingsConfigDict(env_prefix="SLIMRANK_AUDIT_", extra="ignore")

    before_user: str | None = Field(default=None, description="User in the cluster of `before`")
    before_password: str | None = Field(default=None, description="Its password")
    before_api_key: str | None = Field(default=None, description="API key of the cluster of `before`, instead of a user")
    after_user: str | None = Field(
        default=None, description="User in the cluster of `after`. Default: the credentials of `before`"
    )
    after_password: str | None = Field(default=None, description="Its password")
    after_api_key: str | None = Field(default=None, description="API key of the cluster of `after`, instead of a user")
    ca_cert: str | None = Field(default=None, description="File with the CA certificates to trust")
    insecure: bool = Field(default=False, description="Accept any certificate")
    judge_api_key: str | None = Field(default=None, description="Bearer token of the chat judge or the gateway")
    timeout_seconds: float = Field(default=60.0, gt=0, description="Longest wait for one answer, seconds")

    @contextmanager
    def reach(self, spec: Spec) -> Iterator[Sides]:
        """Open both sides; their connections close at the end of the block."""
        with ExitStack() as stack:
            yield Sides(self._reach(spec.before, "before", stack), self._reach(spec.after, "after", stack))

    def _reach(self, side: Side, which: str, stack: ExitStack) -> Reached:
        cluster = self._open(side, which)
        stack.enter_context(cluster.http)
        default = _default_pipeline(side, cluster)
        if side.rerank is None:
            return Reached(side, cluster, None, default)
        client = stack.enter_context(
            httpx.Client(trust_env=False, timeout=GATEWAY_SECONDS, headers=PLAIN_OR_GZIP, event_hooks=bounded())
        )
        scorer = GatewayScorer(
            side.rerank.url,
            api_key=self.judge_api_key,
            timeout_seconds=GATEWAY_SECONDS,
            priority="audit",
            model=side.rerank.model,
            http=client,
        )
        return Reached(side, cluster, scorer, default)

    def _open(self, side: Side, which: str) -> Cluster:
        named = which == "after" and any((self.after_user, self.after_api_key))
        user, password, key = (
            (self.after_user, self.after_password, self.after_api_key)
            if named
            else (self.before_user, self.before_password, self.before_api_key)
        )
        return open_cluster(
            side.url, user=user, password=password, api_key=key, ca_cert=self.ca_cert, insecure=self.insecure,
            timeout_seconds=self.timeout_seconds,
        )  # fmt: skip


def _default_pipeline(side: Side, cluster: Cluster) -> str | None:
    """Return the default search pipeline of an index; None if it has none, or if the index does not exist yet."""
    found = cluster.find(f"/{side.index}/_settings/{_DEFAULT_PIPELINE}?flat_settings=true") or {}
    names = {index.get("settings", {}).get(_DEFAULT_PIPELINE) for index in found.values()} - {None}
    return str(min(names)) if names else None
