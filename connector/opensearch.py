"""Install slimrank into an OpenSearch cluster as a search pipeline, and remove it again.

Makes, in this order: the trusted-endpoint settings (appended to), an ML Commons connector, a remote model, a search
pipeline with the rerank processor, which fails soft. Running it again changes nothing; with other options a new
connector and model are made first and asked for scores, then the pipeline is switched, and then the old ones go, so that
searches never miss it. What other pipelines use stays until they do not. Everything made carries a mark in its description, by which it is found again: there is no state outside the cluster.

Does not index, does not set a default pipeline (a search without `ext.rerank` would fail), and knows nothing of scores.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from connector import bodies, ml_commons
from connector.cluster import Cluster
from connector.facts import Facts, read_facts, require_reranking
from connector.installation import Installation, find_installations, is_ours, pipelines_using, undos_beside
from connector.pipeline import foreign, merged, pipeline_of_ours
from connector.predict import require_scores
from connector.record import MARK, Record, key_check
from connector.trust import Undo, distrust, trust
from slimrank.errors import ConfigError, EngineError, EngineRefused

Json = dict[str, Any]

NO_KEY = "none"
"""What a connector sends where the gateway asks for no key: ML Commons takes no connector without a credential."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to install.

    Attributes:
        name: of the connector, the model and, unless `pipeline` names another, the pipeline.
        model: what the gateway is asked for, where it serves several.
        fields: of a hit, joined without a separator by OpenSearch; one field is best.
        oversample: how many times the page is fetched and reranked.
        api_key: of the gateway; None keeps what is there.
        hybrid: make the pipeline fit for hybrid queries too.
        query_path: where every search has its text; then searches need no `ext`, one field is judged, and a hit keeps
            its first-stage score as `previous_score`.
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
        """Name of the search pipeline."""
        return self.pipeline or self.name


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


def install(cluster: Cluster, plan: Plan) -> list[str]:
    """Install or upgrade; return what was done, a line each.

    Raises:
        PipelineNotInstalled: the cluster lacks what it takes.
        ConfigError: the options do not go together, or the key is missing that the earlier installation sends.
        EngineRefused: a name is taken, the cluster refused a call, or it gets no scores from the gateway; what this run had
            made is taken back, and what was installed before goes on as it was.
    """
    for name in (plan.name, plan.pipeline_name):
        bodies.require_name(name)
    url = bodies.rerank_url(plan.gateway)
    found = read_facts(cluster)
    require_reranking(found, by_field=bool(plan.query_path))
    if plan.query_path and len(plan.fields) != 1:
        raise ConfigError(f"with a query path one field is judged, found {len(plan.fields)}; give --field once")
    present = pipeline_of_ours(cluster, plan.pipeline_name)
    earlier = find_installations(cluster, plan.name)
    change = trust(cluster, found, url)
    done = [f"settings: appended to {name}" for name in change.added] or ["settings: the gateway is trusted already"]
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
            done.append(f"connector and model: as wanted ({current.model_id})")
            if not current.deployed:
                ml_commons.deploy(cluster, current.model_id)
        done += _switch(cluster, found, plan, present, current)
    except (EngineError, ConfigError):
        if current is not None and not is_wanted:
            ml_commons.delete(cluster, current)
        distrust(cluster, change)
        raise
    return done + _clear_away(cluster, plan, [each for each in earlier if each is not current], record.undo)


def _record(plan: Plan, url: str, earlier: list[Undo], change: Undo) -> Record:
    """Note what earlier installations changed and this one rests on too, so that the last one to go undoes it."""
    spec, undo = _spec(plan, url), Undo()
    for each in earlier:
        undo = undo.merged(each.needed_for(url))
    return Record(spec, key_check(spec, plan.api_key) if plan.api_key not in (None, NO_KEY) else "", undo.merged(change))


def _is_as_wanted(old: Record, new: Record, api_key: str | None) -> bool:
    """Compare records; a key that is not given again counts as unchanged."""
    return (old.spec, old.undo) == (new.spec, new.undo) and (api_key is None or new.key == old.key)


