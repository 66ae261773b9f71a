"""The training configurations: one YAML file for each stage; unknown keys are refused.

The defaults are safe. A configuration file sets each value that differs, and says where it comes from.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, ValidationError, model_validator

from slimrank.errors import ConfigError, DataError
from slimrank.files import read_text


class Settings(BaseModel):
    """A section of a configuration file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AdapterConfig(Settings):
    """A LoRA adapter on the linear layers (not the head): https://arxiv.org/abs/2106.09685."""

    rank: int = Field(16, ge=1)
    alpha: float = 16.0
    first_layer: int = Field(0, ge=0, description="layers below are not trained, and cost no backward pass")
    dropout: float = Field(0.0, ge=0.0, lt=1.0)


class ModelConfig(Settings):
    """The model that is trained."""

    base: Path = Field(Path("models/base"), description="folder of the base model: safetensors and tokenizer.json")
    start: Path | None = Field(None, description="adapter of the earlier stage")
    adapter: AdapterConfig | None = Field(default_factory=AdapterConfig, description="null trains all weights")
    layers: int | None = Field(None, ge=1, description="keep only the first n layers")
    dtype: Literal["float32", "bfloat16"] = "float32"
    attention: Literal["eager", "sdpa"] = "sdpa"

    @property
    def adapter_layers(self) -> int | None:
        """The layers that the trained adapter keeps; None = all of them, or no adapter is trained."""
        return self.layers if self.adapter else None


class OptimizerConfig(Settings):
    """AdamW under a warm-up, stable, decay schedule (https://arxiv.org/abs/2404.06395, section 4)."""

    learning_rate: float = Field(1e-4, gt=0)
    warmup_steps: int = Field(20, ge=0)
    decay_share: float = Field(0.2, ge=0, le=1, description="last share of the steps, falling linearly to zero")
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_gradient_norm: float = Field(1.0, gt=0)
    groups_per_step: int = Field(1, ge=1, description="groups whose gradients are added before a step")


class LossConfig(Settings):
    """Weights of the terms in ``training.losses``."""

    kind: Literal["listwise", "margin_mse"] = "listwise"
    teacher_weight: float = Field(0.5, ge=0, le=1)
    teacher_temperature: float = Field(0.05, gt=0)
    pointwise_weight: float = Field(0.2, ge=0)


class EasyStartConfig(Settings):
    """The first steps of stage 2: short documents, and some that have nothing to do with the query.

    First-stage hits all share the query's words. With a few documents of other groups among them, the model learns sooner
    to match documents to the query (bootstrapping as in https://arxiv.org/abs/2007.00808, section 3).
    """

    steps: int = Field(0, ge=0)
    strangers: int = Field(4, ge=0, description="documents of other groups that take the place of the last hits")
    document_tokens: int = Field(40, ge=1)


class StageConfig(Settings):
    """The settings of both stages."""

    model: ModelConfig = Field(default_factory=ModelConfig)
    optimizer: OptimizerConfig = Field(default_factory=OptimizerConfig)
    groups: Path = Field(Path("runs/groups/groups.jsonl"), description="training groups, made by `slimrank train prepare`")
    output: Path = Field(description="folder of checkpoints and logs")
    steps: int = Field(ge=1)
    document_tokens: dict[int, float] = Field(
        default={128: 1.0},
        description="lengths that documents are cut to, and how often each is drawn; lengths are mixed on purpose",
    )
    seed: int = 7
    threads: int | None = Field(None, ge=1)
    checkpoint_minutes: float = Field(5.0, gt=0)
    keep_checkpoints: int = Field(3, ge=1)

    def draw_cut(self, draw: random.Random) -> int:
        """Draw the number of tokens that documents are cut to, with the configured probabilities."""
        return draw.choices(list(self.document_tokens), weights=list(self.document_tokens.values()))[0]


