"""Install slimrank into an OpenSearch cluster as a search pipeline, and remove it again.

Makes, in this order: the trusted-endpoint settings (appended to), an ML Commons connector, a remote model, a search
pipeline with the rerank processor, which fails soft. Running it again changes nothing; with other options a new
connector and model are made first, the pipeline is switched, and then the old ones go, so that searches never miss it.
Everything made carries a mark in its description, by which it is found again: there is no state outside the cluster.

Does not index, does not set a default pipeline (a search without `ext.rerank` would fail), and knows nothing of scores.
"""

import hashlib
import json
import time
from dataclasses import dataclass, field
from typing import Any

from connector import bodies
from connector.cluster import Cluster, Refusal
from connector.facts import Facts, read_facts, require_reranking
from connector.record import MARK, Record, key_check, read_record
from connector.trust import Undo, distrust, trust
from slimrank.errors import ConfigError, EngineError, EngineRefused, EngineUnavailable, PipelineNotInstalled

Json = dict[str, Any]

_NO_KEY = "none"
_TASK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What to install.

    Attributes:
        name: of the connector, the model and, unless `pipeline` names another, the pipeline.
        model: what the gateway is asked for, where it serves several.
        fields: of a hit, joined without a separator by OpenSearch; one field is best.
        oversample: how many times the page is fetched and reranked.
        query_path: where every search has its text; then searches need no `ext`, one field is judged, and a hit keeps
            its first-stage score as `previous_score`.
    """

    gateway: str
    fields: list[str]
    name: str = "slimrank"
    pipeline: str = ""
    model: str = ""
    api_key: str = _NO_KEY
    oversample: float = 5.0
    read_timeout_seconds: int = bodies.READ_TIMEOUT_SECONDS
    replace: bool = False
    query_path: str = ""

    @property
    def pipeline_name(self) -> str:
        """Name of the search pipeline."""
        return self.pipeline or self.name


@dataclass(frozen=True, slots=True)
class Installation:
    """What an earlier run made, as found in the cluster."""

    connector_id: str
    url: str
    record: Record
    models: dict[str, str] = field(default_factory=dict)
    """model_id -> name."""
    deployed: bool = False


def _connector(plan: Plan, url: str, *, name: str, api_key: str, description: str) -> Json:
    return bodies.connector(
        name,
        url,
        model=plan.model,
        api_key=api_key,
        description=description,
        read_timeout_seconds=plan.read_timeout_seconds,
        by_field=bool(plan.query_path),
    )


def _spec(plan: Plan, url: str) -> str:
    """Fingerprint what the connector does, but for the key."""
    body = _connector(plan, url, name="", api_key="", description="")
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


def _hits(answer: Json | None) -> list[Json]:
    return list(answer["hits"]["hits"]) if answer else []


def _connectors(cluster: Cluster) -> list[Json]:
    """Return the hits of every connector that carries our mark."""
    found = _hits(cluster.find("/_plugins/_ml/connectors/_search", {"query": {"match_all": {}}, "size": 1000}))
    return [hit for hit in found if str(hit["_source"].get("description", "")).startswith(MARK)]


def find_installation(cluster: Cluster, name: str) -> Installation | None:
    """Find what was made under `name`; None if nothing was."""
    hit = next((hit for hit in _connectors(cluster) if hit["_source"].get("name") == name), None)
    if hit is None:
        return None
    source = hit["_source"]
    query = {"query": {"term": {"connector_id": hit["_id"]}}, "size": 100}
    models = _hits(cluster.find("/_plugins/_ml/models/_search", query))
    return Installation(
        hit["_id"],
        source["actions"][0]["url"],
        read_record(source["description"]),
        {model["_id"]: model["_source"].get("name", "") for model in models},
        any(model["_source"].get("model_state") == "DEPLOYED" for model in models),
    )


def find_pipeline(cluster: Cluster, name: str) -> Json | None:
    """Return the body of a search pipeline, or None."""
    found = cluster.find(f"/_search/pipeline/{name}")
    return found.get(name) if found else None


def _pipeline_of_ours(cluster: Cluster, name: str) -> Json | None:
    body = find_pipeline(cluster, name)
    if body is not None and not str(body.get("description", "")).startswith(MARK):
        raise EngineRefused(
            f"the search pipeline {name!r} exists and was not made by slimrank; choose another name with --pipeline, or delete it"
        )
    return body


def install(cluster: Cluster, plan: Plan) -> list[str]:
    """Install or upgrade; return what was done, a line each.

    Raises:
        PipelineNotInstalled: the cluster lacks what it takes.
        EngineRefused: a name is taken, or the cluster refused a call; what this run had made is taken back.
    """
    for name in (plan.name, plan.pipeline_name):
        bodies.require_name(name)
    url = bodies.rerank_url(plan.gateway)
    found = read_facts(cluster)
    require_reranking(found, by_field=bool(plan.query_path))
    if plan.query_path and len(plan.fields) != 1:
        raise ConfigError(f"with a query path one field is judged, found {len(plan.fields)}; give --field once")
    present = _pipeline_of_ours(cluster, plan.pipeline_name)
    old = find_installation(cluster, plan.name)
    change = trust(cluster, found, url)
    done = [f"settings: appended to {name}" for name in change.added] or ["settings: the gateway is trusted already"]
    others = _undos_beside(cluster, old.connector_id if old else "")
    record = _record(plan, url, [*([old.record.undo] if old else []), *others], change)
    if old and old.deployed and _is_as_wanted(old.record, record) and not plan.replace:
        done.append(f"connector and model: as wanted ({next(iter(old.models))})")
        return done + _put_pipeline(cluster, found, plan, present, next(iter(old.models)))
    try:
        done += _make(cluster, found, plan, url, record.as_description(), present, old)
    except EngineError:
        distrust(cluster, change)
        raise
    if old:
        _delete_model_and_connector(cluster, old)
        done.append(f"removed the earlier connector {old.connector_id} and its model")
        if old.url != url:
            distrust(cluster, old.record.undo.without([record.undo, *others]))
    return done


def _record(plan: Plan, url: str, earlier: list[Undo], change: Undo) -> Record:
    """Note what earlier installations changed and this one rests on too, so that the last one to go undoes it."""
    spec, undo = _spec(plan, url), Undo()
    for each in earlier:
        undo = undo.merged(each.needed_for(url))
    return Record(spec, key_check(spec, plan.api_key) if plan.api_key != _NO_KEY else "", undo.merged(change))


def _is_as_wanted(old: Record, new: Record) -> bool:
    """Compare records; a key that is not given again counts as unchanged."""
    return (old.spec, old.undo) == (new.spec, new.undo) and new.key in ("", old.key)


def _undos_beside(cluster: Cluster, connector_id: str) -> list[Undo]:
    return [read_record(hit["_source"]["description"]).undo for hit in _connectors(cluster) if hit["_id"] != connector_id]


def _make(
    cluster: Cluster, found: Facts, plan: Plan, url: str, description: str, present: Json | None, old: Installation | None
) -> list[str]:
    """Make connector, model and pipeline; on an error take back what was made and pass the error on."""
    body = _connector(plan, url, name=plan.name, api_key=plan.api_key, description=description)
    connector_id = cluster.write("POST", "/_plugins/_ml/connectors/_create", body)["connector_id"]
    made = Installation(connector_id, url, Record())
    try:
        # ML Commons refuses a second model of the same name
        name = _next_name(plan.name, list(old.models.values()) if old else [])
        registration = bodies.model(name, connector_id, description=MARK)
        model_id = _await_task(cluster, cluster.write("POST", "/_plugins/_ml/models/_register", registration))["model_id"]
        made.models[model_id] = name
        _await_task(cluster, cluster.write("POST", f"/_plugins/_ml/models/{model_id}/_deploy"))
        lines = _put_pipeline(cluster, found, plan, present, model_id)
    except EngineError:
        _delete_model_and_connector(cluster, made)
        raise
    return [f"connector: {connector_id} calls {url}", f"model: {model_id}", *lines]


def _next_name(name: str, taken: list[str]) -> str:
    if not taken:
        return name
    numbers = [int(suffix) for other in taken if (suffix := other.removeprefix(name + "-")).isdigit()]
    return f"{name}-{max(numbers, default=1) + 1}"


def _put_pipeline(cluster: Cluster, found: Facts, plan: Plan, present: Json | None, model_id: str) -> list[str]:
    if plan.query_path:
        wanted = bodies.by_field_pipeline(
            model_id, field=plan.fields[0], query_path=plan.query_path, oversample=plan.oversample, description=MARK,
            has_oversample=found.has_oversample,
        )  # fmt: skip
    else:
        wanted = bodies.pipeline(
            model_id, fields=plan.fields, oversample=plan.oversample, description=MARK, has_oversample=found.has_oversample
        )
    if present == wanted:
        return [f"pipeline {plan.pipeline_name}: as wanted"]
    cluster.write("PUT", f"/_search/pipeline/{plan.pipeline_name}", wanted)
    return [f"pipeline {plan.pipeline_name}: reranks {' + '.join(plan.fields)}"]


def _await_task(cluster: Cluster, answer: Json) -> Json:
    """Wait until an ML Commons task ends, if its answer does not say so at once.

    Raises:
        EngineRefused: the task failed.
        EngineUnavailable: it did not end in a minute.
    """
    deadline = time.monotonic() + _TASK_SECONDS
    while "model_id" not in answer and answer.get("status", answer.get("state")) != "COMPLETED":
        state = answer.get("state", answer.get("status"))
        if state in {"FAILED", "CANCELLED", "COMPLETED_WITH_ERROR"}:
            raise EngineRefused(f"OpenSearch could not deploy the model: {answer.get('error', state)}")
        if time.monotonic() > deadline:
            raise EngineUnavailable(
                f"OpenSearch did not deploy the model in {_TASK_SECONDS:.0f} s (state {state}); look at its log"
            )
        time.sleep(0.2)
        answer = {"task_id": answer["task_id"], **cluster.read(f"/_plugins/_ml/tasks/{answer['task_id']}")}
    return answer


def _delete_model_and_connector(cluster: Cluster, installation: Installation) -> None:
    for model_id in installation.models:
        cluster.write("POST", f"/_plugins/_ml/models/{model_id}/_undeploy")
        _retry_while_deployed(cluster, f"/_plugins/_ml/models/{model_id}")
    _retry_while_deployed(cluster, f"/_plugins/_ml/connectors/{installation.connector_id}")


def _retry_while_deployed(cluster: Cluster, path: str) -> None:
    """Delete, trying again for some seconds: undeploying ends a little after its answer."""
    for attempt in range(20):
        try:
            cluster.write("DELETE", path)
            return
        except Refusal as refusal:
            if refusal.status == 404:
                return
            if attempt == 19 or refusal.status not in {400, 409}:
                raise
            time.sleep(0.5)


def _indices_defaulting_to(cluster: Cluster, pipeline: str) -> list[str]:
    answer = cluster.read("/_all/_settings/index.search.default_pipeline?flat_settings=true")
    return sorted(
        index for index, body in answer.items()
        if isinstance(body, dict) and body.get("settings", {}).get("index.search.default_pipeline") == pipeline
    )  # fmt: skip


def remove(cluster: Cluster, *, name: str = "slimrank", pipeline: str = "") -> list[str]:
    """Remove what `install` made and restore the settings it changed; return what was done, a line each.

    Raises:
        EngineRefused: an index names the pipeline as its default; its searches would fail.
    """
    pipeline = pipeline or name
    done: list[str] = []
    if _pipeline_of_ours(cluster, pipeline) is not None:
        if users := _indices_defaulting_to(cluster, pipeline):
            raise EngineRefused(
                f"asked to remove the pipeline {pipeline!r}, which is index.search.default_pipeline of {', '.join(users)}; "
                "set that to _none first, or their searches fail"
            )
        cluster.write("DELETE", f"/_search/pipeline/{pipeline}")
        done.append(f"removed the pipeline {pipeline}")
    installation = find_installation(cluster, name)
    if installation is None:
        return done or [f"nothing named {name!r} was made by slimrank here"]
    _delete_model_and_connector(cluster, installation)
    done.append(f"removed the model and the connector {installation.connector_id}")
    undo = installation.record.undo
    now = undo.without(_undos_beside(cluster, installation.connector_id))
    distrust(cluster, now)
    done.append("restored the settings" if now == undo else "kept those settings that other installations need")
    return done


def require_installation(cluster: Cluster, name: str) -> Installation:
    """Return what was installed under `name`.

    Raises:
        PipelineNotInstalled: nothing was.
    """
    installation = find_installation(cluster, name)
    if installation is None or not installation.models:
        raise PipelineNotInstalled(
            f"nothing named {name!r} was made by slimrank in this cluster; run `slimrank connect opensearch install`"
        )
    return installation
