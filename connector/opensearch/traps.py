"""Find the known traps of reranking inside OpenSearch, in configuration and in search bodies. Pure: sends nothing.

Each trap was seen on 3.5.0 or read in the sources of ML Commons and neural-search. With a ``fault`` the search fails or is not
reranked properly; with a ``warning`` the answer is worse than it seems.
"""

import re
from typing import Any

from connector.facts import Facts
from connector.findings import Finding
from connector.opensearch.judging_processors import capped, judges_of, refuses_pages, sample_factor
from connector.opensearch.scripts import DEFAULT_SIZE, MOST_HITS
from connector.opensearch.trust import host_of
from connector.query_text import find_query_text
from slimrank.types import Json

NESTED_SINCE = (3, 6)
_LONGEST_SENSIBLE_TIMEOUT = 60  # seconds; a larger number was meant in milliseconds
_MAX_PATH = 1000


def document_fields(pipeline: Json) -> list[str]:
    """Return the fields that the pipeline judges."""
    return [field for judge in judges_of(pipeline) for field in judge.fields]


def pipeline_traps(facts: Facts, pipeline: Json) -> list[Finding]:
    """Check a search pipeline."""
    found, fields = [], document_fields(pipeline)
    if len(judges_of(pipeline)) > 1:
        found.append(
            Finding("two rerankers", "fault", "the second rerank processor fails, because the first removes the query text",
                            "keep one; configure a cheap first pass in the gateway")
        )  # fmt: skip
    if len(fields) > 1:
        found.append(
            Finding("joined fields", "warning", f"OpenSearch joins {', '.join(fields)} with nothing between them",
                    "judge one field, into which all are copied at indexing time")
        )  # fmt: skip
    if facts.version < NESTED_SINCE and (dotted := [field for field in fields if "." in field]):
        found.append(
            Finding(
                "nested fields", "fault", f"{facts.name} reads {', '.join(dotted)} as empty; 3.6 can", "judge a top-level field"
            )
        )
    if sample_factor(pipeline) > 1 and not refuses_pages(pipeline):
        words = "a search without a size is refused (400), and pages after the first repeat some hits and lose others"
        found.append(Finding("oversampling", "fault", words, "run install again"))
    if any(not judge.fails_soft for judge in judges_of(pipeline)):
        found.append(
            Finding(
                "loud failures", "warning", "if the reranker fails, the search fails", "run install again: it sets ignore_failure"
            )
        )
    return found


def connector_traps(connector: Json) -> list[Finding]:
    """Check an ML Commons connector."""
    found, config = [], connector.get("client_config") or {}
    url = connector["actions"][0]["url"]
    if "_" in host_of(url):
        found.append(
            Finding("host name", "fault", f"{url} has an underscore in its host, which Java's URI reads as no host", "rename it")
        )
    for name in ("connection_timeout", "read_timeout"):
        value = config.get(name)
        if value is None:
            found.append(
                Finding(name, "fault", "it is not set, and its default is hours in some versions", "run install with --replace")
            )
        elif int(value) > _LONGEST_SENSIBLE_TIMEOUT:
            found.append(
                Finding(
                    name,
                    "fault",
                    f"it is {value} seconds, so searches would hang",
                    "run install with --read-timeout 5 --replace",
                )
            )
    action = connector["actions"][0]
    request, script = str(action.get("request_body", "")), str(action.get("pre_process_function", ""))
    if "${parameters.documents}" in request:
        found.append(
            Finding("placeholder", "fault", "ML Commons replaces every ${parameters.*} in a document or a query, and sends a query that is "
                            "itself JSON, such as [\"error\"], unquoted: such searches are not reranked, or by another text", "run install again")
        )  # fmt: skip
    if request and "first_stage_order" not in request + script:
        found.append(
            Finding("first stage", "warning", "the connector does not say that hits are in first-stage order, so a model that was "
                            "fitted with that order uses its scores alone", "run install again")
        )  # fmt: skip
    if int(config.get("max_retry_times", 0)) != 0:
        found.append(
            Finding(
                "retries",
                "warning",
                "retries make a slow search slower, and in tests they did not happen",
                "leave max_retry_times at 0",
            )
        )
    return found


