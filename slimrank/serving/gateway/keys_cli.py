"""``slimrank keys``: who may ask the gateway. Writes the file that ``SLIMRANK_API_KEYS_FILE`` names; never shows a stored key.

A key is shown once, on standard output, when it is made: the file holds its hash. A running gateway reads the file again
within a second of a change.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from slimrank import settings as process_settings
from slimrank.errors import ConfigError
from slimrank.options import JsonOption
from slimrank.serving.gateway.keys import KeyEntry, new_key, read_keys, write_keys
from slimrank.tables import print_table

app = typer.Typer(
    no_args_is_help=True, rich_markup_mode=None, help="Make, list and remove API keys, in the file that the gateway reads."
)

FileOption = Annotated[Path | None, typer.Option("--file", help="File of key hashes; default SLIMRANK_API_KEYS_FILE.")]
Name = Annotated[str, typer.Argument(help="Who holds the key, such as shop; limits and logs are by this name.")]


@app.command()
def add(
    name: Name,
    file: FileOption = None,
    model: Annotated[
        list[str] | None, typer.Option(help="A model that it may ask; may be given several times; left out, all.")
    ] = None,
    requests_per_minute: Annotated[
        float | None, typer.Option(help="How often it may ask; left out, as often as it likes.")
    ] = None,
) -> None:
    """Make a key and print it, once; the file is made where it is not there.

    Example: slimrank keys add shop --file keys.json --requests-per-minute 600
    """
    path = _file(file)
    entries = read_keys(path) if path.exists() else []
    if any(entry.name == name for entry in entries):
        raise ConfigError(f"{path} holds a key of the name {name}; remove it first, or choose another name")
    key, entry = new_key(name, models=model, requests_per_minute=requests_per_minute)
    write_keys(path, [*entries, entry])
    typer.echo(f"key of {name}, shown this once, its hash is in {path}:", err=True)
    typer.echo(key)


@app.command("list")
def list_keys(file: FileOption = None, as_json: JsonOption = False) -> None:
    """List who holds a key, which models it may ask and how often.

    Example: slimrank keys list --file keys.json
    """
    shown: list[dict[str, Any]] = [
        {"name": entry.name, "models": entry.models, "requests_per_minute": entry.requests_per_minute}
        for entry in read_keys(_file(file))
    ]
    if as_json:
        typer.echo(json.dumps({"keys": shown}))
        return
    table = Table("name", "models", "requests a minute", box=None, pad_edge=False)
    for entry in shown:
        rate = entry["requests_per_minute"]
        table.add_row(entry["name"], ", ".join(entry["models"] or ["all"]), "any number" if rate is None else f"{rate:g}")
    print_table(table)


@app.command()
def remove(name: Name, file: FileOption = None) -> None:
    """Remove a key: who presents it is refused within a second.

    Example: slimrank keys remove shop --file keys.json
    """
    path = _file(file)
    entries = read_keys(path)
    left = [entry for entry in entries if entry.name != name]
    if len(left) == len(entries):
        raise ConfigError(f"{path} holds no key of the name {name}; it holds {', '.join(_names(entries)) or 'none'}")
    write_keys(path, left)
    typer.echo(f"{name} removed from {path}; {len(left)} keys are left" + ("" if left else ": nobody is let in"))


def _names(entries: list[KeyEntry]) -> list[str]:
    return [entry.name for entry in entries]


def _file(given: Path | None) -> Path:
    path = given or process_settings.load().api_keys_file
    if path is None:
        raise ConfigError("which file of keys? Name it with --file, or in SLIMRANK_API_KEYS_FILE, which the gateway reads")
    return path
