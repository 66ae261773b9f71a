"""The fields that a body may hold in any format, beside that format's own fields for query and documents."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler, WithJsonSchema, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from slimrank.engine.jobs import DocumentWindow, Job, LongDocument, Priority
from slimrank.errors import InvalidRequest
from slimrank.serving.gateway.formats.call import OnFailure, Ranking, RerankCall
from slimrank.serving.gateway.formats.values import Count, Flag, Offset, Rank, Whole, any_case, lower
from slimrank.types import RerankRequest

Side = Annotated[Literal["left", "right"], BeforeValidator(lower), WithJsonSchema(any_case("left", "right"))]
Cut = Annotated[Literal["none", "start", "end"], BeforeValidator(lower), WithJsonSchema(any_case("none", "start", "end"))]
_NULL = {"type": "null"}


class Body(BaseModel):
    """A body; fields unknown here are other servers' options and are ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)

    model: str | None = Field(None, description="Name of a served model; left out, the default one.")
    top_n: Count | None = Field(None, description="Answer only the best; left out, every document is answered.")
    top_k: Count | None = Field(None, description="Voyage's, NVIDIA's and Mixedbread's word for `top_n`.")
    instruction: str | None = Field(None, description="How to judge, such as `prefer recent manuals`.")
    raw_scores: Flag = Field(False, description="Answer scores instead of probabilities; search engines should ask for this.")
    use_activation: Flag = Field(True, description="vLLM's word for the opposite of `raw_scores`.")
    max_tokens_per_doc: Count | None = Field(
        None, description="Cut documents to this many tokens; left out, what the server is set to (`/info`)."
    )
    truncate_prompt_tokens: Whole | None = Field(
        None, description="vLLM's limit of a whole prompt, taken as one of the document; below 1, the model's own."
    )
    truncate: Flag | Cut | None = Field(
        None,
        description="`false` or `NONE`: documents are read whole, and a query or document that would have to be cut is an error (422).",
    )
    truncation: Flag = Field(True, description="Voyage's word for `truncate`.")
    truncation_direction: Side = Field("right", description="Documents are cut at their end, `right`; `left` is refused.")
    truncation_side: Side = Field("right", description="vLLM's word for `truncation_direction`.")
    priority: Priority | Whole = Field(
        "query", description="`audit` waits until no query does; Cohere's and vLLM's numbers are taken and mean nothing here."
    )
    deadline_ms: Count | None = Field(
        None,
        description="Answer within this many milliseconds of arrival with what is scored by then, marked `partial`;"
        " documents are scored in first-stage order: by `first_stage_ranks`, else as given. As header: `x-slimrank-deadline-ms`.",
    )
    depth: Count | Literal["auto"] | None = Field(
        None,
        description="Score only so many documents, from the first stage's first, and leave the others in their order below;"
        " `auto`: as many as fit into the deadline, chosen before scoring begins.",
    )
    long_document: LongDocument = Field(
        "truncate",
        description="What becomes of a document beyond the pair length: cut, or split by sentences into passages,"
        " the best of which counts (`max_passage`; costs a pair a passage).",
    )
    document_window: DocumentWindow | None = Field(
        None,
        description="Which part is read of a document that is cut: its `head`, or its `best` window, which shares most with the query"
        " among these documents; left out, what the server is set to.",
    )
    on_failure: OnFailure = Field(
        "error", description="`first_stage`: where scoring fails, answer 200 with the documents in the order given."
    )
    first_stage_order: Flag = Field(
        False, description="The documents stand in first-stage order: use it as a prior, with the weight fitted for the model."
    )
    first_stage_offset: Offset = Field(
        0, description="With `first_stage_order`: how many first-stage hits come before the first document, as on a second page."
    )
    first_stage_ranks: Annotated[list[Rank], Field(fail_fast=True)] | None = Field(
        None, description="1-based first-stage rank of each document, where they do not stand in that order."
    )

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, fields: Any) -> Any:
        """Leave out what is `null`: clients send every option that they know."""
        needed = {name for name, field in cls.model_fields.items() if field.is_required()}
        return {name: value for name, value in fields.items() if value is not None or name in needed}

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Describe that `null` stands for every optional field left out."""
        schema = handler.resolve_ref_schema(handler(core_schema))
        for name in schema["properties"].keys() - set(schema.get("required", ())):
            field = schema["properties"][name]
            about = {key: field.pop(key) for key in ("title", "description", "default") if key in field}
            kinds = field["anyOf"] if field.keys() == {"anyOf"} else [field]
            schema["properties"][name] = about | {"anyOf": [kind for kind in kinds if kind != _NULL] + [_NULL]}
        return schema

    def to_call(self) -> RerankCall:
        """Return the request in our words.

        Raises:
            InvalidRequest: fields contradict each other, or ask for what is not done here.
        """
        raise NotImplementedError

    def call(
        self,
        query: str,
        documents: Sequence[str],
        write: Callable[[Ranking], Any],
        *,
        returned: Sequence[Any] | None = None,
        raw_scores: bool = False,
    ) -> RerankCall:
        """Return the request in our words, its query and documents having been read."""
        must_fit = self._must_fit()
        return RerankCall(
            job=Job(
                RerankRequest(query, documents, self.instruction),
                model=self.model,
                max_document_tokens=self._tokens_read(must_fit=must_fit),
                priority="query" if isinstance(self.priority, int) else self.priority,
                depth=self.depth,
                long_document=self.long_document,
                document_window=self.document_window,
            ),
            write=write,
            top_n=self.top_n or self.top_k,
            raw_scores=raw_scores or self.raw_scores or not self.use_activation,
            returned=returned,
            must_fit=must_fit,
            deadline_ms=self.deadline_ms,
            on_failure=self.on_failure,
            first_stage_ranks=self._ranks(len(documents)),
        )

    def _tokens_read(self, *, must_fit: bool) -> int | None:
        """Return how many tokens of a document the caller wants read at most; 0 = as many as the model takes, None = not said."""
        limits = [limit for limit in (self.max_tokens_per_doc, self.truncate_prompt_tokens) if limit is not None]
        return min((limit for limit in limits if limit > 0), default=0 if limits or must_fit else None)

    def _must_fit(self) -> bool:
        for name, asked, instead in (
            ("truncation_direction", self.truncation_direction, "right"),
            ("truncation_side", self.truncation_side, "right"),
            ("truncate", self.truncate, "END"),
        ):
            if asked in ("left", "start"):
                raise InvalidRequest(
                    f"{name} is {asked}, and documents are cut at their end only; send {instead}, or `long_document`:"
                    " `max_passage`, which reads all of a document",
                    status=422,
                )
        return not self.truncation or self.truncate in (False, "none")

    def _ranks(self, count: int) -> Sequence[int] | None:
        if self.first_stage_ranks is not None:
            if len(self.first_stage_ranks) != count:
                raise InvalidRequest(
                    f"first_stage_ranks has {len(self.first_stage_ranks)} ranks for {count} documents; send one a document",
                    status=422,
                )
            return self.first_stage_ranks
        if self.first_stage_order:
            return range(self.first_stage_offset + 1, self.first_stage_offset + count + 1)
        return None
