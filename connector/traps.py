"""The known traps of reranking inside OpenSearch, found in configuration and search bodies. Pure: sends nothing.

Each was seen on 3.5.0 or read in the sources of ML Commons and neural-search. `fault` fails or empties the search,
`warning` gives a worse answer than it looks.
"""

import re
from typing import Any

from connector.facts import Facts
from connector.findings import Finding
from connector.judges import capped, judges_of, refuses_pages, sample_factor
from connector.query_text import find_query_text
from connector.scripts import DEFAULT_SIZE, MOST_HITS
from connector.trust import host_of

Json = dict[str, Any]

NESTED_SINCE = (3, 6)
_LONGEST_SENSIBLE_TIMEOUT = 60  # seconds; a larger number was meant in milliseconds
_MAX_PATH = 1000


def document_fields(pipeline: Json) -> list[str]:
    """Return the fields that the pipeline judges."""
    return [field for judge in judges_of(pipeline) for field in judge.fields]


def pipeline_traps(facts: Facts, pipeline: Json) -> list[Finding]:
    """Look at a search pipeline."""
    found, fields = [], document_fields(pipeline)
    if len(judges_of(pipeline)) > 1:
        found.append(
            Finding("two rerankers", "fault", "the second rerank processor fails: the first takes the query text away",
                    "keep one; a cheap first pass belongs in the gateway")
        )  # fmt: skip
    if len(fields) > 1:
        found.append(
            Finding("joined fields", "warning", f"OpenSearch joins {', '.join(fields)} with nothing between them",
                    "judge one field, made of both by copy at indexing time")
        )  # fmt: skip
    if facts.version < NESTED_SINCE and (dotted := [field for field in fields if "." in field]):
        found.append(
            Finding(
                "nested fields", "fault", f"{facts.name} reads {', '.join(dotted)} as empty; 3.6 can", "judge a top-level field"
            )
        )
    if sample_factor(pipeline) > 1 and not refuses_pages(pipeline):
        words = "a search that says no size is refused (400), and pages behind the first repeat some hits and lose others"
        found.append(Finding("oversampling", "fault", words, "run install again"))
    if any(not judge.fails_soft for judge in judges_of(pipeline)):
        found.append(
            Finding("loud failures", "warning", "a failing reranker fails the search", "set ignore_failure: run install again")
        )
    return found


def connector_traps(connector: Json) -> list[Finding]:
    """Look at an ML Commons connector."""
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
                    f"it is {value}, which are seconds: searches would hang",
                    "run install with --read-timeout 5 --replace",
                )
            )
    action = connector["actions"][0]
    request, script = str(action.get("request_body", "")), str(action.get("pre_process_function", ""))
    if "${parameters.documents}" in request:
        found.append(
            Finding("placeholder", "fault", "ML Commons fills in every ${parameters.*} that a document or a query holds, and sends a query that "
                    "is JSON itself, such as [\"error\"], unquoted: such searches are not reranked, or by another text", "run install again")
        )  # fmt: skip
    if request and "first_stage_order" not in request + script:
        found.append(
            Finding("first stage", "warning", "the connector does not say that hits come in the first stage's order, so a model "
                    "fitted with it goes by its scores alone", "run install again")
        )  # fmt: skip
    if int(config.get("max_retry_times", 0)) != 0:
        found.append(
            Finding(
                "retries", "warning", "retries lengthen a slow search and were seen not to happen", "leave max_retry_times at 0"
            )
        )
    return found


def model_traps(model: Json) -> list[Finding]:
    """Look at an ML Commons model."""
    found = []
    if model.get("guardrails"):
        found.append(
            Finding("guardrails", "warning", "guardrails run on every document and fail the search they stop", "take them off")
        )
    if model.get("rate_limiter"):
        found.append(
            Finding("rate limiter", "warning", "searches beyond the limit are not reranked", "raise it, or limit in the gateway")
        )
    if model.get("is_enabled") is False:
        found.append(Finding("model", "fault", "the model is disabled", "enable it"))
    return found


