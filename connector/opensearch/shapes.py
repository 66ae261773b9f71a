"""Find field values that OpenSearch turns into wrong texts for the reranker, in a mapping and in sample documents. Pure.

As seen on 3.5.0: the rerank processor reads a top-level key of ``_source``, or the first value if the search requests the field
under ``fields``. A list becomes one text in brackets, a null becomes the word null, an object becomes its keys and values. If
``_source`` has no key of that name, the text is empty. ml_inference sends values unchanged, and fails if one hit of a page has
none.
"""

from collections.abc import Sequence
from typing import Any

from connector.findings import Finding
from connector.opensearch.judging_processors import JudgingProcessor, judges_of
from slimrank.types import Json

_ABSENT = object()


def mapping_traps(index: str, mapping: Json, pipeline: Json) -> list[Finding]:
    """Look for fields that can be searched but have no key in the ``_source`` of any document."""
    found = []
    for judge in judges_of(pipeline):
        for field in judge.fields:
            if kind := _derived(mapping, field):
                cure = f'judge the field that it is made from, or add "fields": ["{field}"] to every search'
                words = f"{field} of {index} is {kind}, so _source has no such key: every text would be empty"
                found.append(Finding("derived field", "fault", words, cure))
    return found


def _derived(mapping: Json, field: str) -> str:
    """Return how a field is made from another field; "" for all other fields."""
    properties: Json = mapping.get("properties", {})
    parent, _, last = field.rpartition(".")
    if properties.get(field, {}).get("type") == "alias":
        return "an alias"
    if parent and last in properties.get(parent, {}).get("fields", {}):
        return "a multi-field"
    return "filled by copy_to" if any(field in _listed(each.get("copy_to")) for each in properties.values()) else ""


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def value_traps(index: str, sources: Sequence[Json], pipeline: Json) -> list[Finding]:
    """Look in sample documents for values that reach the reranker as another text than a reader sees."""
    return [
        finding for judge in judges_of(pipeline) for field in judge.fields if sources for finding in _look(index, sources, judge, field)
    ]  # fmt: skip


def _look(index: str, sources: Sequence[Json], judge: JudgingProcessor, field: str) -> list[Finding]:
    values = [_value(source, field) for source in sources]
    by_field = bool(judge.query_path)
    seen = f"of {len(values)} sampled documents of {index}"
    cure = (
        "index one text in this field"
        if by_field
        else f'index one text in this field, or add "fields": ["{field}"] to the search, which reads the first value'
    )
    found = []
    for kind, shape, rule in (
        (list, "a list", "sent as one text in brackets, such as [red a, red b]"),
        (dict, "an object", "sent as its keys and values, such as {name=red}"),
        (type(None), "null", "sent as the word null"),
    ):
        if count := sum(isinstance(value, kind) for value in values):
            words = f"{count} {seen} have {shape} in {field}, " + (
                "which the gateway refuses: their page is not reranked" if by_field else rule
            )
            found.append(Finding("field values", "warning", words, cure))
    absent = sum(value is _ABSENT for value in values)
    if absent == len(values):
        words = f"none {seen} has {field} in its _source: every text would be empty"
        found.append(Finding("field values", "fault", words, "install with --field"))
    elif absent and by_field:
        words = f"{absent} {seen} have no {field}: a page with one of them is not reranked"
        found.append(
            Finding("field values", "warning", words, "index an empty text in this field, or install without --query-path")
        )
    return found


def _value(source: Json, field: str) -> Any:
    value: Any = source
    for name in field.split(".") if field not in source else [field]:
        value = value.get(name, _ABSENT) if isinstance(value, dict) else _ABSENT
    return value
