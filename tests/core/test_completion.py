"""Shell completion: the script is printed for each shell, and what it calls answers with commands and options."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from slimrank.__main__ import COMMANDS, app

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def slimrank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the command as an installation has it: completion goes by its name."""
    script = tmp_path_factory.mktemp("bin") / "slimrank"
    script.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\nfrom slimrank.__main__ import main\nmain()\n"
    )
    script.chmod(0o755)
    return script


def run(script: Path, *arguments: str, **environment: str) -> str:
    return subprocess.run([script, *arguments], env=os.environ | environment, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_the_script_is_printed_for_a_shell(shell: str, slimrank: Path) -> None:
    # The first variable is Typer's own, for naming the shell where none is the parent.
    script = run(slimrank, "--show-completion", shell, _TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION="1")
    assert "_SLIMRANK_COMPLETE" in script and shell.removeprefix("power") in script.lower()


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("slimrank d", {"doctor", "demo"}),
        ("slimrank connect ", {"opensearch", "elasticsearch"}),
        ("slimrank doctor --eng", {"--engine"}),
    ],
)
def test_commands_and_options_are_offered(line: str, offered: set[str], slimrank: Path) -> None:
    found = run(slimrank, _SLIMRANK_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" ")))
    assert set(found.split()) == offered


@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_installed_for_the_whole_line_only(command: str) -> None:
    assert "--install-completion" in CliRunner().invoke(app, ["--help"]).output
    assert "--install-completion" not in CliRunner().invoke(app, [command, "--help"]).output