class FinegrainedConfig(StageConfig):
    """Stage 2."""

    loss: LossConfig = Field(default_factory=LossConfig)
    output: Path = Path("runs/finegrained")
    easy_start: EasyStartConfig = Field(default_factory=EasyStartConfig)
    one_forward: bool = Field(
        False, description="a step's groups go through the model in one padded batch, cut to one length; this keeps a GPU busy"
    )
    teacher: Path | None = Field(
        None, description="folder of the teacher, which scores groups without teacher scores during training"
    )
    teacher_max_tokens: int = Field(512, ge=8, le=512)
    false_negative_margin: float = Field(0.0, description="as in `train prepare`")


class LevelConfig(Settings):
    """A level of difficulty: where the irrelevant document of a couple comes from, and from which step on."""

    from_step: int = Field(1, ge=1)
    ranks: tuple[int, int] | None = Field(
        None, description="ranks of the first stage, both included; default a stranger, a document of another group"
    )
    strangers: float = Field(0.0, ge=0, le=1, description="share of couples that still have a stranger")

    @property
    def name(self) -> str:
        """The level's name in logs."""
        return f"hits_{self.ranks[0]}_{self.ranks[1]}" if self.ranks else "strangers"


class WarmupConfig(StageConfig):
    """Stage 1. ``groups_per_step`` of the optimizer does not apply: a step is one batch of couples."""

    objective: Literal["grpo", "exact", "ce"] = "grpo"
    output: Path = Path("runs/warmup")
    couples_per_step: int = Field(16, ge=1, description="queries a step, each with a relevant and an irrelevant document")
    levels: list[LevelConfig] = Field(
        default=[LevelConfig()], min_length=1, description="in the order of from_step; the first begins at step 1"
    )
    generations: int = Field(32, ge=2, description="GRPO: digits drawn for each document")
    temperature: float = Field(1.0, gt=0, description="GRPO: temperature of the draws")
    accuracy_weight: float = Field(1.0, description="weight of the joint reward: both documents of a couple judged right")
    format_weight: float = Field(0.3, description="weight of the reward for an answer that is a digit")
    normalise_advantages: bool = Field(True, description="divide advantages by the spread of their group's rewards, as GRPO does")
    reference_weight: float = Field(0.02, ge=0, description="weight of the KL divergence from the model without its adapter")
    dev_groups: int = Field(48, ge=2, description="groups held out to measure each level on")
    evaluate_every: int = Field(25, ge=1, description="steps")
    patience: int = Field(
        4, ge=1, description="evaluations of the last level without a better balanced accuracy before training stops"
    )

    @model_validator(mode="after")
    def _check_levels(self) -> Self:
        starts = [level.from_step for level in self.levels]
        if starts[0] != 1 or starts != sorted(set(starts)):
            raise ValueError(
                f"levels begin at the steps {starts}; the first must begin at 1, and each later one after the one before"
            )
        return self

    def level_at(self, step: int) -> LevelConfig:
        """Return the level of a 1-based step."""
        return [level for level in self.levels if level.from_step <= step][-1]


class TemplatesConfig(Settings):
    """Queries made from titles: ``what is {title}``."""

    count: int = Field(ge=0)
    texts: list[str] = Field(min_length=1)


class CollectionConfig(Settings):
    """One source of documents, queries and first-stage hits: a folder, a CSV file or a live index."""

    folder: Path | None = Field(None, description="BEIR folder below --data")
    csv: Path | None = Field(None, description="columns query, document, label")
    engine: HttpUrl | None = Field(None, description="address of the engine that holds the index")
    index: str | None = None
    fields: list[str] = []
    user: str | None = None
    password_file: Path | None = None
    api_key_file: Path | None = None
    documents: int | None = Field(None, ge=1, description="at most this many documents of the index")
    qrels: Path | None = Field(None, description="judgments in TREC's format, instead of the folder's")
    run: Path | None = Field(None, description="TREC run that hits are taken from")
    unlabelled: bool = False
    kind: str | None = Field(
        None, description="kind of text; entries of one kind are counted together; default the name of the folder, file or index"
    )
    queries: int = Field(0, ge=0, description="labelled queries to take")
    hold_out: int = Field(0, ge=0, description="labelled queries held out for dev")
    titles: int = Field(0, ge=0, description="queries made from titles")
    sentences: int = Field(0, ge=0, description="queries made from sentences")
    keywords: int = Field(0, ge=0, description="queries made from the words that tell a text from others best")
    templates: TemplatesConfig | None = None

    @property
    def kind_name(self) -> str:
        """The name of the kind for ``most_share`` and ``--without``."""
        return self.kind or self.index or (self.folder or self.csv or Path()).stem

    @property
    def is_live(self) -> bool:
        """Whether the source is a live index."""
        return self.engine is not None or self.index is not None

    @model_validator(mode="after")
    def _check_source(self) -> Self:
        if not (self.folder or self.csv or self.is_live):
            raise ValueError("an entry needs folder, csv, or engine with index and fields")
        missing = [name for name in ("engine", "index", "fields") if not getattr(self, name)]
        if self.is_live and missing:
            raise ValueError(
                f"an entry with an engine or an index needs engine, index and fields; {', '.join(missing)} is missing"
            )
        if (self.user is None) != (self.password_file is None):
            raise ValueError("user and password_file go together; give both or neither")
        return self


