"""Mixedbread's format, `/v1/reranking`: the documents are called `input`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from slimrank.serving.gateway.formats.call import Ranking, RerankCall
from slimrank.serving.gateway.formats.cohere import Usage
from slimrank.serving.gateway.formats.documents import Document, Documents, RankFields, judged_texts
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.formats.values import Flag, Query


class RerankingBody(Body):
    """Mixedbread's request."""

    query: Query
    input: Annotated[Documents, Field(description="First-stage hits in first-stage order: strings, or objects with `text`.")]
    return_input: Flag = Field(False, description="Repeat each document in its result.")
    rank_fields: RankFields | None = Field(
        None, description="Fields of object documents to read, in this order; left out, `text`."
    )

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        texts = judged_texts(self.input, self.rank_fields, name="input")
        return self.call(self.query, texts, write, returned=self.input if self.return_input else None)


def write(ranking: Ranking) -> dict[str, Any]:
    """Return the answer."""
    data = [
        {"index": result.index, "score": result.value, "object": "rank_result"} | ranking.returned(result, "input")
        for result in ranking.results
    ]
    return {
        "object": "list",
        "model": ranking.model,
        "data": data,
        "usage": ranking.usage,
        "top_k": ranking.call.top_n or len(ranking.values),
        "return_input": ranking.call.returned is not None,
    }


class RerankingResult(BaseModel):
    """One document's place in the answer."""

    index: int
    score: float
    object: Literal["rank_result"]
    input: Document | None = None


class RerankingAnswer(BaseModel):
    """The answer in Mixedbread's format, best first."""

    object: Literal["list"]
    model: str
    data: list[RerankingResult]
    usage: Usage
    top_k: int
    return_input: bool