def index_traps(
    index: str, mapping: Json, settings: Json, pipeline: Json, default_pipeline: str | None, size: int = DEFAULT_SIZE
) -> list[Finding]:
    """Look at an index that is searched through the pipeline.

    Args:
        mapping: its `mappings`.
        settings: its flat settings.
        size: the largest that a search asks for.
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
                    "reindex with it",
                )
            )
    most = int(settings.get("index.max_result_window", MOST_HITS))
    window = min(size * sample_factor(pipeline), max(size, MOST_HITS)) if capped(pipeline) else size * sample_factor(pipeline)
    if window > most:
        words = (
            f"a search for {size} hits asks {index} for {window:.0f}, beyond its max_result_window of {most}: it is refused (400)"
        )
        found.append(Finding("window", "fault", words, "install with a smaller --oversample, or ask for fewer hits"))
    judges = judges_of(pipeline)
    if default_pipeline and not any(judge.query_path for judge in judges):
        soft = all(judge.fails_soft for judge in judges)
        fate = "come back in the first stage's order, and fetch the whole window in vain" if soft else "fail (500)"
        found.append(
            Finding("default pipeline", "warning" if soft else "fault", f"{index} runs {default_pipeline} for every search; those without "
                    f"ext.rerank {fate}", "set index.search.default_pipeline to _none and name the pipeline in the search")
        )  # fmt: skip
    return found


def field_type(mapping: Json, field: str) -> str | None:
    """Return the mapped type of a dotted field, or None."""
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
    """Look at a search body that is to go through the pipeline."""
    paths = [judge.query_path for judge in judges_of(pipeline) if judge.query_path]
    if "params" in body and ("id" in body or isinstance(body.get("source"), str)):
        words = "a search template is not reranked: OpenSearch does not run the processor on what it makes of one"
        return [Finding("search template", "fault", words, "send the search itself")]
    found = _path_traps(body, paths[0]) if paths else _context_traps(body)
    if body.get("size") == 0 and not paths:
        found.append(
            Finding(
                "size 0", "fault", "a search without hits is refused by the reranker (400)", "send it with search_pipeline=_none"
            )
        )
    found += _page_traps(body, pipeline)
    if body.get("track_total_hits") is False:
        found.append(Finding("totals", "fault", "the rerank processor needs the total of hits", "leave track_total_hits out"))
    if body.get("sort") not in (None, [], "_score", ["_score"]):
        found.append(
            Finding("sort", "warning", "the order asked for is taken for the first stage's, and replaced by the reranker's",
                    "send it with search_pipeline=_none")
        )  # fmt: skip
    if empty := _filtered_away(body, document_fields(pipeline)):
        found.append(
            Finding("_source filter", "fault", f"{', '.join(empty)} is filtered out of _source: the reranker gets empty texts",
                    "let _source keep it, or ask for it under `fields`")
        )  # fmt: skip
    return found


def _page_traps(body: Json, pipeline: Json) -> list[Finding]:
    found, cure = [], "ask for all pages at once with size and cut them yourself, or search through `slimrank proxy`"
    if int(body.get("from") or 0) > 0:
        if refuses_pages(pipeline):
            words = "the pipeline refuses a page behind the first (400): reranked, pages would repeat some hits and lose others"
            found.append(Finding("paging", "fault", words, cure))
        elif sample_factor(pipeline) > 1:
            words = "each page fetches and reranks hits of the next ones too: pages repeat some hits and lose others"
            found.append(Finding("paging", "fault", words, f"run install again; {cure}"))
        else:
            words = "each page is reranked by itself: hits cannot move between pages"
            found.append(Finding("paging", "warning", words, "page in the client, or through `slimrank proxy`"))
    for name in ("search_after", "scroll"):
        if body.get(name):
            words = f"{name} goes on behind the last hit of the first stage's page, which is another after reranking: hits come twice or never"
            found.append(Finding(name, "fault", words, "send it with search_pipeline=_none"))
    return found


def _context_traps(body: Json) -> list[Finding]:
    context = (body.get("ext") or {}).get("rerank", {}).get("query_context")
    if not isinstance(context, dict):
        example = find_query_text(body).text or "..."
        return [
            Finding("ext.rerank", "fault", "the search does not say what to judge by, and fails or is not reranked",
                    f'add "ext": {{"rerank": {{"query_context": {{"query_text": "{example}"}}}}}}')
        ]  # fmt: skip
    text, path = context.get("query_text"), context.get("query_text_path")
    if (text is None) == (path is None):
        return [Finding("query_context", "fault", "it needs exactly one of query_text and query_text_path", "keep one")]
    if path is not None and (len(path) > _MAX_PATH or not isinstance(_at(body, path), str)):
        return [
            Finding(
                "query_text_path",
                "fault",
                f"{path!r} does not lead to a text of this search",
                "name the path of the query's text",
            )
        ]
    return []


def _path_traps(body: Json, path: str) -> list[Finding]:
    if isinstance(_at(body, path), str):
        return []
    words = f"the pipeline reads the query's text at {path}, where this search has none: it is not reranked"
    return [Finding("query path", "fault", words, "send every search in that shape, or install without --query-path")]


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
    """Look at the lines of an _msearch body: headers and searches in turn."""
    if any("search_pipeline" in header for header in lines[::2]):
        return [Finding("_msearch", "fault", "search_pipeline in a header line is refused (400)", "put it in the body line")]
    return []