def model_traps(model: Json) -> list[Finding]:
    """Check an ML Commons model."""
    found = []
    if model.get("guardrails"):
        found.append(
            Finding(
                "guardrails",
                "warning",
                "guardrails run on every document, and a search that they stop fails",
                "remove the guardrails",
            )
        )
    if model.get("rate_limiter"):
        found.append(
            Finding(
                "rate limiter",
                "warning",
                "searches beyond the limit are not reranked",
                "raise the limit, or set it in the gateway instead",
            )
        )
    if model.get("is_enabled") is False:
        found.append(Finding("model", "fault", "the model is disabled", "enable it"))
    return found


def index_traps(
    index: str, mapping: Json, settings: Json, pipeline: Json, default_pipeline: str | None, size: int = DEFAULT_SIZE
) -> list[Finding]:
    """Check an index that is searched through the pipeline.

    Args:
        mapping: The index's ``mappings``.
        settings: The index's flat settings.
        size: The largest size that a search requests.
    """
    found = []
    source = mapping.get("_source") or {}
    for field in document_fields(pipeline):
        if field_type(mapping, field) is None:
            found.append(
                Finding(
                    "missing field",
                    "fault",
                    f"{index} has no field {field}: every document would be empty",
                    "install with --field",
                )
            )
        elif source.get("enabled") is False or _excluded(field, source):
            found.append(
                Finding(
                    "source",
                    "fault",
                    f"{index} does not keep {field} in _source: every document would be empty",
                    "keep the field in _source, and reindex",
                )
            )
    most = int(settings.get("index.max_result_window", MOST_HITS))
    window = min(size * sample_factor(pipeline), max(size, MOST_HITS)) if capped(pipeline) else size * sample_factor(pipeline)
    if window > most:
        words = f"a search for {size} hits requests {window:.0f} from {index}, more than its max_result_window of {most}: it is refused (400)"
        found.append(Finding("window", "fault", words, "install with a smaller --oversample, or ask for fewer hits"))
    judges = judges_of(pipeline)
    if default_pipeline and not any(judge.query_path for judge in judges):
        soft = all(judge.fails_soft for judge in judges)
        fate = "return the first-stage order, and fetch the whole window for nothing" if soft else "fail (500)"
        found.append(
            Finding("default pipeline", "warning" if soft else "fault", f"{index} runs {default_pipeline} for every search; searches without "
                            f"ext.rerank {fate}", "set index.search.default_pipeline to _none and name the pipeline in the search")
        )  # fmt: skip
    return found


def field_type(mapping: Json, field: str) -> str | None:
    """Return the mapped type of a dotted field; None if it is not mapped."""
    properties = mapping.get("properties", {})
    *parents, last = field.split(".")
    for parent in parents:
        entry = properties.get(parent, {})
        properties = entry.get("properties") or entry.get("fields") or {}
    found = properties.get(last)
    return None if found is None else str(found.get("type", "object"))


def _excluded(field: str, source: Json) -> bool:
    return any(_matches(field, pattern) for pattern in _patterns(source.get("excludes"))) or (
        bool(source.get("includes")) and not any(_matches(field, pattern) for pattern in _patterns(source["includes"]))
    )


def _patterns(value: Any) -> list[str]:
    return [str(entry) for entry in value] if isinstance(value, list) else [str(value)] if value else []


