"""What is given in place of a model folder, or missing for making one, is told in one line with the command that helps."""

from pathlib import Path

import pytest

from slimrank import manifest, store
from slimrank.errors import ManifestError, ModelSourceError
from slimrank.settings import Settings
from tests.command import slimrank


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("adapter_config.json", "it is an adapter: `slimrank export BASE --adapter"),
        ("config.json", "it is a checkpoint: `slimrank export"),
        ("notes.md", "make one with `slimrank export`"),
    ],
)
@pytest.mark.parametrize("command", [["worker"], ["rank", "--query", "q", "lines"]])
def test_a_folder_of_another_kind_is_told_with_what_makes_a_model_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], file: str, words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lines").write_text("a\n")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / file).write_text("{}")
    done = slimrank(*command, "--model", "given")
    assert done.code == 2
    assert f"given is not a model folder: it has no manifest.json; {words}" in " ".join(done.err.split())


def test_a_hub_id_is_told_how_it_becomes_a_model_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = "`slimrank export HuggingFaceTB/SmolLM2-135M-Instruct --out models/smollm2-135m-instruct` makes one of it"
    with pytest.raises(ManifestError, match=words):
        manifest.read(Path("HuggingFaceTB/SmolLM2-135M-Instruct"))
    done = slimrank("serve", "--port", 0, "--model", "HuggingFaceTB/SmolLM2-135M-Instruct")
    assert (done.code, words in " ".join(done.err.split())) == (2, True), done.err


def test_a_default_model_that_cannot_be_made_here_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "find_spec", lambda name: None if name == "torch" else object())
    with pytest.raises(ModelSourceError, match=r"needs torch, not installed here; run: pip install 'slimrank\[export,serve\]'"):
        store.model_folder(Settings(home=tmp_path))


def test_a_package_that_is_missed_while_a_command_runs_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "filelock", None)
    done = slimrank("model", "pull", "--home", tmp_path)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert "`slimrank model` needs filelock, which is not installed; run: pip install 'slimrank[export,serve]'" in done.err
