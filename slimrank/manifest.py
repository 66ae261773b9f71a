"""The manifest of a model folder: what export writes and serving believes.

Training, export and serving never import each other; they meet in a folder. ``manifest.json``
says which prompt, answer tokens, lengths and files belong together and how well the exported
graph agrees with the model it came from. ``check`` turns any mix-up into a refused start with
its reason and cure, where there would have been quietly wrong scores.
"""

import hashlib
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimrank.errors import DataError, ManifestError, PromptMismatch
from slimrank.files import read_text, replace_text
from slimrank.prompt import DEFAULT_MAX_PAIR_TOKENS, Prompt

MANIFEST_FILE = "manifest.json"
PROMPT_FILE = "prompt.json"
TOKENIZER_FILE = "tokenizer.json"
GRAPH_FILE = "model.onnx"
ADAPTER_FILE = "adapter_config.json"
"""A folder with this file holds an adapter, which is not a model yet."""
FORMAT = 1
_HUB_ID = re.compile(r"\w[\w.-]*/[\w.-]+")

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-gpu"]
Kind = Literal["language_model", "cross_encoder"]
"""The kind of a model: a language model that answers a prompt with one of two tokens, or a pair classifier with one logit."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class FileRecord(_Record):
    """One file of the folder."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Architecture(_Record):
    """The shapes a caller needs to make empty or shared keys and values; a cross-encoder shares none."""

    layers: int = Field(ge=1, le=10_000)
    key_value_heads: int = Field(ge=1, le=10_000)
    head_size: int = Field(ge=1, le=100_000)


class Calibration(_Record):
    """probability = sigmoid(scale * score + offset); a scale below 0 would turn the order around."""

    scale: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    offset: float = Field(default=0.0, allow_inf_nan=False)


class Verification(_Record):
    """How the exported graph compares with the model it was made from, on real pairs."""

    pairs: int
    max_score_difference: float
    rank_agreement: float = Field(description="Kendall's tau-b of the two orders, mean over queries")
    tolerance: float
    passed: bool
    reference: str


class Fusion(_Record):
    """score + weight * prior(first-stage rank), fitted on dev for one first stage."""

    weight: float = Field(ge=0, allow_inf_nan=False)
    first_stage: str


