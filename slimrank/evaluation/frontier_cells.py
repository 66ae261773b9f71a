"""Read and write the folder of ``slimrank frontier``, cell by cell, so that a run measures only the missing cells.

    FOLDER/scores/MODEL/SET.SPLIT.jsonl     each text's score, so that no pair is scored twice (``slimrank.trials.kept_scores``)
    FOLDER/quality/SET.SPLIT/MODEL.json     nDCG@10 of every query under each setting; holds for any machine
    FOLDER/times/MODEL.json                 milliseconds of one request under each setting, on the machine that it names

A cascade's file has both names, and a first stage's its own. Quality can come from one machine and times from another. Embedding
models get their files from ``slimrank train baseline``, because their code lives there; the two commands meet in this folder.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from slimrank.errors import DataError
from slimrank.evaluation import measures
from slimrank.evaluation.beir import Collection, read_collection
from slimrank.evaluation.evaluate import changes, first_stage, mean_gain, sample_queries, window
from slimrank.evaluation.frontier import FIRST_STAGE, Report, Row, Setting, marked
from slimrank.evaluation.splits import shared_with_train
from slimrank.files import parse_json, read_text, replace_text
from slimrank.fusion import fuse_run
from slimrank.types import Qrels, Run

NDCG, NDCG_HITS = "nDCG@10", 10
SCORES, QUALITY, TIMES = "scores", "quality", "times"
PerQuery = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Draw:
    """Sampled queries of a test set with the first stage's hits, the same for every model."""

    collection: Collection
    split: str
    seed: int
    run: Run
    """Query id -> hits. A query without hits is in it too: it counts 0 before and after."""

    @property
    def name(self) -> str:
        """The set and its split."""
        return f"{self.collection.name}.{self.split}"

    @property
    def qrels(self) -> Qrels:
        """The judgments of the sampled queries."""
        return {query_id: self.collection.qrels[query_id] for query_id in self.run}


def draw(folder: Path, split: str, *, queries: int, seed: int, hits: int) -> Draw:
    """Sample queries as ``slimrank evaluate`` does, and search them; those that stand in the train split are left out.

    Raises:
        DataError: no query is left.
    """
    collection = read_collection(folder, split)
    seen = shared_with_train(folder, split).query_ids
    query_ids = [query_id for query_id in sample_queries(collection, queries, seed) if query_id not in seen]
    if not query_ids:
        raise DataError(f"every sampled query of {collection.name} also stands in its train split; measure on other queries")
    return Draw(collection, split, seed, first_stage(collection, query_ids, max(hits, NDCG_HITS)))


@dataclass(frozen=True, slots=True)
class Figures:
    """nDCG@10 of each query under one setting."""

    setting: Setting
    alone: PerQuery
    fused: PerQuery | None = None

    @property
    def served(self) -> PerQuery:
        """nDCG@10 of each query as a server would answer: fused if the model has a weight, else alone."""
        return self.alone if self.fused is None else self.fused


def figures(drawn: Draw, setting: Setting, scores: Run, fusion_weight: float) -> Figures:
    """Return nDCG@10 after the first ``setting.hits`` hits are reordered by their scores.

    Args:
        scores: Of those hits at least.
    """
    first = {query_id: dict(list(hits.items())[: setting.hits]) for query_id, hits in drawn.run.items() if hits}
    alone = _ndcg(drawn, first, scores, setting.hits)
    if not fusion_weight:
        return Figures(setting, alone)
    return Figures(setting, alone, _ndcg(drawn, first, fuse_run(first, scores, fusion_weight), setting.hits))


def _ndcg(drawn: Draw, first: Run, scores: Run, hits: int) -> PerQuery:
    whole = {query_id: drawn.run[query_id] for query_id in first}
    return measures.per_query(drawn.qrels, window(whole, {query_id: scores[query_id] for query_id in first}, hits), [NDCG])[NDCG]


def first_stage_figures(drawn: Draw, model: str, run: Run, *, is_served: bool = False) -> Figures:
    """Return the figures of a first stage alone."""
    return Figures(Setting(model, is_served=is_served), measures.per_query(drawn.qrels, run, [NDCG])[NDCG])


# -- files -------------------------------------------------------------------------------------------------------------


def quality_file(folder: Path, set_name: str, name: str) -> Path:
    """Return where the figures of a model on a set are kept."""
    return folder / QUALITY / set_name / f"{name.replace('/', '_')}.json"


def times_file(folder: Path, name: str) -> Path:
    """Return where the times of a model are kept."""
    return folder / TIMES / f"{name.replace('/', '_')}.json"


def keep_quality(folder: Path, drawn: Draw, name: str, model: str, found: Iterable[Figures]) -> None:
    """Keep figures beside those of other settings that are there already.

    Args:
        model: What the figures hold for, such as a hash; figures of another one are thrown away.
    """
    file, key = quality_file(folder, drawn.name, name), {"model": model, "seed": drawn.seed, "queries": sorted(drawn.run)}
    old = kept_quality(folder, drawn, name, model)
    settings = old | {each.setting: each for each in found}
    _keep(file, key | {"settings": [asdict(each) for each in settings.values()]})


def kept_quality(folder: Path, drawn: Draw, name: str, model: str) -> dict[Setting, Figures]:
    """Return the figures that are kept of just this model and these queries."""
    record = _kept(quality_file(folder, drawn.name, name))
    key = {"model": model, "seed": drawn.seed, "queries": sorted(drawn.run)}
    if record is None or {part: record.get(part) for part in key} != key:
        return {}
    return {found.setting: found for found in map(_figures, record["settings"])}


