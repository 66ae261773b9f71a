"""The specification of an audit: one YAML file. It is read once, and every field is checked.

The smallest useful specification:

    before: {url: http://localhost:9200, index: products_v1, fields: [title^2, text]}
    after: {index: products_v2}
    queries: {file: queries.jsonl}

Fields that ``after`` does not set are copied from ``before``. The specification holds no secrets (see ``access``).
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from slimrank.errors import ConfigError, DataError
from slimrank.files import read_text
from slimrank.types import Json


def _without_credentials(url: str) -> str:
    """Refuse a user and a password in a URL, because reports show the specification."""
    if "@" in urlsplit(url).netloc:
        raise ValueError("a URL must not hold user or password; set SLIMRANK_AUDIT_BEFORE_USER and _PASSWORD instead")
    return url


Url = Annotated[str, AfterValidator(_without_credentials)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Rerank(_Part):
    """Rerank a side's hits through the gateway, outside the engine."""

    url: Url = Field(description="URL of the gateway, such as http://localhost:8080")
    fields: list[str] = Field(min_length=1, description="Fields of _source that make up a document's text")
    rank_window_size: int = Field(default=50, ge=1, description="How many first-stage hits to rerank")
    model: str | None = Field(default=None, description="Name of the model to ask the gateway for; the report shows it")


class Side(_Part):
    """One of the two sides: an engine, an index and a query template."""

    url: Url
    index: str = Field(description="Index or alias")
    fields: list[str] | None = Field(default=None, description="Fields of a multi_match query, with boosts such as title^2")
    body: Json | None = Field(default=None, description="A whole search body; {{query}} inside a string is replaced by the query")
    pipeline: str | None = Field(
        default=None, description="Search pipeline; _none for no pipeline. Default: the index's default pipeline"
    )
    search_type: Literal["query_then_fetch", "dfs_query_then_fetch"] = "query_then_fetch"
    rerank: Rerank | None = None

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if (self.fields is None) == (self.body is None):
            raise ValueError("name either `fields` or `body`")
        return self


class Ubi(_Part):
    """Queries and their frequencies from User Behavior Insights, on the engine of ``before``."""

    index: str = "ubi_queries"
    application: str | None = None
    since: str | None = Field(default=None, description="A date, or date mathematics such as now-30d")


class Log(_Part):
    """Queries from an access log (a URL parameter) or a search slow log."""

    file: Path
    format: Literal["access", "slow"] = "access"
    parameter: str = Field(default="q", description="The URL parameter that holds the query")


class Derived(_Part):
    """Queries made from documents: the first words of a field, in randomly drawn documents of ``before``."""

    field: str
    count: int = Field(default=1000, ge=1)
    words: int = Field(default=6, ge=1)


class Queries(_Part):
    """The source of queries: exactly one of four."""

    file: Path | None = Field(default=None, description="*.jsonl, *.tsv (query, frequency) or *.txt, each plain or .gz")
    ubi: Ubi | None = None
    log: Log | None = None
    derived: Derived | None = None
    golden: Path | None = Field(default=None, description="File with queries that must not break, in the same formats")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.ubi, self.log, self.derived)) != 1:
            raise ValueError("name one of `file`, `ubi`, `log` and `derived`")
        return self


class Sample(_Part):
    """How many queries are drawn, and how."""

    size: int = Field(default=500, ge=1)
    seed: int = 0
    strata: bool = Field(default=True, description="Draw equal numbers from head, torso and tail, each a third of the traffic")
    personal: Literal["drop", "mask", "keep"] = Field(
        default="drop", description="What happens to queries that hold personal data"
    )
    patterns: list[str] = Field(default=[], description="More regular expressions that match personal data")


