"""vLLM's `/score`: a query and each of some texts, answered in the order of the texts.

vLLM names the two sides in four ways, and also pairs many queries with as many texts. Here a request has one query,
which may be repeated.
"""

from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, Field, WithJsonSchema

from slimrank.errors import InvalidRequest
from slimrank.serving.gateway.formats.call import Ranking, RerankCall
from slimrank.serving.gateway.formats.cohere import Usage
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.formats.values import NOT_BLANK, NOT_EMPTY

_TEXT: dict[str, Any] = {"type": "string"} | NOT_BLANK
Texts = Annotated[
    list[str],
    Field(fail_fast=True),
    BeforeValidator(lambda value: [value] if isinstance(value, str) else value),
    WithJsonSchema({"anyOf": [_TEXT, {"type": "array", "items": _TEXT} | NOT_EMPTY]}),
]
ONE_SIDE = ("text_1", "queries", "data_1")
OTHER_SIDE = ("text_2", "documents", "items", "data_2")


class ScoreBody(Body):
    """vLLM's request for scores."""

    text_1: Texts = Field(validation_alias=AliasChoices(*ONE_SIDE), description="The query; also called `queries` or `data_1`.")
    text_2: Texts = Field(
        validation_alias=AliasChoices(*OTHER_SIDE), description="The texts; also called `documents`, `items` or `data_2`."
    )

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        queries, texts = self.text_1, self.text_2
        if len(set(queries)) > 1:
            raise InvalidRequest(
                f"text_1 has {len(set(queries))} different texts, and a request has one query; send a request for each",
                status=422,
            )
        if not queries or len(queries) not in (1, len(texts)):
            raise InvalidRequest(f"text_1 has {len(queries)} texts for {len(texts)} of text_2; send one", status=422)
        return self.call(queries[0], texts, write)


def write(ranking: Ranking) -> dict[str, Any]:
    """Return the answer."""
    data = [{"index": index, "object": "score", "score": value} for index, value in enumerate(ranking.values)]
    return {"id": ranking.request_id, "object": "list", "model": ranking.model, "data": data, "usage": ranking.usage}


class Score(BaseModel):
    """The score of one text."""

    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(BaseModel):
    """The answer in vLLM's format, in the order of the texts."""

    id: str
    object: Literal["list"]
    model: str
    data: list[Score]
    usage: Usage
