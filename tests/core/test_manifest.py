"""A model folder that does not fit is refused with its reason and its cure."""

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
    assert manifest.check(folder, deep=True).name == "m"


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
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