class Judge(_Part):
    """A judge that grades documents."""

    kind: Literal["qrels", "clicks", "reranker", "chat", "person"]
    file: Path | None = Field(
        None, description="File with BEIR qrels (.tsv), TREC qrels, click events (.jsonl) or a filled sheet (.csv)"
    )
    index: str | None = Field(default=None, description="For kind clicks: index of UBI events, such as ubi_events")
    url: Url | None = Field(
        default=None,
        description="For kind reranker: URL of a gateway, or local for this process. For kind chat: an OpenAI-compatible URL ending in /v1",
    )
    model: str | None = None
    human: bool = Field(default=False, description="For kind qrels: whether people made them")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        needs = {"qrels": self.file, "clicks": self.file or self.index, "reranker": self.url, "chat": self.url and self.model}
        if self.kind in needs and not needs[self.kind]:
            raise ValueError(
                f"a judge of kind {self.kind} needs {'`url` and `model`' if self.kind == 'chat' else '`file` or `url`'}"
            )
        return self

    @property
    def name(self) -> str:
        """The judge's name in the report and the cache."""
        return f"{self.kind}:{self.model}" if self.model else self.kind


JUDGED = ("nDCG", "RR", "AP", "P")
"""Measures that need judgments; a rule limits how far their mean may ``drop`` or ``rise``."""
SCALARS = (
    "overlap", "Jaccard", "RBO", "Kendall tau", "rank-biased distance", "changed", "newly empty", "newly found", "hits ratio",
    "failed queries", "golden broken", "documents lost", "documents new", "documents changed", "detectable nDCG", "latency ratio",
)  # fmt: skip
"""Measures with a single value; a rule gives the limit for ``below`` or ``above``."""


def _known_measure(name: str) -> str:
    """Refuse an unknown measure, because its rule would never fire."""
    known = {measure.lower(): measure for measure in (*JUDGED, *SCALARS)}
    if name in known.values():
        return name
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"; did you mean {known[nearest[0]]}?" if nearest else ";"
    raise ValueError(f"there is no measure {name!r}{hint} There are {', '.join((*JUDGED, *SCALARS))}")


Limit = Annotated[float, Field(allow_inf_nan=False)]


class VerdictRule(_Part):
    """A rule says when the verdict warns or fails. It has exactly one limit, of a kind that fits the measure."""

    measure: Annotated[str, AfterValidator(_known_measure)]
    drop: Limit | None = Field(default=None, ge=0, description="The rule fires if the mean fell by more than this")
    rise: Limit | None = Field(default=None, ge=0, description="The rule fires if the mean rose by more than this")
    below: Limit | None = None
    above: Limit | None = None
    significant: bool = Field(default=False, description="Fire only if the change is significant (family-wise 5%)")
    unless_judged: bool = Field(default=False, description="Fire only if less than half of the changes have judgments")
    unless_better: bool = Field(default=False, description="Fire only if nDCG is not significantly better")
    then: Literal["warn", "fail"] = "fail"

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if sum(limit is not None for limit in (self.drop, self.rise, self.below, self.above)) != 1:
            raise ValueError("name one of `drop`, `rise`, `below` and `above`")
        moves = self.drop is not None or self.rise is not None
        if moves != (self.measure in JUDGED):
            raise ValueError(
                f"a rule on {self.measure} names `{'drop` or `rise' if self.measure in JUDGED else 'below` or `above'}`"
            )
        if self.significant and not moves:
            raise ValueError(f"`significant` is for {', '.join(JUDGED)}; {self.measure} is one number")
        return self


DEFAULT_RULES = (
    VerdictRule(measure="nDCG", drop=0.02, significant=True, then="fail"),
    VerdictRule(measure="nDCG", drop=0.0, significant=True, then="warn"),
    VerdictRule(measure="RR", drop=0.0, significant=True, then="warn"),
    VerdictRule(measure="AP", drop=0.0, significant=True, then="warn"),
    VerdictRule(measure="P", drop=0.0, significant=True, then="warn"),
    VerdictRule(measure="golden broken", above=0, then="fail"),
    VerdictRule(measure="newly empty", above=0.0, then="warn"),
    VerdictRule(measure="newly empty", above=0.01, then="fail"),
    VerdictRule(measure="failed queries", above=0, then="fail"),
    VerdictRule(measure="documents lost", above=0, then="fail"),
    VerdictRule(measure="documents changed", above=0, then="warn"),
    VerdictRule(measure="RBO", below=0.95, unless_better=True, then="warn"),
    VerdictRule(measure="RBO", below=0.7, unless_judged=True, then="fail"),
    VerdictRule(measure="RBO", below=0.5, then="warn"),
    VerdictRule(measure="detectable nDCG", above=0.02, unless_better=True, then="warn"),
)


