"""What an audit is told: one YAML file, read once, every field checked.

The smallest useful one:

    before: {url: http://localhost:9200, index: products_v1, fields: [title^2, text]}
    after: {index: products_v2}
    queries: {file: queries.jsonl}

`after` takes every field that it does not name from `before`. Secrets are not in here (see `access`).
"""

from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from slimrank.errors import ConfigError, DataError
from slimrank.files import read_text

Json = dict[str, Any]


def _without_credentials(url: str) -> str:
    """Refuse user and password in a URL: the specification ends up in reports."""
    if "@" in urlsplit(url).netloc:
        raise ValueError("a URL must not hold user or password; set SLIMRANK_AUDIT_BEFORE_USER and _PASSWORD instead")
    return url


Url = Annotated[str, AfterValidator(_without_credentials)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


class Rerank(_Part):
    """Rerank a side's hits through the gateway, outside the engine."""

    url: Url = Field(description="The gateway, such as http://localhost:8080")
    fields: list[str] = Field(min_length=1, description="Fields of _source that make up a document's text")
    rank_window_size: int = Field(default=50, ge=1, description="First-stage hits that are reranked")
    model: str | None = Field(default=None, description="The model's name, for the gateway and for the report")


class Side(_Part):
    """One of the two things compared: an engine, an index and a way to ask it."""

    url: Url
    index: str = Field(description="Index or alias")
    fields: list[str] | None = Field(default=None, description="Fields of a multi_match query, with boosts such as title^2")
    body: Json | None = Field(default=None, description="A whole search body; {{query}} inside a string stands for the query")
    pipeline: str | None = Field(default=None, description="Search pipeline; _none for none, left out for the index's default")
    search_type: Literal["query_then_fetch", "dfs_query_then_fetch"] = "query_then_fetch"
    rerank: Rerank | None = None

    @model_validator(mode="after")
    def _one_query(self) -> Self:
        if (self.fields is None) == (self.body is None):
            raise ValueError("name either `fields` or `body`")
        return self


class Ubi(_Part):
    """Queries from User Behavior Insights on the engine of `before`, with how often they were asked."""

    index: str = "ubi_queries"
    application: str | None = None
    since: str | None = Field(default=None, description="A date, or date mathematics such as now-30d")


class Log(_Part):
    """Queries from an access log (a URL parameter) or a search slow log."""

    file: Path
    format: Literal["access", "slow"] = "access"
    parameter: str = Field(default="q", description="The URL parameter that holds the query")


class Derived(_Part):
    """Queries made of documents: the first words of a field of randomly drawn documents of `before`."""

    field: str
    count: int = Field(default=1000, ge=1)
    words: int = Field(default=6, ge=1)


class Queries(_Part):
    """Where queries come from: one of four."""

    file: Path | None = Field(default=None, description="*.jsonl, *.tsv (query, frequency) or *.txt, each plain or .gz")
    ubi: Ubi | None = None
    log: Log | None = None
    derived: Derived | None = None
    golden: Path | None = Field(default=None, description="Queries that must not break, in the same formats")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if sum(source is not None for source in (self.file, self.ubi, self.log, self.derived)) != 1:
            raise ValueError("name one of `file`, `ubi`, `log` and `derived`")
        return self


class Sample(_Part):
    """How many of them are asked, and which."""

    size: int = Field(default=500, ge=1)
    seed: int = 0
    strata: bool = Field(default=True, description="Draw head, torso and tail, each a third of the traffic, in equal numbers")
    personal: Literal["drop", "mask", "keep"] = Field(
        default="drop", description="What happens to queries that hold personal data"
    )
    patterns: list[str] = Field(default=[], description="Further regular expressions of personal data")


class Judge(_Part):
    """Who grades documents."""

    kind: Literal["qrels", "clicks", "reranker", "chat", "person"]
    file: Path | None = Field(
        None, description="qrels (.tsv of BEIR, else TREC's), click events (.jsonl), or a filled sheet (.csv)"
    )
    index: str | None = Field(default=None, description="clicks: the index of UBI events, such as ubi_events")
    url: Url | None = Field(
        default=None,
        description="reranker: a gateway, or local for this process; chat: an OpenAI-compatible endpoint ending in /v1",
    )
    model: str | None = None
    human: bool = Field(default=False, description="qrels: made by people")

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
        """The judge in a word or two, for the report and the cache."""
        return f"{self.kind}:{self.model}" if self.model else self.kind


JUDGED = ("nDCG", "RR", "AP", "P")
"""Measures that judgments are needed for; a rule says how far their mean may `drop` or `rise`."""
SCALARS = (
    "overlap", "Jaccard", "RBO", "Kendall tau", "rank-biased distance", "changed", "newly empty", "newly found", "hits ratio",
    "failed queries", "golden broken", "documents lost", "documents new", "documents changed", "detectable nDCG", "latency ratio",
)  # fmt: skip
"""Measures of one number; a rule says what it may not be `below` or `above`."""


def _known_measure(name: str) -> str:
    """Refuse a measure that there is not: its rule would never fire."""
    known = {measure.lower(): measure for measure in (*JUDGED, *SCALARS)}
    if name in known.values():
        return name
    nearest = get_close_matches(name.lower(), known, n=1, cutoff=0.4)
    hint = f"; did you mean {known[nearest[0]]}?" if nearest else ";"
    raise ValueError(f"there is no measure {name!r}{hint} There are {', '.join((*JUDGED, *SCALARS))}")


Limit = Annotated[float, Field(allow_inf_nan=False)]


class Rule(_Part):
    """When the verdict warns or fails. Exactly one limit, of the kind that the measure has."""

    measure: Annotated[str, AfterValidator(_known_measure)]
    drop: Limit | None = Field(default=None, ge=0, description="The mean fell by more than this")
    rise: Limit | None = Field(default=None, ge=0, description="The mean rose by more than this")
    below: Limit | None = None
    above: Limit | None = None
    significant: bool = Field(default=False, description="... and chance does not explain it (family-wise 5%)")
    unless_judged: bool = Field(default=False, description="... and judgments do not speak for half of the changes")
    unless_better: bool = Field(default=False, description="... and nDCG is not significantly better")
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
    Rule(measure="nDCG", drop=0.02, significant=True, then="fail"),
    Rule(measure="nDCG", drop=0.0, significant=True, then="warn"),
    Rule(measure="RR", drop=0.0, significant=True, then="warn"),
    Rule(measure="AP", drop=0.0, significant=True, then="warn"),
    Rule(measure="P", drop=0.0, significant=True, then="warn"),
    Rule(measure="golden broken", above=0, then="fail"),
    Rule(measure="newly empty", above=0.0, then="warn"),
    Rule(measure="newly empty", above=0.01, then="fail"),
    Rule(measure="failed queries", above=0, then="fail"),
    Rule(measure="documents lost", above=0, then="fail"),
    Rule(measure="documents changed", above=0, then="warn"),
    Rule(measure="RBO", below=0.95, unless_better=True, then="warn"),
    Rule(measure="RBO", below=0.7, unless_judged=True, then="fail"),
    Rule(measure="RBO", below=0.5, then="warn"),
    Rule(measure="detectable nDCG", above=0.02, unless_better=True, then="warn"),
)


