"""Indices, search pipelines and their reranking processors in memory, with the traps that were seen on 3.5.0."""

import json
import math
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from connector.opensearch import scripts
from slimrank.types import Json
from tests.connector.fake_gateway import Refused
from tests.connector.fake_ml_commons import FakeMlCommons


@dataclass
class FakeSearches(FakeMlCommons):
    has_ml: bool = True
    has_oversample: bool = True
    pipelines: dict[str, Json] = field(default_factory=dict)
    indices: dict[str, Json] = field(default_factory=dict)

    def _index(self, name: str) -> Json:
        if name not in self.indices:
            raise Refused(404, f"no such index [{name}]", "index_not_found_exception")
        return self.indices[name]

    def _create_index(self, name: str, body: Json) -> Json:
        self.indices[name] = {"documents": {}, "settings": body.get("settings", {}), "mappings": body.get("mappings", {})}
        return {"acknowledged": True}

    def _put_document(self, name: str, id: str, body: Json) -> Json:
        self.indices.setdefault(name, {"documents": {}, "settings": {}, "mappings": {}})["documents"][id] = body
        return {"result": "created"}

    def _index_settings(self, name: str, setting: str, body: Json) -> Json:
        chosen = self.indices if name == "_all" else {name: self._index(name)}
        kept = {
            id: {key: value for key, value in index["settings"].items() if fnmatchcase(key, setting)}
            for id, index in chosen.items()
        }
        return {id: {"settings": settings} for id, settings in kept.items() if settings}

    def _get_pipeline(self, name: str, body: Json) -> Json:
        if name not in self.pipelines:
            raise Refused(404, "")  # without a message, like OpenSearch
        return {name: self.pipelines[name]}

    def _put_pipeline(self, name: str, body: Json) -> Json:
        known = {"filter_query", "rename_field"} | ({"rerank", "ml_inference"} if self.has_ml else set())
        known |= {"oversample", "script", "truncate_hits"} if self.has_oversample else set()
        for kind in ("request_processors", "response_processors"):
            for processor in body.get(kind, []):
                if next(iter(processor)) not in known:
                    raise Refused(400, f"Invalid processor type {next(iter(processor))}")
        self.pipelines[name] = body
        return {"acknowledged": True}

    def _search(self, name: str, body: Json, pipeline_name: str | None) -> Json:
        chosen = body.get("search_pipeline", pipeline_name) or self._index(name)["settings"].get("index.search.default_pipeline")
        pipeline = chosen if isinstance(chosen, dict) else self.pipelines.get(chosen, {}) if chosen else {}
        start, wanted, size = self._asked(pipeline, body)
        hits = self._first_stage(name, body)[start : start + wanted]
        for processor in pipeline.get("response_processors", []):
            if "truncate_hits" in processor:
                hits = hits[:size]
            ((kind, options),) = processor.items()
            step = {"ml_inference": self._infer, "rerank": self._sort if "by_field" in options else self._rerank}.get(kind)
            try:
                hits = step(hits, options, body) if step else hits
            except Refused:
                if not options.get("ignore_failure"):
                    raise
        return {"hits": {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}}

    def _asked(self, pipeline: Json, body: Json) -> tuple[int, int, int]:
        """Return from, size and the size before oversampling, after the request processors; -1 if a search has none."""
        start, size, original = body.get("from", -1), body.get("size", -1), None
        for processor in pipeline.get("request_processors", []):
            ((kind, options),) = processor.items()
            if kind == "oversample":
                # like the first version of oversample; later versions use 10 if a search has no size
                original, size = size, math.ceil(size * options["sample_factor"])
                if size < 0:
                    raise Refused(400, f"[size] parameter cannot be negative, found [{size}]")
            elif processor == scripts.before_oversampling():
                if start > 0:
                    raise Refused(400, options["params"]["words"])
                size = options["params"]["size"] if size < 0 else size
            elif kind == "script":
                factor, most = options["params"]["factor"], options["params"]["most"]
                assert processor == scripts.after_oversampling(factor), "this stand-in only knows our scripts"
                size = max(int(size / factor), most) if size > most else size
        size = 10 if size < 0 else size
        if max(start, 0) + size > 10_000:
            raise Refused(400, f"Result window is too large, from + size must be less than or equal to: [10000] but was [{size}]")
        return max(start, 0), size, size if original is None else original

    def _first_stage(self, name: str, body: Json) -> list[Json]:
        if "match_all" in body["query"]:
            documents = self._index(name)["documents"].items()
            return [{"_index": name, "_id": id, "_score": 1.0, "_source": source} for id, source in documents]
        ((kind, clause),) = body["query"].items()
        field_name, clause = next(iter(clause.items())) if kind == "match" else ("text", clause)
        words = set((clause["query"] if isinstance(clause, dict) else clause).lower().split())
        hits = []
        for id, source in self._index(name)["documents"].items():
            text = str(source.get(field_name, "")).lower().split()
            if count := len([word for word in text if word in words]):
                kept = {} if body.get("_source") is False else source
                hits.append({"_index": name, "_id": id, "_score": count / len(text), "_source": kept})
        return sorted(hits, key=lambda hit: -hit["_score"])

    def _rerank(self, hits: list[Json], processor: Json, body: Json) -> list[Json]:
        if not hits and body.get("size", 10) > 0:
            return hits
        if "ext" not in body:
            raise Refused(500, 'Cannot invoke "RerankSearchExtBuilder.getParams()" because it is null', "null_pointer_exception")
        fields = processor["context"]["document_fields"]
        documents = ["".join(str(hit["_source"].get(name, "")) for name in fields) for hit in hits]
        query = body["ext"]["rerank"]["query_context"]["query_text"]
        scores = self._scores(processor["ml_opensearch"]["model_id"], query, documents)
        rescored = [{**hit, "_score": score} for hit, score in zip(hits, scores, strict=True)]
        return sorted(rescored, key=lambda hit: -hit["_score"])

    def _infer(self, hits: list[Json], processor: Json, body: Json) -> list[Json]:
        """Call the model once with one field of all hits, and give each hit the value at its place in the answer."""
        if not hits:
            return hits
        (inputs,), (outputs,) = processor["input_map"], processor["output_map"]
        query: Any = body
        for name in inputs["query"].removeprefix("$._request.").split("."):
            query = query.get(name) if isinstance(query, dict) else None
        if not isinstance(query, str) or any(inputs["documents"] not in hit["_source"] for hit in hits):
            raise Refused(400, "cannot find field in the hits or the request")
        answer = json.loads(self._call(processor["model_id"], query, [hit["_source"][inputs["documents"]] for hit in hits]))
        for target, path in outputs.items():
            value: Any = answer
            for name in path.removesuffix("[*]").split("."):
                if name not in value:
                    raise Refused(400, f"the answer has no {path}")
                value = value[name]
            values = value if path.endswith("[*]") else [value] * len(hits)  # a single value is given to every hit
            hits = [{**hit, "_source": {**hit["_source"], target: each}} for hit, each in zip(hits, values, strict=True)]
        return hits

    def _sort(self, hits: list[Json], processor: Json, body: Json) -> list[Json]:
        target = processor["by_field"]["target_field"]
        if any(target not in hit["_source"] for hit in hits):
            raise Refused(400, f"there is no field {target} in a hit")
        sorted_hits = []
        for hit in sorted(hits, key=lambda hit: -hit["_source"][target]):
            source = {key: value for key, value in hit["_source"].items() if key != target}
            sorted_hits.append({**hit, "_score": hit["_source"][target], "_source": {**source, "previous_score": hit["_score"]}})
        return sorted_hits
