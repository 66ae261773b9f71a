"""Install slimrank into an OpenSearch cluster as a search pipeline, and remove it again.

``install`` appends to the trusted-endpoint settings, then creates an ML Commons connector, a remote model, and a search pipeline
with the rerank processor, which fails soft. A second run with the same options changes nothing. With other options, ``install``
first creates a new connector and model and asks them for scores; then it switches the pipeline to the new model; then it deletes
the old ones. So searches are reranked all the time. A model that another pipeline uses is kept until no pipeline uses it.
Everything that is created has a mark in its description, by which later runs find it: there is no state outside the cluster.

``install`` does not index documents and sets no default pipeline, because a search without ``ext.rerank`` would fail.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass

from connector import installing
from connector.cluster import Cluster
from connector.facts import Facts, read_facts, require_reranking
from connector.installing import key_check
from connector.opensearch import bodies, ml_commons
from connector.opensearch.installation import Installation, find_installations, is_ours, pipelines_using, undos_beside
from connector.opensearch.pipelines import foreign, merged, pipeline_of_ours
from connector.opensearch.predict import require_scores
from connector.opensearch.record import MARK, Record
from connector.opensearch.trust import Undo, distrust, trust
from slimrank.errors import ConfigError, EngineError, EngineRefused
from slimrank.types import Json

NO_KEY = "none"
"""The key that a connector sends if the gateway asks for none: ML Commons accepts no connector without a credential."""


@dataclass(frozen=True, slots=True)
class InstallPlan:
    """What to install.

    Attributes:
        name: The name of the connector, of the model and, unless ``pipeline`` names another, of the pipeline.
        model: The model to ask the gateway for, if it serves several.
        fields: The fields of a hit to judge. OpenSearch joins them without a separator, so one field is best.
        oversample: How many hits to fetch and rerank, as a multiple of the page.
        api_key: The gateway's key; None keeps the present key.
        hybrid: Whether the pipeline also handles hybrid queries.
        query_path: The path of the query text in every search. With it, searches need no ``ext``, one field is judged, and a hit
            keeps its first-stage score as ``previous_score``.
    """

    gateway: str
    fields: list[str]
    name: str = "slimrank"
    pipeline: str = ""
    model: str = ""
    api_key: str | None = None
    oversample: float = 5.0
    read_timeout_seconds: int = bodies.READ_TIMEOUT_SECONDS
    replace: bool = False
    query_path: str = ""
    hybrid: bool = False

    @property
    def pipeline_name(self) -> str:
        """The name of the search pipeline."""
        return self.pipeline or self.name


def _connector(plan: InstallPlan, url: str, *, name: str, api_key: str, description: str) -> Json:
    return bodies.connector(
        name,
        url,
        model=plan.model,
        api_key=api_key,
        description=description,
        read_timeout_seconds=plan.read_timeout_seconds,
        by_field=bool(plan.query_path),
    )


def _spec(plan: InstallPlan, url: str) -> str:
    """Return a fingerprint of the connector, without the key."""
    body = _connector(plan, url, name="", api_key="", description="")
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:12]


def install(cluster: Cluster, plan: InstallPlan) -> list[str]:
    """Install or upgrade; return what was done, one line for each step.

    Raises:
        PipelineNotInstalled: the cluster lacks a plugin or a processor.
        ConfigError: the options contradict each other, or the earlier installation sends a key and the plan has none.
        EngineRefused: a name is taken, the cluster refused a call, or it gets no scores from the gateway. Everything that this
            run created is deleted, and the earlier installation stays in use.
    """
    for name in (plan.name, plan.pipeline_name):
        installing.require_name(name)
    url = installing.rerank_url(plan.gateway)
    found = read_facts(cluster)
    require_reranking(found, by_field=bool(plan.query_path))
    if plan.query_path and len(plan.fields) != 1:
        raise ConfigError(f"with --query-path only one field can be judged, found {len(plan.fields)}; give --field once")
    present = pipeline_of_ours(cluster, plan.pipeline_name)
    earlier = find_installations(cluster, plan.name)
    change = trust(cluster, found, url)
    done = [f"settings: appended to {name}" for name in change.added] or ["settings: the gateway is already trusted"]
    record = _record(plan, url, [*(each.record.undo for each in earlier), *undos_beside(cluster, earlier)], change)
    is_wanted = (
        bool(earlier) and bool(earlier[0].models) and _is_as_wanted(earlier[0].record, record, plan.api_key) and not plan.replace
    )
    current = earlier[0] if is_wanted else None
    try:
        if current is None:
            _require_key(plan, earlier)
            current = _make(cluster, plan, url, record, earlier)
            done += [f"connector: {current.connector_id} calls {url}", f"model: {current.model_id}"]
        else:
            done.append(f"connector and model: up to date ({current.model_id})")
            if not current.deployed:
                ml_commons.deploy(cluster, current.model_id)
        done += _switch(cluster, found, plan, present, current)
    except (EngineError, ConfigError):
        if current is not None and not is_wanted:
            ml_commons.delete(cluster, current)
        distrust(cluster, change)
        raise
    return done + _clear_away(cluster, plan, [each for each in earlier if each is not current], record.undo)


def _record(plan: InstallPlan, url: str, earlier: list[Undo], change: Undo) -> Record:
    """Record the earlier changes that this installation also needs, so that the last installation to be removed undoes them."""
    spec, undo = _spec(plan, url), Undo()
    for each in earlier:
        undo = undo.merged(each.needed_for(url))
    return Record(spec, key_check(spec, plan.api_key) if plan.api_key not in (None, NO_KEY) else "", undo.merged(change))


def _is_as_wanted(old: Record, new: Record, api_key: str | None) -> bool:
    """Compare records; if no key is given, the key counts as unchanged."""
    return (old.spec, old.undo) == (new.spec, new.undo) and (api_key is None or new.key == old.key)


def _require_key(plan: InstallPlan, earlier: list[Installation]) -> None:
    """Make sure that a connector with a key is not replaced by a connector without a key.

    Raises:
        ConfigError: it would be replaced; OpenSearch does not show a stored key.
    """
    if plan.api_key is None and earlier and earlier[0].record.key:
        raise ConfigError(
            f"these options need a new connector, but the installation {plan.name!r} sends a key to the gateway, and OpenSearch does not show "
            f"that key; give the key again with --api-key, or --api-key {NO_KEY} if the gateway no longer asks for a key"
        )


def _make(cluster: Cluster, plan: InstallPlan, url: str, record: Record, earlier: list[Installation]) -> Installation:
    description = record.as_description()
    body = _connector(plan, url, name=plan.name, api_key=plan.api_key or NO_KEY, description=description)
    return ml_commons.make(
        cluster, body, model_name=_next_name(plan.name, [name for each in earlier for name in each.models.values()])
    )


def _next_name(name: str, taken: list[str]) -> str:
    """Return a free name for a model; some versions of ML Commons refuse a second model of the same name."""
    if not taken:
        return name
    numbers = [int(suffix) for other in taken if (suffix := other.removeprefix(name + "-")).isdigit()]
    return f"{name}-{max(numbers, default=1) + 1}"


def _switch(cluster: Cluster, found: Facts, plan: InstallPlan, present: Json | None, current: Installation) -> list[str]:
    """Switch the pipeline to a model that scores. If the model does not score, raise an error and leave the pipeline
    unchanged."""
    done = []
    if not cluster.dry_run:
        done.append(f"predict: {require_scores(cluster, current.model_id, by_field=bool(plan.query_path))}")
    wanted = merged(present or {}, _pipeline(found, plan, current.model_id), hybrid=plan.hybrid)
    if present == wanted:
        return [*done, f"pipeline {plan.pipeline_name}: up to date"]
    cluster.write("PUT", f"/_search/pipeline/{plan.pipeline_name}", wanted)
    kept = foreign(present or {})
    return [
        *done,
        f"pipeline {plan.pipeline_name}: reranks {' + '.join(plan.fields)}" + (f"; kept {', '.join(kept)}" if kept else ""),
    ]


def _pipeline(found: Facts, plan: InstallPlan, model_id: str) -> Json:
    if plan.query_path:
        return bodies.by_field_pipeline(
            model_id, field=plan.fields[0], query_path=plan.query_path, oversample=plan.oversample, description=MARK,
            has_oversample=found.has_oversample,
        )  # fmt: skip
    return bodies.pipeline(
        model_id, fields=plan.fields, oversample=plan.oversample, description=MARK, has_oversample=found.has_oversample
    )


def _clear_away(cluster: Cluster, plan: InstallPlan, earlier: list[Installation], undo: Undo) -> list[str]:
    """Delete what earlier runs created, except models that other pipelines still use."""
    done = []
    for each in earlier:
        if users := sorted(pipelines_using(cluster, each.models, but=plan.pipeline_name)):
            done.append(
                f"kept the earlier model {', '.join(each.models)}, which the search pipeline {', '.join(users)} uses: "
                "name the new model there and run install again"
            )
            continue
        ml_commons.delete(cluster, each)
        distrust(cluster, each.record.undo.without([undo, *undos_beside(cluster, [each])]))
        done.append(f"removed the earlier connector {each.connector_id} and its model")
    return done


def _indices_defaulting_to(cluster: Cluster, pipelines: Iterable[str]) -> list[str]:
    answer = cluster.read("/_all/_settings/index.search.default_pipeline?flat_settings=true")
    return sorted(
        index for index, body in answer.items()
        if isinstance(body, dict) and body.get("settings", {}).get("index.search.default_pipeline") in pipelines
    )  # fmt: skip


def remove(cluster: Cluster, *, name: str = "slimrank", pipeline: str = "") -> list[str]:
    """Remove what ``install`` made and restore the settings it changed; return what was done, a line each.

    Args:
        pipeline: The name of the pipeline, if it differs from ``name``. Our pipelines that use the model are found in any case.

    Raises:
        EngineRefused: an index has the pipeline as its default, or the user's own pipeline uses the model; searches would fail.
    """
    pipeline = pipeline or name
    own = pipeline_of_ours(cluster, pipeline)
    installations = find_installations(cluster, name)
    using = pipelines_using(cluster, [model for each in installations for model in each.models], but=pipeline)
    ours = {other: body for other, body in using.items() if is_ours(body)} | ({pipeline: own} if own is not None else {})
    _require_unused(cluster, name, ours, sorted(set(using) - set(ours)))
    done: list[str] = []
    for each, body in sorted(ours.items()):
        cluster.write("DELETE", f"/_search/pipeline/{each}")
        others = foreign(body)
        done.append(
            f"removed the pipeline {each}" + (f", and with it {', '.join(others)}, which slimrank did not add" if others else "")
        )
    undo = Undo()
    for installation in reversed(installations):  # the oldest first: it recorded the original settings
        ml_commons.delete(cluster, installation)
        done.append(f"removed the model and the connector {installation.connector_id}")
        undo = undo.merged(installation.record.undo)
    if not installations:
        return done or [f"slimrank has installed nothing named {name!r} here"]
    now = undo.without(undos_beside(cluster, installations))
    distrust(cluster, now)
    done.append("restored the settings" if now == undo else "kept the settings that other installations need")
    return done


def _require_unused(cluster: Cluster, name: str, ours: Iterable[str], strangers: list[str]) -> None:
    if indices := _indices_defaulting_to(cluster, ours):
        raise EngineRefused(
            f"asked to remove the pipeline {', '.join(sorted(ours))}, which is index.search.default_pipeline of {', '.join(indices)}; "
            "set that setting to _none first, because searches of these indices would fail"
        )
    if strangers:
        raise EngineRefused(
            f"asked to remove {name!r}, whose model the search pipeline {', '.join(strangers)} uses; "
            "remove the model from that pipeline first, because its searches would fail"
        )