_AFTERWARDS = ("judges", "rules", "cache", "judge_moved", "name", "requests_per_second", "threads")


class Spec(_Part):
    """A whole audit."""

    name: str = "reindex"
    before: Side
    after: Side
    queries: Queries
    sample: Sample = Sample()
    id_field: str = Field(default="_id", description="The business id, one name in both indices: _id or a field of _source")
    text_fields: list[str] = Field(default=[], description="Fields shown to judges and in the report; left out: those searched")
    k: int = Field(default=10, ge=1, le=20, description="Ranks that count")
    depth: int = Field(default=50, ge=1, le=1000, description="Hits asked for and kept")
    persistence: float = Field(default=0.9, gt=0, lt=1, description="p of rank-biased overlap")
    max_grade: int = Field(default=3, ge=1, le=4)
    judges: list[Judge] = []
    judge_moved: bool = Field(
        True, description="Judge documents that moved within the top k too, not only those that entered or left"
    )
    cache: Path | None = Field(
        default=None, description="File that keeps models' grades from audit to audit; left out, in the folder"
    )
    content: Literal["full", "counts"] = Field(default="full", description="Fingerprint every document, or only count them")
    requests_per_second: float = Field(default=20, gt=0, description="Searches to each side")
    threads: int = Field(default=2, ge=1, le=64)
    rules: list[Rule] = list(DEFAULT_RULES)

    def identity(self) -> Json:
        """Return what answers depend on: an audit may be judged anew, by other judges and rules, but not asked anew."""
        return self.model_dump(mode="json", exclude={*_AFTERWARDS})

    @model_validator(mode="before")
    @classmethod
    def _after_inherits(cls, data: Any) -> Any:
        """Fill `after` from `before`; naming `fields` drops an inherited `body`, and the other way round."""
        if isinstance(data, dict) and isinstance(data.get("before"), dict) and isinstance(data.get("after"), dict):
            inherited = dict(data["before"])
            if data["after"].keys() & {"fields", "body"}:
                inherited = {name: value for name, value in inherited.items() if name not in ("fields", "body")}
            return {**data, "after": {**inherited, **data["after"]}}
        return data


def load_spec(path: Path) -> Spec:
    """Read a specification; relative file names in it start at its folder.

    Raises:
        ConfigError: not YAML, or a field that does not fit.
        DataError: the file cannot be read, or a file of judgments is not there.
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
    for judge in spec.judges:  # now, and not after hours of asking; a person's sheet may come later
        if judge.kind in ("qrels", "clicks") and judge.file and not judge.file.is_file():
            raise DataError(
                f"{path}: the judge {judge.name} is to read {judge.file}, and there is no such file; correct `judges`"
            )
    return spec


def parse_spec(data: Any, origin: str) -> Spec:
    """Check a specification.

    Raises:
        ConfigError: a field that does not fit.
    """
    try:
        return Spec.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the whole file"
        raise ConfigError(f"{origin}: {place}: {first['msg']}; see `slimrank audit example`") from error


def _absolute(data: Any, folder: Path) -> Any:
    """Resolve the values of `file` and `golden` anywhere in the tree."""
    if isinstance(data, dict):
        return {
            key: str(folder / value)
            if key in ("file", "golden", "cache") and isinstance(value, str)
            else _absolute(value, folder)
            for key, value in data.items()
        }
    return [_absolute(item, folder) for item in data] if isinstance(data, list) else data
