"""The rules of the proxy: which searches are reranked, by which text, and what share of them. They are read once, from YAML.

    rules:
      - name: products
        indices: ["products-*"]
        fields: [title, description]
        rank_window_size: 20
        deadline_ms: 2000
        percent: 10
      - name: manuals
        indices: [manuals]
        query_text: query.bool.must.0.multi_match.query
        template: "{title}: {body}"
        shadow: true

The first rule that covers all indices of a search applies. A search may also bring its own options in ``ext.slimrank``.
"""

import hashlib
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from connector.fields import Template
from connector.rerank_plan import DEFAULT_WINDOW
from connector.window_cache import Part
from slimrank.errors import ConfigError, DataError, InvalidRequest
from slimrank.files import read_text


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Reranking(_Strict):
    """How a search is reranked; these options are allowed in rules and in ``ext.slimrank``."""

    fields: tuple[str, ...] = Field(
        default=(), description="Fields that make up a document. Default: the fields that the search searches"
    )
    template: str | None = Field(
        default=None, description='Text with fields in braces, instead of `fields`, such as "{title}: {body}"'
    )
    rank_window_size: Annotated[int, Field(ge=1, le=10_000)] = Field(
        default=DEFAULT_WINDOW, description="How many first-stage hits to rerank"
    )
    deadline_ms: Annotated[int, Field(ge=1, le=600_000)] = Field(
        default=2000, description="Longest wait for the scores, milliseconds"
    )
    highlight: bool = Field(default=False, description="Judge only the engine's best fragments of each field, for long fields")
    instruction: str | None = Field(default=None, description="How to judge, such as `prefer recent manuals`")
    document_window: Literal["head", "best"] | None = Field(
        default=None, description="Which part of a document that is too long is read. Default: the gateway's setting"
    )
    document_tokens: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="The most tokens to read of a document. Default: the gateway's setting"
    )

    @property
    def part(self) -> Part:
        """The part of a document to read."""
        return Part(self.document_window, self.document_tokens)

    @model_validator(mode="after")
    def _has_a_sensible_template(self) -> "Reranking":
        try:
            Template.of(self.fields, self.template)
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self


class Extension(Reranking):
    """The options in a search's ``ext.slimrank``. The proxy removes them before it sends the search to the engine."""

    query: str | None = Field(default=None, description="The text to judge by. Default: the text that the body searches for")
    enabled: bool = Field(default=True, description="With false, this search is not reranked, even if a rule covers it")


class Rule(Reranking):
    """Which searches are reranked."""

    name: Annotated[str, Field(pattern=r"^[\w.-]{1,64}$")] = Field(description="Names the rule in headers and metrics")
    indices: Annotated[tuple[str, ...], Field(min_length=1)] = Field(
        description="Index patterns; they are compared with the index names in the search"
    )
    query_text: str | None = Field(default=None, description="Path of the query text in the body. Default: the text is detected")
    shadow: bool = Field(default=False, description="Answer in first-stage order, and record what reranking would have moved")
    percent: Annotated[float, Field(gt=0, le=100)] = Field(
        default=100, description="Percentage of the query texts to rerank, chosen by a stable hash"
    )

    def covers(self, indices: str) -> bool:
        """Tell whether this rule covers every index that a search names, as in ``a,b-*``; no name means all indices."""
        names = [name for name in (indices or "_all").split(",") if not name.startswith("-")]
        return all(any(fnmatchcase(name, pattern) for pattern in self.indices) for name in names)

    def draws(self, query: str) -> bool:
        """Tell whether a query text belongs to the ``percent``; the result for a text never changes."""
        digest = hashlib.sha256(f"{self.name}\0{query.strip().lower()}".encode(errors="replace")).digest()
        return int.from_bytes(digest[:8]) / 2**64 < self.percent / 100


class Rules(_Strict):
    """All rules, in the order in which they are checked."""

    rules: tuple[Rule, ...] = ()
    allow_ext: bool = Field(default=True, description="Whether a search may request reranking in `ext.slimrank`")
    max_deadline_ms: Annotated[int, Field(ge=1, le=600_000)] = Field(
        default=10_000, description="Longest deadline that `ext.slimrank` may request if no rule covers the indices"
    )

    def find(self, indices: str) -> Rule | None:
        """Return the first rule that covers a search's indices."""
        return next((rule for rule in self.rules if rule.covers(indices)), None)


def load_rules(path: Path) -> Rules:
    """Read a file of rules.

    Raises:
        ConfigError: the file cannot be read, or a rule is invalid.
    """
    try:
        content = yaml.safe_load(read_text(path))
    except DataError as error:
        raise ConfigError(f"the rules: {error}; name a YAML file with `rules:`") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"the rules {path} are not YAML: {' '.join(str(error).split())}") from error
    if content is None:
        raise ConfigError(
            f"the rules {path} are empty, so no rule would rerank a search; write `rules:`, or start without the file"
        )
    try:
        return Rules.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"the rules {path}: {_explain(error)}") from error


def read_extension(content: Any) -> Extension:
    """Read ``ext.slimrank``.

    Raises:
        InvalidRequest: a field is unknown or invalid.
    """
    try:
        return Extension.model_validate({} if content is True else content)
    except ValidationError as error:
        raise InvalidRequest(f"ext.slimrank: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"]) or "the content"
    return f"{place}: {first['msg']}; found {str(first['input'])[:80]!r}"
