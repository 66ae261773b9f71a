"""The options that every ``slimrank connect`` command has: the cluster's URL, the credentials and the output format.

A command function takes the cluster and the printer first, then its own options. The help lists its own options first.
"""

import inspect
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Annotated, Any, Concatenate, ParamSpec

import typer
from rich.console import Console
from rich.text import Text

from connector.cluster import Cluster, open_cluster
from connector.findings import Finding
from slimrank.options import JsonOption

_Own = ParamSpec("_Own")


@dataclass(frozen=True, slots=True)
class Out:
    """Prints text for a person, or JSON for a program."""

    as_json: bool

    def lines(self, lines: list[str], cluster: Cluster) -> None:
        """Print what was done; in a dry run, print every call instead."""
        if self.as_json:
            calls = [{"method": call.method, "path": call.path, "body": call.body} for call in cluster.calls]
            done = [] if cluster.dry_run else lines
            typer.echo(json.dumps({"dry_run": cluster.dry_run, "done": done, "calls": calls}, indent=2))
        elif cluster.dry_run:
            typer.echo("\n\n".join(map(str, cluster.calls)) or "nothing to do")
        else:
            typer.echo("\n".join(lines))

    def findings(self, findings: list[Finding]) -> None:
        """Print the findings of a check; exit with code 1 if there is a fault."""
        if self.as_json:
            typer.echo(json.dumps([finding.as_json() for finding in findings], indent=2))
        else:
            console = Console(soft_wrap=True, highlight=False)
            for finding in findings:
                style = {"ok": "green", "warning": "yellow", "fault": "bold red"}[finding.state]
                cure = f"\n         {finding.cure}" if finding.cure else ""
                console.print(Text.assemble((f"{finding.state:8}", style), f" {finding.name}: {finding.words}{cure}"))
                for line in aligned(finding.rows):
                    console.print(Text(f"         {line}"))
        if any(finding.state == "fault" for finding in findings):
            raise typer.Exit(1)


def aligned(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Return the lines of a table: the column names, then the rows."""
    if not rows:
        return []
    cells = [list(rows[0]), *(["" if value is None else str(value) for value in row.values()] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]


def _options(
    url: Annotated[str, typer.Option(envvar="SLIMRANK_ENGINE_URL", help="URL of the cluster.")] = "http://localhost:9200",
    user: Annotated[str | None, typer.Option(envvar="SLIMRANK_ENGINE_USER", help="User name in the cluster.")] = None,
    password: Annotated[
        str | None,
        typer.Option(envvar="SLIMRANK_ENGINE_PASSWORD", help="Password of the user; safer in the environment variable."),
    ] = None,
    engine_api_key: Annotated[
        str | None, typer.Option(envvar="SLIMRANK_ENGINE_API_KEY", help="API key of an Elasticsearch cluster, instead of a user.")
    ] = None,
    ca_cert: Annotated[str | None, typer.Option(help="File with the CA certificates to trust.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any certificate; for tests only.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Define the shared options by this function's signature."""


def connected(command: Callable[Concatenate[Cluster, Out, _Own], None]) -> Callable[..., None]:
    """Turn a function that takes a cluster and a printer into a command that also has the shared options.

    If the command has an option ``dry_run`` and it is set, the cluster records writes instead of sending them.
    """
    own = list(inspect.signature(command).parameters.values())[2:]
    shared = list(inspect.signature(_options).parameters.values())

    @wraps(command)
    def run(**flags: Any) -> None:
        common = {parameter.name: flags.pop(parameter.name) for parameter in shared}
        out = Out(common.pop("as_json"))
        api_key = common.pop("engine_api_key")
        with open_cluster(**common, api_key=api_key, dry_run=flags.get("dry_run", False)) as cluster:
            command(cluster, out, **flags)  # type: ignore[call-arg]

    parameters = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in (*own, *shared)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run
