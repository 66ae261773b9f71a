"""The format of NVIDIA's retrieval microservices, `/v1/ranking`: passages in, raw scores (`logit`) out."""

from typing import Annotated, Any

from pydantic import BaseModel, Field

from slimrank.serving.gateway.formats.call import Ranking, RerankCall
from slimrank.serving.gateway.formats.cohere import Usage
from slimrank.serving.gateway.formats.documents import Documents, judged_texts
from slimrank.serving.gateway.formats.fields import Body
from slimrank.serving.gateway.formats.values import Query


class RankingBody(Body):
    """NVIDIA's request."""

    query: Query
    passages: Annotated[Documents, Field(description="First-stage hits in first-stage order: objects with `text`, or strings.")]

    def to_call(self) -> RerankCall:
        """Return the request in our words."""
        return self.call(self.query, judged_texts(self.passages, None, name="passages"), write, raw_scores=True)


def write(ranking: Ranking) -> dict[str, Any]:
    """Return the answer."""
    rankings = [{"index": result.index, "logit": result.value} for result in ranking.results]
    return {"rankings": rankings, "model": ranking.model, "usage": ranking.usage}


class RankingResult(BaseModel):
    """One passage's place in the answer."""

    index: int
    logit: float = Field(description="The score: log-odds, unbounded.")


class RankingAnswer(BaseModel):
    """The answer in NVIDIA's format, best first."""

    rankings: list[RankingResult]
    model: str
    usage: Usage
