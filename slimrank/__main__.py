"""The roof of the command line: hangs each package's ``cli.py`` under ``slimrank``.

Commands are imported when they are called, so ``slimrank --help`` is quick and a package whose
extra is not installed is missed only by its own commands. Errors of ours, and files that the system
refuses, end in one line and exit code 2, never in a traceback.
"""

import sys
from difflib import get_close_matches
from importlib import import_module
from typing import Any, NoReturn

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup
from typer.main import get_command

from slimrank import __version__
from slimrank.errors import ConfigError, SlimrankError
from slimrank.files import DISK_FAULTS, explain_os
from slimrank.telemetry import OURS, quiet_libraries

COMMANDS = {
    "model": ("onnx_export.cli", "model", "export,serve", "Make the default model, or list what is here"),
    "train": ("training.cli", "app", "train", "Train a model in two stages"),
    "export": ("onnx_export.cli", "export", "export,serve", "Export a checkpoint to a model folder"),
    "verify": ("onnx_export.cli", "verify", "export,serve", "Compare an exported model with its checkpoint"),
    "rank": ("slimrank.trials.commands", "rank", "serve", "Rank lines of a file for a query"),
    "evaluate": ("slimrank.trials.commands", "evaluate_collections", "serve", "Measure nDCG@10 before and after on a collection"),
    "frontier": (
        "slimrank.trials.frontier_cli",
        "measure_frontier",
        "serve",
        "Find the settings that nothing beats, by gain and time",
    ),
    "serve": ("slimrank.serving.cli", "serve", "serve", "Run the HTTP gateway"),
    "worker": ("slimrank.serving.cli", "worker", "serve", "Run a scoring worker"),
    "health": ("slimrank.serving.cli", "health", "serve", "Say whether a worker of this machine is alive"),
    "keys": ("slimrank.serving.gateway.keys_cli", "app", "serve", "Make, list and remove API keys"),
    "proxy": ("connector.proxy.cli", "proxy", "connect", "Rerank in front of a search engine's _search"),
    "bench": ("slimrank.bench.cli", "app", "serve", "Measure speed, memory and scores on this machine"),
    "connect": ("connector.cli", "app", "connect", "Connect a search engine"),
    "playground": ("connector.playground.cli", "playground", "serve", "Run a search page: first stage beside reranked"),
    "audit": ("connector.audit.cli", "app", "audit", "Audit a reindex before the alias moves"),
    "doctor": ("connector.doctor.cli", "doctor", "serve", "Look at this machine and say what to do"),
    "demo": ("deploy.demo.cli", "demo", "serve", "Search the Python documentation, BM25 beside reranked"),
}


class LazyGroup(TyperGroup):
    """A group that knows its commands by name and imports one when it is asked for.

    The ignored overrides: Typer brings a click of its own, whose types have no public names.
    """

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        """Return the names in the order of the flow."""
        return list(COMMANDS)

    def get_command(self, ctx: typer.Context, cmd_name: str) -> Any:  # type: ignore[override]
        """Import and return one command, or None where there is no such command."""
        return _load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(self, ctx: typer.Context, args: list[str]) -> Any:  # type: ignore[override]
        """Find the command that is meant, and name the nearest where there is none of that name."""
        if args and args[0] not in COMMANDS and (nearest := get_close_matches(args[0], COMMANDS, n=1)):
            ctx.fail(f"No such command {args[0]!r}. Did you mean {nearest[0]!r}?")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: typer.Context, formatter: Any) -> None:  # type: ignore[override]
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, home[3]) for name, home in COMMANDS.items()])


def _load(name: str) -> Any:
    module, attribute, extra, _ = COMMANDS[name]
    try:
        target = getattr(import_module(module), attribute)
    except ModuleNotFoundError as error:
        raise ConfigError(_lacks(name, error.name, extra)) from error
    if isinstance(target, typer.Typer):
        group = get_command(target)
        # Completion is installed for the whole line: `slimrank --install-completion`.
        group.params = [option for option in group.params if option.name not in ("install_completion", "show_completion")]
        return _with_example(group, f"slimrank {name}")
    single = typer.Typer(add_completion=False, rich_markup_mode=None)
    single.command(name)(target)
    return get_command(single)


def _lacks(name: str, package: str | None, extra: str) -> str:
    return f"`slimrank {name}` needs {package}, which is not installed; run: pip install 'slimrank[{extra}]'"


def _with_example(group: Any, path: str) -> Any:
    """End a group's help, as each command's ends, with a line to type: the help of its first step."""
    group.epilog = f"Example: {path} {next(iter(group.commands))} --help"
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            _with_example(command, f"{path} {name}")
    return group


# Commands below inherit both: `-h` everywhere, and help as wide as a wide terminal can be read.
app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"slimrank {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(False, "--version", callback=_print_version, is_eager=True, help="Print the version."),
) -> None:
    """Rerank search results with a small language model, on your own machines.

    Example: slimrank demo
    """


def main() -> None:
    """Run the command line."""
    quiet_libraries()
    try:
        app()
    except SlimrankError as error:
        _end(str(error))
    except ModuleNotFoundError as error:
        name, extra = next(((word, COMMANDS[word][2]) for word in sys.argv[1:] if word in COMMANDS), ("", ""))
        if not extra or (error.name or "").partition(".")[0] in OURS:
            raise
        _end(_lacks(name, error.name, extra))
    except OSError as error:
        if (
            error.filename is None and error.errno not in DISK_FAULTS
        ):  # no file of the user's: a fault of ours, best shown by its traceback
            raise
        _end(f"cannot use {error.filename}: {explain_os(error)}" if error.filename else f"cannot write: {explain_os(error)}")


def _end(message: str) -> NoReturn:
    Console(stderr=True, soft_wrap=True).print(Text.assemble(("slimrank: ", "bold red"), message))
    sys.exit(2)


if __name__ == "__main__":
    main()