class Manifest(_Record):
    """Everything that must agree between export and serving."""

    format: int = FORMAT
    kind: Kind = "language_model"
    name: str
    base: str
    prompt: str
    prompt_sha256: str
    relevant_id: int | None = Field(None, description="Vocabulary entry of the answer; a cross-encoder answers with no token")
    irrelevant_id: int | None = None
    max_pair_tokens: int = Field(default=DEFAULT_MAX_PAIR_TOKENS, ge=1, le=2**20)
    max_query_tokens: int = Field(default=DEFAULT_MAX_PAIR_TOKENS // 2, ge=1, le=2**20)
    precision: Precision = "fp32"
    opset: int
    architecture: Architecture
    calibration: Calibration = Calibration()
    fusion: Fusion | None = None
    trained: bool = False
    made_with: dict[str, str] = {}
    files: dict[str, FileRecord]
    verification: Verification | None = None

    def digest(self) -> str:
        """Return the hash of what the folder holds: weights, graph, tokenizer and prompt, by name and content."""
        files = "\n".join(f"{record.sha256}  {name}" for name, record in sorted(self.files.items()))
        return hashlib.sha256(files.encode()).hexdigest()

    def save(self, folder: Path) -> None:
        """Write ``manifest.json``, whole or not at all."""
        with replace_text(folder / MANIFEST_FILE) as file:
            file.write(self.model_dump_json(indent=2) + "\n")


def file_records(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Return size and SHA-256 of each named file."""
    return {name: FileRecord(bytes=(folder / name).stat().st_size, sha256=sha256_of(folder / name)) for name in sorted(names)}


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file; read again only where its size, time or place on disk is another."""
    status = path.stat()
    return _sha256_of(path.resolve(), status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: Path, *_stamp: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> Manifest:
    """Read the manifest of a model folder without checking the folder.

    Raises:
        ManifestError: there is none, or it is not one this build understands.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ManifestError(f"{folder} is not a model folder: it has no {MANIFEST_FILE}; {how_to_make(folder)}")
    try:
        return Manifest.model_validate_json(read_text(path))
    except DataError as error:
        raise ManifestError(f"the manifest: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{path}: {place}: {first['msg']}; export the model again with this release") from error


def how_to_make(given: Path) -> str:
    """Return which command makes a model folder of what was given in place of one: an adapter, a checkpoint or a hub id."""
    if (given / ADAPTER_FILE).is_file():
        return f"it is an adapter: `slimrank export BASE --adapter {given} --out models/{given.name} --trained` makes one of it"
    if (given / "config.json").is_file():
        return f"it is a checkpoint: `slimrank export {given} --out models/{given.name}` makes one of it"
    if not given.exists() and _HUB_ID.fullmatch(str(given)):
        return f"if it is a model of the hub, `slimrank export {given} --out models/{given.name.lower()}` makes one of it"
    return "make one with `slimrank export`" if given.is_dir() else "check the path"


def check(folder: Path, *, unverified: bool = False) -> Manifest:
    """Return the manifest of a folder that may be served; refuse any other. Every file is hashed, once a process.

    Args:
        unverified: Accept a folder that was not yet verified; for ``slimrank verify`` itself.

    Raises:
        PromptMismatch: the prompt is not the one the model was exported with.
        ManifestError: a file is missing, altered or not vouched for, or the folder did not pass verification.
    """
    manifest = read(folder)
    _check_listed(folder, manifest)
    for name, record in manifest.files.items():
        _check_file(folder / name, record)
    found = Prompt.load(folder / PROMPT_FILE)
    if found.digest() != manifest.prompt_sha256:
        raise PromptMismatch(
            f"{folder} was made with prompt {manifest.prompt} {manifest.prompt_sha256[:12]}, but its {PROMPT_FILE} renders as"
            f" {found.name} {found.digest()[:12]} in this build; export the model again, or use the release that made it"
        )
    if not unverified:
        _check_verified(folder, manifest.verification)
    return manifest


def is_model_folder(folder: Path) -> bool:
    """Tell whether a folder is one that an export wrote, and holds nothing else."""
    try:
        known = {MANIFEST_FILE, *read(folder).files}
    except ManifestError:
        return False
    return {path.name for path in folder.iterdir()} <= known


def _check_listed(folder: Path, manifest: Manifest) -> None:
    """Refuse a manifest that does not vouch for what is loaded."""
    loaded = {GRAPH_FILE, TOKENIZER_FILE, PROMPT_FILE} | {path.name for path in folder.glob(f"{GRAPH_FILE}*")}
    if missing := sorted(loaded - manifest.files.keys()):
        raise ManifestError(f"{folder / MANIFEST_FILE} does not vouch for {', '.join(missing)}; export the model again")
    if odd := [name for name in manifest.files if Path(name).name != name]:
        raise ManifestError(
            f"{folder / MANIFEST_FILE} names {odd[0][:80]!r}, which is no file of the folder; export the model again"
        )


def _check_file(path: Path, record: FileRecord) -> None:
    if not path.is_file():
        raise ManifestError(f"{path} is missing; copy the whole model folder, or export it again")
    if path.stat().st_size != record.bytes:
        raise ManifestError(
            f"{path} has {path.stat().st_size} bytes where the manifest says {record.bytes}; the copy is incomplete or altered:"
            " copy it again, or export it again"
        )
    if sha256_of(path) != record.sha256:
        raise ManifestError(f"{path} is not the file that was exported (its SHA-256 differs); copy it again, or export it again")


def _check_verified(folder: Path, verification: Verification | None) -> None:
    if verification is None:
        raise ManifestError(f"{folder} was never verified; run `slimrank verify {folder}`")
    if not verification.passed:
        raise ManifestError(
            f"{folder} failed verification: scores differ by up to {verification.max_score_difference:.4g} from"
            f" {verification.reference}, and {verification.tolerance:.4g} is allowed; export it again, or in fp32"
        )
