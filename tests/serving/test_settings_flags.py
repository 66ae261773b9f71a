"""Every setting has an environment variable and a flag of the same name, and .env.example lists them all."""

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from slimrank.serving.cli import serve, worker
from slimrank.settings import Settings
from tests.command import slimrank

ROOT = Path(__file__).parent.parent.parent
EXAMPLE = ROOT / ".env.example"


def test_every_setting_has_a_flag_of_the_same_name() -> None:
    flags = {name for command in (serve, worker) for name in inspect.signature(command).parameters}
    assert flags == set(Settings.model_fields)


def test_the_example_lists_every_setting_with_its_default_and_its_meaning() -> None:
    text = EXAMPLE.read_text(encoding="utf-8")
    found = dict(re.findall(r"^#?SLIMRANK_([A-Z_]+)=(.*)$", text, re.MULTILINE))
    assert [name.lower() for name in found] == list(Settings.model_fields)
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else str(field.default)
        assert (name, found[name.upper()]) == (name, default.lower() if isinstance(field.default, bool) else default)
        assert f"# {field.description}\n" in text


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_the_commands_explain_their_flags(command: str) -> None:
    done = slimrank(command, "--help")
    assert done.code == 0
    assert "--redis-url" in done.out
    assert "SLIMRANK_REDIS_URL" in done.out


def test_a_wrong_flag_is_answered_with_one_line() -> None:
    done = slimrank("serve", "--port", 70000)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "setting port (SLIMRANK_PORT)" in done.err


def test_a_port_in_use_is_answered_with_one_line() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        command = [sys.executable, "-m", "slimrank", "serve", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "another process listens there" in done.stderr
    assert "Traceback" not in done.stderr
