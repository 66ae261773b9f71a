"""Settings come from the environment, flags win, and a wrong value is named."""

from pathlib import Path

import pytest

from slimrank import settings
from slimrank.errors import ConfigError
from slimrank.store import shipped_folder


def test_the_environment_is_read_and_a_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLIMRANK_PORT", "9000")
    assert settings.load().port == 9000
    assert settings.load(port=9001).port == 9001
    assert settings.load(port=None).port == 9000


@pytest.mark.parametrize(
    ("name", "value"), [("SLIMRANK_PORT", "http"), ("SLIMRANK_PORT", "70000"), ("SLIMRANK_LOG_LEVEL", "loud")]
)
def test_a_wrong_value_is_named_with_its_variable(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        settings.load()


def test_every_setting_says_what_it_is() -> None:
    assert all(field.description for field in settings.Settings.model_fields.values())


def test_a_gpus_default_model_lies_beside_the_cpus(tmp_path: Path) -> None:
    folders = [shipped_folder(settings.load(home=tmp_path, provider=provider)).name for provider in ("cpu", "cuda")]
    assert folders == ["slimrank-135m", "slimrank-135m-fp16"]
