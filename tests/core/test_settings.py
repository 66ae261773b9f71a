"""Settings come from the environment, flags win, and a wrong value is named."""

import pytest

from slimrank import settings
from slimrank.errors import ConfigError


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