def _matches(field: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*") + r"(\..*)?", field) is not None


def body_traps(body: Json, pipeline: Json) -> list[Finding]:
    """Check a search body that will use the pipeline."""
    paths = [judge.query_path for judge in judges_of(pipeline) if judge.query_path]
    if "params" in body and ("id" in body or isinstance(body.get("source"), str)):
        words = (
            "a search template is not reranked: OpenSearch does not run the processor on the search that it makes from a template"
        )
        return [Finding("search template", "fault", words, "send the finished search instead")]
    found = _path_traps(body, paths[0]) if paths else _context_traps(body)
    if body.get("size") == 0 and not paths:
        found.append(
            Finding("size 0", "fault", "the reranker refuses a search with size 0 (400)", "send it with search_pipeline=_none")
        )
    found += _page_traps(body, pipeline)
    if body.get("track_total_hits") is False:
        found.append(
            Finding("totals", "fault", "the rerank processor needs the total number of hits", "leave track_total_hits out")
        )
    if body.get("sort") not in (None, [], "_score", ["_score"]):
        found.append(
            Finding("sort", "warning", "the requested order counts as the first-stage order, and the reranker replaces it",
                    "send it with search_pipeline=_none")
        )  # fmt: skip
    if empty := _filtered_away(body, document_fields(pipeline)):
        found.append(
            Finding("_source filter", "fault", f"{', '.join(empty)} is filtered out of _source: the reranker gets empty texts",
                    "keep it in _source, or request it under `fields`")
        )  # fmt: skip
    return found


def _page_traps(body: Json, pipeline: Json) -> list[Finding]:
    found, cure = [], "request all pages at once with size and cut them yourself, or search through `slimrank proxy`"
    if int(body.get("from") or 0) > 0:
        if refuses_pages(pipeline):
            words = "the pipeline refuses pages after the first (400): reranked pages would repeat some hits and lose others"
            found.append(Finding("paging", "fault", words, cure))
        elif sample_factor(pipeline) > 1:
            words = "each page also fetches and reranks hits of the next pages: pages repeat some hits and lose others"
            found.append(Finding("paging", "fault", words, f"run install again; {cure}"))
        else:
            words = "each page is reranked alone: hits cannot move between pages"
            found.append(Finding("paging", "warning", words, "cut the pages in the client, or search through `slimrank proxy`"))
    for name in ("search_after", "scroll"):
        if body.get(name):
            words = f"{name} continues after the last hit of a page, but reranking changes which hit is last: some hits repeat, others are lost"
            found.append(Finding(name, "fault", words, "send it with search_pipeline=_none"))
    return found


def _context_traps(body: Json) -> list[Finding]:
    context = (body.get("ext") or {}).get("rerank", {}).get("query_context")
    if not isinstance(context, dict):
        example = find_query_text(body).text or "..."
        return [
            Finding("ext.rerank", "fault", "the search does not name the text to judge by, so it fails or is not reranked",
                    f'add "ext": {{"rerank": {{"query_context": {{"query_text": "{example}"}}}}}}')
        ]  # fmt: skip
    text, path = context.get("query_text"), context.get("query_text_path")
    if (text is None) == (path is None):
        return [Finding("query_context", "fault", "it needs exactly one of query_text and query_text_path", "give one of them")]
    if path is not None and (len(path) > _MAX_PATH or not isinstance(_at(body, path), str)):
        return [
            Finding(
                "query_text_path",
                "fault",
                f"there is no text at {path!r} in this search",
                "name the path of the query text",
            )
        ]
    return []


def _path_traps(body: Json, path: str) -> list[Finding]:
    if isinstance(_at(body, path), str):
        return []
    words = f"the pipeline reads the query text at {path}, but this search has no text there: it is not reranked"
    return [Finding("query path", "fault", words, "put the query text there in every search, or install without --query-path")]


def _at(body: Json, path: str) -> Any:
    value: Any = body
    for name in path.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _filtered_away(body: Json, fields: list[str]) -> list[str]:
    source, asked = body.get("_source", True), _patterns(body.get("fields"))
    missing = [field for field in fields if not any(_matches(field, pattern) for pattern in asked)]
    if source is True or source == "true":
        return []
    if source is False or source == "false":
        return missing
    filters = source if isinstance(source, dict) else {"includes": source}
    return [field for field in missing if _excluded(field, filters)]


def msearch_traps(lines: list[Json]) -> list[Finding]:
    """Check the lines of an _msearch body: headers and searches alternate."""
    if any("search_pipeline" in header for header in lines[::2]):
        return [Finding("_msearch", "fault", "search_pipeline in a header line is refused (400)", "put it into the body line")]
    return []