_AFTERWARDS = ("judges", "rules", "cache", "judge_moved", "name", "requests_per_second", "threads")


class Spec(_Part):
    """The specification of a whole audit."""

    name: str = "reindex"
    before: Side
    after: Side
    queries: Queries
    sample: Sample = Sample()
    id_field: str = Field(default="_id", description="Business id, with the same name in both indices: _id or a field of _source")
    text_fields: list[str] = Field(
        default=[], description="Fields shown to judges and in the report. Default: the searched fields"
    )
    k: int = Field(default=10, ge=1, le=20, description="Number of ranks that count")
    depth: int = Field(default=50, ge=1, le=1000, description="Number of hits to request and keep")
    persistence: float = Field(default=0.9, gt=0, lt=1, description="p of rank-biased overlap")
    max_grade: int = Field(default=3, ge=1, le=4)
    judges: list[Judge] = []
    judge_moved: bool = Field(
        True, description="Also judge documents that moved within the top k, not only those that entered or left it"
    )
    cache: Path | None = Field(
        default=None, description="File that keeps models' grades for later audits. Default: a file in the audit's folder"
    )
    content: Literal["full", "counts"] = Field(
        default="full", description="full compares every document; counts only counts them"
    )
    requests_per_second: float = Field(default=20, gt=0, description="Limit of searches a second, for each side")
    threads: int = Field(default=2, ge=1, le=64)
    rules: list[VerdictRule] = list(DEFAULT_RULES)

    def identity(self) -> Json:
        """Return the settings that answers depend on. Judges and rules are not among them and may change later."""
        return self.model_dump(mode="json", exclude={*_AFTERWARDS})

    @model_validator(mode="before")
    @classmethod
    def _after_inherits(cls, data: Any) -> Any:
        """Fill ``after`` from ``before``; if ``after`` sets ``fields``, it does not inherit ``body``, and vice versa."""
        if isinstance(data, dict) and isinstance(data.get("before"), dict) and isinstance(data.get("after"), dict):
            inherited = dict(data["before"])
            if data["after"].keys() & {"fields", "body"}:
                inherited = {name: value for name, value in inherited.items() if name not in ("fields", "body")}
            return {**data, "after": {**inherited, **data["after"]}}
        return data


def load_spec(path: Path) -> Spec:
    """Read a specification; relative file names in it are relative to its folder.

    Raises:
        ConfigError: the file is not YAML, or a field is invalid.
        DataError: the file cannot be read, or a file of judgments does not exist.
    """
    text = read_text(path)
    try:
        data = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise ConfigError(
            f"{path} holds {'nothing' if data is None else f'a {type(data).__name__}'} in place of keys and values; see `slimrank audit example`"
        )
    spec = parse_spec(_absolute(data, path.parent.resolve()), str(path))
    for judge in spec.judges:  # check now, not after hours of asking; a person's sheet may be added later
        if judge.kind in ("qrels", "clicks") and judge.file and not judge.file.is_file():
            raise DataError(
                f"{path}: the judge {judge.name} needs the file {judge.file}, and there is no such file; correct `judges`"
            )
    return spec


def parse_spec(data: Any, origin: str) -> Spec:
    """Check a specification.

    Raises:
        ConfigError: a field is invalid.
    """
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConfigError(f"{origin}: {place}: {first['msg']}; see `slimrank audit example`") from error


def _absolute(data: Any, folder: Path) -> Any:
    """Resolve the values of ``file`` and ``golden`` at any depth."""
    if isinstance(data, dict):
        return {
            key: str(folder / value)
            if key in ("file", "golden", "cache") and isinstance(value, str)
            else _absolute(value, folder)
            for key, value in data.items()
        }
    return [_absolute(item, folder) for item in data] if isinstance(data, list) else data
