"""The format of Text Embeddings Inference: `texts` in, a bare array out."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from slimrank.serving.gateway.formats.call import Ranking, RerankCall
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.formats.values import NOT_EMPTY, Flag, Query


class TeiBody(Body):
    """Text Embeddings Inference's request."""

    query: Query
    texts: Annotated[list[str], Field(fail_fast=True, json_schema_extra=NOT_EMPTY)]
    return_text: Flag = Field(False, description="Repeat each text in its result.")

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        return self.call(self.query, self.texts, write, returned=self.texts if self.return_text else None)


def write(ranking: Ranking) -> list[dict[str, Any]]:
    """Return the answer."""
    return [{"index": result.index, "score": result.value} | ranking.returned(result, "text") for result in ranking.results]


class TeiResult(BaseModel):
    """One text's place in the answer, an array of these."""

    index: int
    score: float
    text: str | None = None
