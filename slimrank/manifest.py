"""The manifest of a model folder: what export writes and serving believes.

Training, export and serving never import each other; they meet in a folder. ``manifest.json``
says which prompt, answer tokens, lengths and files belong together and how well the exported
graph agrees with the model it came from. ``check`` turns any mix-up into a refused start with
its reason and cure, where there would have been quietly wrong scores.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimrank.errors import ManifestError, PromptMismatch
from slimrank.prompt import DEFAULT_MAX_PAIR_TOKENS, Prompt

MANIFEST_FILE = "manifest.json"
PROMPT_FILE = "prompt.json"
TOKENIZER_FILE = "tokenizer.json"
GRAPH_FILE = "model.onnx"
FORMAT = 1

Precision = Literal["fp32", "fp16", "bf16", "int8", "int8-gpu", "int4"]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid")


class FileRecord(_Record):
    """One file of the folder."""

    bytes: int
    sha256: str


class Architecture(_Record):
    """The shapes a caller needs to make empty or shared keys and values."""

    layers: int
    key_value_heads: int
    head_size: int


class Calibration(_Record):
    """probability = sigmoid(scale * score + offset)."""

    scale: float = 1.0
    offset: float = 0.0


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

    weight: float
    first_stage: str


class Manifest(_Record):
    """Everything that must agree between export and serving."""

    format: int = FORMAT
    name: str
    base: str
    prompt: str
    prompt_sha256: str
    relevant_id: int
    irrelevant_id: int
    max_pair_tokens: int = DEFAULT_MAX_PAIR_TOKENS
    max_query_tokens: int = DEFAULT_MAX_PAIR_TOKENS // 2
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
        """Write ``manifest.json``."""
        (folder / MANIFEST_FILE).write_text(self.model_dump_json(indent=2) + "\n", encoding="utf-8")


def file_records(folder: Path, names: Iterable[str]) -> dict[str, FileRecord]:
    """Return size and SHA-256 of each named file."""
    return {name: FileRecord(bytes=(folder / name).stat().st_size, sha256=sha256_of(folder / name)) for name in sorted(names)}


def sha256_of(path: Path) -> str:
    """Return the hex SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(folder: Path) -> Manifest:
    """Read the manifest of a model folder without checking the folder.

    Raises:
        ManifestError: there is none, or it is not one this build understands.
    """
    path = folder / MANIFEST_FILE
    if not path.is_file():
        raise ManifestError(f"{folder} is not a model folder: it has no {MANIFEST_FILE}; make one with `slimrank export`")
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ManifestError(f"{path}: {place}: {first['msg']}; export the model again with this release") from error


def check(folder: Path, *, deep: bool = False, unverified: bool = False) -> Manifest:
    """Return the manifest of a folder that may be served; refuse any other.

    Args:
        deep: Also hash every file (seconds for large weights). Otherwise sizes are compared and
            only the small files are hashed.
        unverified: Accept a folder that was not yet verified; for ``slimrank verify`` itself.

    Raises:
        PromptMismatch: the prompt is not the one the model was exported with.
        ManifestError: a file is missing or altered, or the folder did not pass verification.
    """
    manifest = read(folder)
    for name, record in manifest.files.items():
        _check_file(folder / name, record, hashed=deep or record.bytes < 16 * 2**20)
    found = Prompt.load(folder / PROMPT_FILE)
    if found.digest() != manifest.prompt_sha256:
        raise PromptMismatch(
            f"{folder} was made with prompt {manifest.prompt} {manifest.prompt_sha256[:12]}, but its {PROMPT_FILE} renders as"
            f" {found.name} {found.digest()[:12]} in this build; export the model again, or use the release that made it"
        )
    if not unverified:
        _check_verified(folder, manifest.verification)
    return manifest


def _check_file(path: Path, record: FileRecord, *, hashed: bool) -> None:
    if not path.is_file():
        raise ManifestError(f"{path} is missing; copy the whole model folder, or export it again")
    if path.stat().st_size != record.bytes:
        raise ManifestError(
            f"{path} has {path.stat().st_size} bytes where the manifest says {record.bytes}; the copy is incomplete or altered:"
            " copy it again, or export it again"
        )
    if hashed and sha256_of(path) != record.sha256:
        raise ManifestError(f"{path} is not the file that was exported (its SHA-256 differs); copy it again, or export it again")


def _check_verified(folder: Path, verification: Verification | None) -> None:
    if verification is None:
        raise ManifestError(f"{folder} was never verified; run `slimrank verify {folder}`")
    if not verification.passed:
        raise ManifestError(
            f"{folder} failed verification: scores differ by up to {verification.max_score_difference:.4g} from"
            f" {verification.reference}, and {verification.tolerance:.4g} is allowed; export it again, or in fp32"
        )
