"""From a body's fields to a call: which wire format they are, and whether they can be answered.

The keys decide the format, whatever the route and whatever stands in the texts (``formats``).
"""

from functools import cache
from typing import Any

from pydantic import AliasChoices, ValidationError

from slimrank.errors import InvalidRequest
from slimrank.request_checks import check_request
from slimrank.serving.gateway.bodies import kind_of
from slimrank.serving.gateway.formats.call import RerankCall
from slimrank.serving.gateway.formats.cohere import RerankBody
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.formats.mixedbread import RerankingBody
from slimrank.serving.gateway.formats.nvidia import RankingBody
from slimrank.serving.gateway.formats.tei import TeiBody
from slimrank.serving.gateway.formats.vllm import ONE_SIDE, ScoreBody
from slimrank.types import RerankRequest

# The first key that a body has; one that has none of them is taken for Cohere's.
_KEYS: dict[str, type[Body]] = {"documents": RerankBody, "texts": TeiBody, "passages": RankingBody, "input": RerankingBody}


def parse(fields: dict[str, Any], *, max_documents: int) -> RerankCall:
    """Return the call that a body's fields are.

    Raises:
        InvalidRequest: a field is missing or of another type, or there is too much or too little of something.
    """
    body = body_of_keys(fields)
    for name in fields.keys() & _words(body):  # before each element is looked at
        if isinstance(value := fields[name], list) and len(value) > max_documents:
            raise InvalidRequest(f"{len(value)} {name} are too many: at most {max_documents} a request; send fewer", status=413)
    try:
        call = body.model_validate(fields).to_call()
    except ValidationError as error:
        raise InvalidRequest(_explain(error, body), status=422) from error
    _check(call.job.request, max_documents)
    return call


def body_of_keys(fields: dict[str, Any]) -> type[Body]:
    """Tell the formats apart by a body's keys."""
    if "query" not in fields and not fields.keys().isdisjoint(ONE_SIDE):
        return ScoreBody  # whose texts may be called `documents` too
    return next((body for key, body in _KEYS.items() if key in fields), RerankBody)


@cache
def _words(body: type[Body]) -> set[str]:
    """Return what a format calls its fields, less the one whose list has a limit of its own."""
    aliases = [field.validation_alias for field in body.model_fields.values()]
    choices = [choice for alias in aliases if isinstance(alias, AliasChoices) for choice in alias.choices]
    return set(body.model_fields) - {"rank_fields"} | {choice for choice in choices if isinstance(choice, str)}


def _explain(error: ValidationError, body: type[Body]) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(map(str, filter(_is_of_the_caller, first["loc"])))
    if first["type"] == "missing":
        needed = " and ".join(f"`{name}`" for name, field in body.model_fields.items() if field.is_required())
        return f"{place} is missing; send an object with {needed}"
    if first["type"] == "too_long":
        return f"{place} should have at most {first['ctx']['max_length']} entries, found {len(first['input'])}"
    message = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ").replace("a valid list", "a valid array")
    return f"{place} should be {message}, found {kind_of(first['input'])}"


def _is_of_the_caller(part: str | int) -> bool:
    """Return whether a part of an error's place is a key or an index of the body, and not the name of a type that was tried."""
    return isinstance(part, int) or (part.isidentifier() and part not in ("str", "bool", "int"))


def _check(request: RerankRequest, max_documents: int) -> None:
    check_request(request.query, request.documents, max_documents=max_documents)
    if not request.documents:
        raise InvalidRequest("documents is empty; send at least one, or skip reranking where the first stage found nothing")
    if not any(text.strip() for text in request.documents):
        raise InvalidRequest(
            "every document is empty; check that the engine sends the field to be judged"
            " (in OpenSearch, that `_source` keeps the pipeline's document_fields)"
        )
