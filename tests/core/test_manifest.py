"""A model folder that does not fit is refused with its reason and its cure."""

import json
import os
from pathlib import Path

import pytest

from slimrank import manifest
from slimrank.errors import ManifestError, PromptMismatch
from slimrank.manifest import Architecture, Manifest, Verification
from slimrank.prompt import MXBAI_V2, SLIMRANK

PASSED = Verification(pairs=8, max_score_difference=1e-5, rank_agreement=1.0, tolerance=1e-3, passed=True, reference="torch")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model.onnx").write_bytes(b"graph")
    (tmp_path / "tokenizer.json").write_text("{}")
    SLIMRANK.save(tmp_path / "prompt.json")
    Manifest(
        name="m",
        base="b",
        prompt=SLIMRANK.name,
        prompt_sha256=SLIMRANK.digest(),
        relevant_id=1,
        irrelevant_id=0,
        opset=18,
        architecture=Architecture(layers=1, key_value_heads=1, head_size=8),
        files=manifest.file_records(tmp_path, ["model.onnx", "tokenizer.json", "prompt.json"]),
        verification=PASSED,
    ).save(tmp_path)
    return tmp_path


def rewrite(folder: Path, **changes: object) -> None:
    manifest.read(folder).model_copy(update=changes).save(folder)


def test_a_whole_folder_is_accepted(folder: Path) -> None:
    assert manifest.check(folder).name == "m"


def test_a_folder_without_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="slimrank export"):
        manifest.check(tmp_path)


def test_a_missing_file_is_named(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()
    with pytest.raises(ManifestError, match=r"tokenizer\.json is missing"):
        manifest.check(folder)


def test_a_file_cut_short_is_named(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"gra")
    with pytest.raises(ManifestError, match="has 3 bytes where the manifest says 5"):
        manifest.check(folder)


def test_an_altered_file_of_the_same_size_is_named(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"grapf")
    with pytest.raises(ManifestError, match="SHA-256"):
        manifest.check(folder)


def test_a_large_file_altered_within_is_named_too(folder: Path) -> None:
    with (folder / "model.onnx").open("wb") as file:
        file.truncate(16 * 2**20)
    rewrite(folder, files=manifest.file_records(folder, ["model.onnx", "tokenizer.json", "prompt.json"]))
    manifest.check(folder)
    with (folder / "model.onnx").open("r+b") as file:
        file.seek(9 * 2**20)
        file.write(b"random")
    with pytest.raises(ManifestError, match="SHA-256"):
        manifest.check(folder)


def test_a_file_altered_under_its_old_time_is_noticed(folder: Path) -> None:
    graph, before = folder / "model.onnx", (folder / "model.onnx").stat()
    manifest.check(folder)
    graph.write_bytes(b"grapf")
    os.utime(graph, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(ManifestError, match="SHA-256"):
        manifest.check(folder)


def test_a_file_is_hashed_once_while_it_stays_as_it_is(folder: Path) -> None:
    manifest.check(folder)
    before = manifest._sha256_of.cache_info().misses
    manifest.check(folder)
    assert manifest._sha256_of.cache_info().misses == before


@pytest.mark.parametrize("left_out", ["model.onnx", "tokenizer.json", "prompt.json"])
def test_a_manifest_vouches_for_all_that_is_loaded(folder: Path, left_out: str) -> None:
    records = manifest.read(folder).files
    rewrite(folder, files={name: record for name, record in records.items() if name != left_out})
    with pytest.raises(ManifestError, match=f"does not vouch for {left_out}"):
        manifest.check(folder)


def test_weights_beside_the_graph_are_vouched_for_too(folder: Path) -> None:
    (folder / "model.onnx.data").write_bytes(b"weights")
    with pytest.raises(ManifestError, match=r"does not vouch for model\.onnx\.data"):
        manifest.check(folder)


def test_a_manifest_names_files_of_its_own_folder_only(folder: Path) -> None:
    records = manifest.read(folder).files
    rewrite(folder, files=records | {"../elsewhere": records["model.onnx"]})
    with pytest.raises(ManifestError, match=r"\.\./elsewhere"):
        manifest.check(folder)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("calibration", {"scale": -1.0, "offset": 0.0}),
        ("calibration", {"scale": "NaN", "offset": 0.0}),
        ("fusion", {"weight": -0.1, "first_stage": "bm25"}),
        ("architecture", {"layers": 10**30, "key_value_heads": 1, "head_size": 1}),
        ("max_pair_tokens", 10**400),
        ("files", {"model.onnx": {"bytes": -1, "sha256": "0" * 64}}),
    ],
)
def test_a_value_that_no_model_has_is_named(folder: Path, place: str, value: object) -> None:
    content = json.loads((folder / "manifest.json").read_text()) | {place: value}
    (folder / "manifest.json").write_text(json.dumps(content))
    with pytest.raises(ManifestError, match=place):
        manifest.check(folder)


def test_another_prompt_is_a_mismatch(folder: Path) -> None:
    rewrite(folder, prompt_sha256=MXBAI_V2.digest())
    with pytest.raises(PromptMismatch, match="export the model again"):
        manifest.check(folder)


def test_an_unverified_folder_is_refused_but_for_verification(folder: Path) -> None:
    rewrite(folder, verification=None)
    with pytest.raises(ManifestError, match="slimrank verify"):
        manifest.check(folder)
    assert manifest.check(folder, unverified=True).verification is None


def test_a_folder_that_failed_verification_is_refused(folder: Path) -> None:
    rewrite(folder, verification=PASSED.model_copy(update={"passed": False, "max_score_difference": 0.5}))
    with pytest.raises(ManifestError, match=r"differ by up to 0\.5"):
        manifest.check(folder)


@pytest.mark.parametrize("content", ["", "{}", '{"format": 1, "surprise": true}'])
def test_a_manifest_of_another_kind_is_named(folder: Path, content: str) -> None:
    (folder / "manifest.json").write_text(content)
    with pytest.raises(ManifestError, match=r"manifest\.json"):
        manifest.check(folder)
