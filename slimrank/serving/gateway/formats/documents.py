"""Read documents that are texts or objects, and choose which text of an object is judged."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import Field, WithJsonSchema

from slimrank.errors import InvalidRequest
from slimrank.serving.gateway.bodies import kind_of
from slimrank.serving.gateway.formats.values import NOT_EMPTY

TEXT = "text"
Document = Annotated[
    str | dict[str, Any],
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "object", "properties": {TEXT: {"type": ["string", "null"]}}}]}),
]
Documents = Annotated[list[Document], Field(fail_fast=True, json_schema_extra=NOT_EMPTY)]
RankFields = Annotated[list[str], Field(fail_fast=True, max_length=100)]


def judged_texts(documents: Sequence[str | dict[str, Any]], rank_fields: Sequence[str] | None, *, name: str) -> list[str]:
    """Return the text of each document: itself, or an object's `rank_fields`, in that order; left out, its `text`.

    Args:
        name: what the format calls the documents, for errors.

    Raises:
        InvalidRequest: an object has none of the fields, or a `text` that is none.
    """
    return [
        document if isinstance(document, str) else _text_of(document, rank_fields, f"{name}.{place}")
        for place, document in enumerate(documents)
    ]


def _text_of(document: dict[str, Any], rank_fields: Sequence[str] | None, place: str) -> str:
    if not rank_fields and not isinstance(document.get(TEXT), str | None):
        raise InvalidRequest(
            f"{place}.{TEXT} should be a valid string, found {kind_of(document[TEXT])}; or name it in `rank_fields`", status=422
        )
    names = list(dict.fromkeys(rank_fields or [TEXT]))  # each once: a long list of one name would repeat the text
    values = [document[name] for name in names if document.get(name) is not None]
    if not values:
        raise InvalidRequest(f"{place} has none of the fields {', '.join(names)}; give it a `{TEXT}`", status=422)
    return "\n".join(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values)