def _require_key(plan: Plan, earlier: list[Installation]) -> None:
    """Make sure that a connector with a key is not replaced by one without.

    Raises:
        ConfigError: it would be; OpenSearch shows no key again that it was given.
    """
    if plan.api_key is None and earlier and earlier[0].record.key:
        raise ConfigError(
            f"what is installed as {plan.name!r} sends a key to the gateway, which OpenSearch does not show again, and these options "
            f"need a new connector; give the key again with --api-key, or --api-key {NO_KEY} if the gateway asks for none now"
        )


def _make(cluster: Cluster, plan: Plan, url: str, record: Record, earlier: list[Installation]) -> Installation:
    description = record.as_description()
    body = _connector(plan, url, name=plan.name, api_key=plan.api_key or NO_KEY, description=description)
    return ml_commons.make(
        cluster, body, model_name=_next_name(plan.name, [name for each in earlier for name in each.models.values()])
    )


def _next_name(name: str, taken: list[str]) -> str:
    """Return a name for a model that none has; some versions of ML Commons refuse a second one of the same name."""
    if not taken:
        return name
    numbers = [int(suffix) for other in taken if (suffix := other.removeprefix(name + "-")).isdigit()]
    return f"{name}-{max(numbers, default=1) + 1}"


def _switch(cluster: Cluster, found: Facts, plan: Plan, present: Json | None, current: Installation) -> list[str]:
    """Lead searches to a model that scores; a model that does not is an error, and the pipeline stays as it is."""
    done = []
    if not cluster.dry_run:
        done.append(f"predict: {require_scores(cluster, current.model_id, by_field=bool(plan.query_path))}")
    wanted = merged(present or {}, _pipeline(found, plan, current.model_id), hybrid=plan.hybrid)
    if present == wanted:
        return [*done, f"pipeline {plan.pipeline_name}: as wanted"]
    cluster.write("PUT", f"/_search/pipeline/{plan.pipeline_name}", wanted)
    kept = foreign(present or {})
    return [
        *done,
        f"pipeline {plan.pipeline_name}: reranks {' + '.join(plan.fields)}" + (f"; kept {', '.join(kept)}" if kept else ""),
    ]


def _pipeline(found: Facts, plan: Plan, model_id: str) -> Json:
    if plan.query_path:
        return bodies.by_field_pipeline(
            model_id, field=plan.fields[0], query_path=plan.query_path, oversample=plan.oversample, description=MARK,
            has_oversample=found.has_oversample,
        )  # fmt: skip
    return bodies.pipeline(
        model_id, fields=plan.fields, oversample=plan.oversample, description=MARK, has_oversample=found.has_oversample
    )


def _clear_away(cluster: Cluster, plan: Plan, earlier: list[Installation], undo: Undo) -> list[str]:
    """Delete what earlier runs made, but for models that other pipelines still use."""
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
    """Remove what `install` made and restore the settings it changed; return what was done, a line each.

    Args:
        pipeline: its pipeline, where it has another name; those of ours that use its model are found anyway.

    Raises:
        EngineRefused: an index names the pipeline as its default, or someone's own pipeline uses the model; searches would fail.
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
            f"removed the pipeline {each}" + (f", and with it {', '.join(others)}, put there by others" if others else "")
        )
    undo = Undo()
    for installation in reversed(installations):  # the oldest first: it knows what the settings were
        ml_commons.delete(cluster, installation)
        done.append(f"removed the model and the connector {installation.connector_id}")
        undo = undo.merged(installation.record.undo)
    if not installations:
        return done or [f"nothing named {name!r} was made by slimrank here"]
    now = undo.without(undos_beside(cluster, installations))
    distrust(cluster, now)
    done.append("restored the settings" if now == undo else "kept those settings that other installations need")
    return done


def _require_unused(cluster: Cluster, name: str, ours: Iterable[str], strangers: list[str]) -> None:
    if indices := _indices_defaulting_to(cluster, ours):
        raise EngineRefused(
            f"asked to remove the pipeline {', '.join(sorted(ours))}, which is index.search.default_pipeline of {', '.join(indices)}; "
            "set that to _none first, or their searches fail"
        )
    if strangers:
        raise EngineRefused(
            f"asked to remove {name!r}, whose model the search pipeline {', '.join(strangers)} uses; "
            "take the model out of it first, or searches through it fail"
        )