class CodeConfig(Settings):
    """Functions of installed packages as documents, their docstrings as queries."""

    packages: list[str] = Field(min_length=1)
    without: Path = Field(description="BEIR folder below --data whose documents are left out")
    per_package: int = Field(ge=1)
    queries: int = Field(ge=1)
    kind: str = "code"


class PrepareConfig(Settings):
    """Training groups."""

    seed: int = 7
    group_size: int = Field(8, ge=3)
    depth: int = Field(50, ge=2, description="first-stage hits of each query that negatives are drawn from")
    teacher_max_tokens: int = Field(512, ge=8, le=512)
    first_stage_as_teacher: bool = Field(False, description="the first stage's order counts as one more teacher")
    hostile_share: float = Field(
        0.0, ge=0, le=1, description="share of groups in which an irrelevant document has the query pasted in"
    )
    false_negative_margin: float = 0.0
    groups: int | None = Field(None, ge=1, description="number of groups, drawn from those of all entries; default all")
    most_share: float = Field(
        1.0, gt=0, le=1, description="largest share of the groups that may come from one kind; more is an error"
    )
    collections: list[CollectionConfig] = []
    code: CodeConfig | None = None

    def without(self, kinds: Sequence[str]) -> Self:
        """Return the same configuration without the entries of these kinds.

        Raises:
            ConfigError: the configuration has no such kind.
        """
        there = {entry.kind_name for entry in self.collections} | ({self.code.kind} if self.code else set())
        if unknown := sorted(set(kinds) - there):
            raise ConfigError(f"--without {unknown[0]}: the configuration has no such kind; it has {', '.join(sorted(there))}")
        left = [entry for entry in self.collections if entry.kind_name not in kinds]
        return self.model_copy(
            update={"collections": left, "code": self.code if self.code and self.code.kind not in kinds else None}
        )


T = TypeVar("T", bound=Settings)


def read_config(path: Path, kind: type[T], **overrides: object) -> T:
    """Read a configuration file; with ``extends: NAME``, missing keys are taken from that file in the same folder.

    Args:
        overrides: Values that override the file's unless they are None; ``model__base`` is the key ``base`` below ``model``.

    Raises:
        ConfigError: the file is missing or is not YAML, or a key or value does not fit ``kind``.
    """
    content = _read_extended(path)
    for name, value in overrides.items():
        if value is not None:
            _put(content, name.split("__"), value)
    try:
        return kind.model_validate(content)
    except ValidationError as error:
        found = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors())
        raise ConfigError(f"{path} is not a {kind.__name__}: {found}") from error


def _read_extended(path: Path) -> dict[str, Any]:
    content = _read_yaml(path)
    if "extends" not in content:
        return content
    base = path.parent / str(content.pop("extends"))
    below = _read_yaml(base)
    if "extends" in below:
        raise ConfigError(f"{path} extends {base}, which itself extends another file; name that file")
    return below | content


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(read_text(path)) or {}
    except DataError as error:
        raise ConfigError(f"the training configuration: {error}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise ConfigError(f"{path} must hold keys and values; found {type(content).__name__}")
    return content


def _put(content: dict[str, Any], keys: list[str], value: object) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
    content[keys[-1]] = value
