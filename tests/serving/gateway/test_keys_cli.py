"""`slimrank keys`: the file that a gateway reads, made by commands that show a key once and never again."""

import json
from pathlib import Path

import pytest

from slimrank.engine.model import Model
from slimrank.identity import ModelIdentity
from slimrank.serving.embedded_backend import EmbeddedBackend
from slimrank.serving.gateway.keys import KeyRing
from tests.command import slimrank
from tests.doubles import FakeScorer
from tests.serving.conftest import over
from tests.serving.test_security import status


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


def made(path: Path, name: str, *options: object) -> str:
    done = slimrank("keys", "add", name, "--file", path, *options)
    assert done.code == 0, done.err
    return done.out.strip()


def test_a_key_that_was_made_is_let_in_within_its_limits_and_one_removed_is_not(path: Path) -> None:
    shop, lab = made(path, "shop", "--model", "fake"), made(path, "lab", "--model", "other")
    now = [0.0]
    with over(EmbeddedBackend(Model(ModelIdentity("fake"), FakeScorer())), api_keys_file=path) as client:
        assert (status(client, f"Bearer {shop}"), status(client, f"Bearer {lab}")) == (200, 403)
    ring = KeyRing(path, clock=lambda: now[0])
    assert ring.admit(f"Bearer {shop}") is not None
    assert slimrank("keys", "remove", "shop", "--file", path).code == 0
    now[0] += 2
    with pytest.raises(Exception, match="needs an API key"):
        ring.admit(f"Bearer {shop}")
    assert ring.admit(f"Bearer {lab}") is not None


def test_a_key_is_shown_once_and_kept_nowhere(path: Path) -> None:
    done = slimrank("keys", "add", "shop", "--file", path)
    key = done.out.strip()
    assert key.startswith("sr-") and key not in done.err and key not in path.read_text()
    listed = slimrank("keys", "list", "--file", path)
    assert "shop" in listed.out
    entry = json.loads(path.read_text())["keys"][0]
    assert key not in listed.out and entry["sha256"] not in listed.out
    assert json.loads(slimrank("keys", "list", "--file", path, "--json").out) == {
        "keys": [{"name": "shop", "models": None, "requests_per_minute": None}]
    }


def test_the_setting_names_the_file_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMRANK_API_KEYS_FILE", str(path))
    assert slimrank("keys", "add", "shop").code == 0
    assert "shop" in slimrank("keys", "list").out


def test_the_rights_of_a_file_that_is_there_stay(path: Path) -> None:
    made(path, "shop")
    path.chmod(0o640)
    made(path, "lab")
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["add", "shop"], "holds a key of the name shop"),
        (["add", "a\nb"], "a key's name"),
        (["add", "lab", "--requests-per-minute", "nan"], "a key's requests_per_minute"),
        (["add", "lab", "--requests-per-minute", "0"], "a key's requests_per_minute"),
        (["remove", "shpo"], "holds no key of the name shpo; it holds shop"),
    ],
)
def test_what_makes_no_sense_changes_nothing_and_is_one_line(path: Path, arguments: list[str], words: str) -> None:
    made(path, "shop")
    before = path.read_bytes()
    done = slimrank("keys", *arguments, "--file", path)
    assert (done.code, done.out, done.err.count("\n"), words in done.err) == (2, "", 1, True), done.err
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", ["", "[]", '{"keys": [{"name": "a", "sha256": "b"}]}', '{"keys": {}, "more": 1}'])
def test_a_file_that_holds_no_keys_is_not_changed(path: Path, content: str) -> None:
    path.write_text(content)
    for arguments in (["add", "shop"], ["list"], ["remove", "shop"]):
        done = slimrank("keys", *arguments, "--file", path)
        assert (done.code, done.err.count("\n"), "the key file" in done.err) == (2, 1, True), done.err
    assert path.read_text() == content


def test_without_a_file_the_command_asks_which() -> None:
    done = slimrank("keys", "list")
    assert (done.code, "SLIMRANK_API_KEYS_FILE" in done.err) == (2, True)


def test_a_command_that_was_mistyped_is_given_its_nearest_name() -> None:
    done = slimrank("evalute")
    assert (done.code, "Did you mean 'evaluate'?" in done.err) == (2, True), done.err