def _figures(record: Mapping[str, Any]) -> Figures:
    return Figures(Setting(**record["setting"]), record["alone"], record["fused"])


def keep_times(folder: Path, name: str, about: Mapping[str, Any], found: Mapping[Setting, list[float]]) -> None:
    """Keep the milliseconds of each request under each setting.

    Args:
        about: ``model``, its hash, ``threads``, and what ``slimrank.processor.conditions`` says.
    """
    _keep(times_file(folder, name), dict(about) | {"settings": [{"setting": asdict(key), "ms": ms} for key, ms in found.items()]})


def kept_times(folder: Path, name: str, wanted: Mapping[str, Any]) -> dict[Setting, list[float]]:
    """Return the times that are kept, if they were taken under ``wanted``, such as on this machine."""
    record = _kept(times_file(folder, name))
    if record is None or any(record.get(part) != value for part, value in wanted.items()):
        return {}
    return {Setting(**each["setting"]): each["ms"] for each in record["settings"]}


def _kept(file: Path) -> dict[str, Any] | None:
    if not file.is_file():
        return None
    try:
        found = parse_json(read_text(file))
        if not isinstance(found["settings"], list):
            raise TypeError("its settings are no list")
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{file} was not written by `slimrank frontier` ({error}); remove it") from error
    return dict(found)


def _keep(file: Path, record: Mapping[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with replace_text(file) as stream:
        json.dump(record, stream)


# -- the report --------------------------------------------------------------------------------------------------------


def report(folder: Path) -> Report:
    """Return all cells of the folder as one report. A mean needs all sets: a setting that lacks a set has no mean.

    Raises:
        DataError: there is nothing yet, sets were drawn differently, or times are of several machines.
    """
    sets, seed = _quality(folder)
    times, about = _times(folder)
    if not sets and not times:
        raise DataError(f"{folder} holds nothing yet; name test sets with --data, and models with --model")
    before = {name: next(each for each in found if each.model == FIRST_STAGE and not each.hits) for name, found in sets.items()}
    settings = dict.fromkeys([setting for found in sets.values() for setting in found] + list(times))
    rows = [_row(setting, sets, before, _time_of(setting, times)) for setting in settings]
    queries = {name: len(found[before[name]].alone) for name, found in sets.items()}
    return Report(marked(rows), queries, seed, **about)


def _quality(folder: Path) -> tuple[dict[str, dict[Setting, Figures]], int]:
    """Return set -> setting -> figures, and the seed of the draws."""
    sets: dict[str, dict[Setting, Figures]] = {}
    seeds = set()
    for place in sorted((folder / QUALITY).glob("*/")):
        records = {file: record for file in sorted(place.glob("*.json")) if (record := _kept(file))}
        drawn = {tuple(record["queries"]) for record in records.values()}
        if len(drawn) > 1:
            raise DataError(f"the files in {place} are of different queries; remove those of the draw that is not wanted")
        seeds |= {record["seed"] for record in records.values()}
        sets[place.name] = {each.setting: each for record in records.values() for each in map(_figures, record["settings"])}
    if len(seeds) > 1:
        raise DataError(f"{folder} holds figures of the seeds {', '.join(map(str, sorted(seeds)))}; remove those of all but one")
    return sets, min(seeds, default=0)


def _times(folder: Path) -> tuple[dict[Setting, float], dict[str, Any]]:
    """Return the median milliseconds of each setting, and the conditions of the first measurement."""
    records = {file: record for file in sorted((folder / TIMES).glob("*.json")) if (record := _kept(file))}
    machines = sorted({record["machine"] for record in records.values()})
    if len(machines) > 1:
        raise DataError(
            f"the times in {folder / TIMES} are of {' and of '.join(machines)}; measure all on one machine, or remove some"
        )
    found = {Setting(**each["setting"]): median(each["ms"]) for record in records.values() for each in record["settings"]}
    latest = max(records.values(), key=lambda record: str(record["date"]), default=None)
    load = max((record["load"] for record in records.values()), default=0.0)
    return found, {"machine": latest["machine"], "date": latest["date"], "load": load} if latest else {}


def _time_of(setting: Setting, times: Mapping[Setting, float]) -> float | None:
    """Return the measured time; the time of a cascade is that of its two models together."""
    if setting in times or not setting.first:
        return 0.0 if setting.model == FIRST_STAGE else times.get(setting)
    cheap = times.get(Setting(setting.first, setting.hits, setting.tokens, setting.window))
    full = times.get(Setting(setting.model, setting.keep, setting.tokens, setting.window))
    return None if cheap is None or full is None else cheap + full


def _row(
    setting: Setting, sets: Mapping[str, Mapping[Setting, Figures]], before: Mapping[str, Setting], p50_ms: float | None
) -> Row:
    if not sets or any(setting not in found for found in sets.values()):
        return Row(setting, p50_ms=p50_ms)
    each = [found[setting] for found in sets.values()]
    gains = [changes(found[before[name]].alone, found[setting].served) for name, found in sets.items()]
    return Row(
        setting,
        _mean([one.alone for one in each]),
        None if any(one.fused is None for one in each) else _mean([one.served for one in each]),
        None if setting == next(iter(before.values())) else mean_gain(gains),
        p50_ms,
    )


def _mean(sets: Iterable[PerQuery]) -> float:
    means = [sum(values.values()) / len(values) for values in sets]
    return sum(means) / len(means)
