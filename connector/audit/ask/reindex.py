"""Run ``_reindex`` from one side's index to the other's, in slices and throttled, wait for its end, and check the counts.

It creates the target index only if its body is given. It copies, then refreshes. The audit compares the contents afterwards.
"""

import time
from dataclasses import dataclass

from connector.audit.ask.access import Sides
from connector.audit.ask.run import Progress
from slimrank.errors import ConfigError, EngineRefused
from slimrank.types import Json

_POLL_SECONDS = 0.5
_SHOWN_FAILURES = 3


@dataclass(frozen=True, slots=True)
class Copied:
    """The result that the task reported."""

    total: int
    created: int
    updated: int
    version_conflicts: int
    seconds: float


def reindex(
    sides: Sides, *, body: Json | None, slices: str, requests_per_second: float, progress: Progress = lambda done, total: None
) -> Copied:
    """Copy ``before`` into ``after``.

    Args:
        body: Settings and mappings of the new index. Without it, the index of ``after`` must exist.
        slices: A number, or "auto".
        requests_per_second: Limit of documents a second; -1 for no limit.

    Raises:
        ConfigError: the sides are on two clusters, or the index of ``after`` does not exist and no body was given.
        EngineRefused: a document failed or met a version conflict, or fewer arrived than were read.
    """
    source, target = sides.before.side, sides.after.side
    if source.url.rstrip("/") != target.url.rstrip("/"):
        raise ConfigError(
            f"{source.url} and {target.url} are two clusters; copy with their own tools, then run `slimrank audit gate`"
        )
    cluster = sides.after.cluster
    exists = cluster.find(f"/{target.index}") is not None
    if body is not None and exists:
        raise ConfigError(f"asked to create {target.index}, which already exists; leave --create out, or name another index")
    if body is not None:
        cluster.write("PUT", f"/{target.index}", body)
    elif not exists:
        raise ConfigError(
            f"{target.index} does not exist; create it with its mappings first, or give its body with --create FILE"
        )
    start = time.monotonic()
    path = f"/_reindex?wait_for_completion=false&slices={slices}&requests_per_second={requests_per_second:g}"
    asked = {"conflicts": "proceed", "source": {"index": source.index}, "dest": {"index": target.index}}
    task = cluster.write("POST", path, asked)["task"]
    while not (state := cluster.read(f"/_tasks/{task}"))["completed"]:
        status = state["task"]["status"]
        progress(status["created"] + status["updated"] + status["version_conflicts"], status["total"])
        time.sleep(_POLL_SECONDS)
    cluster.write("POST", f"/{target.index}/_refresh")
    return _check(state, target.index, time.monotonic() - start)


def _check(state: Json, target: str, seconds: float) -> Copied:
    if "error" in state:
        raise EngineRefused(f"reindexing into {target} failed: {state['error'].get('reason', state['error'])}")
    response = state["response"]
    failures = response.get("failures", [])
    copied = Copied(response["total"], response["created"], response["updated"], response["version_conflicts"], seconds)
    if failures or copied.version_conflicts:
        reasons = "; ".join(str(failure.get("cause", {}).get("reason", failure)) for failure in failures[:_SHOWN_FAILURES])
        raise EngineRefused(
            f"reindexing into {target}: {len(failures)} documents failed and {copied.version_conflicts} met a version conflict, "
            f"of {copied.total}. {reasons}"
        )
    if copied.created + copied.updated != copied.total:
        raise EngineRefused(f"reindexing into {target}: {copied.created + copied.updated} of {copied.total} documents arrived")
    return copied
