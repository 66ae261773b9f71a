"""Write docs/reference.md from the code: every setting, command, error, header and metric.

    python -m docs.generate_reference            writes it
    python -m docs.generate_reference --check    checks whether it is current; exit status 1 if it is not

Settings, commands, errors and metrics come from the objects themselves. Headers are strings in the code:
they are searched there, and a header without a sentence in ``HEADERS`` below is an error.
"""

import re
import sys
from collections.abc import Iterator
from inspect import getdoc
from pathlib import Path
from typing import Any

from typer.main import get_command

from connector.proxy.metrics import Metrics as ProxyMetrics
from slimrank import errors
from slimrank.__main__ import COMMANDS, app
from slimrank.serving.gateway.failures import failure_of
from slimrank.serving.metrics import Metrics
from slimrank.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference.md"
HEAD = """# Reference

Generated from the code by `python -m docs.generate_reference`; a test fails if it is not current.
The [guides](guides/) explain how to use it.
"""
HEADERS = {
    "x-slimrank": "answer of the proxy: `reranked`, `passed` or `degraded`, and after a semicolon the reason",
    "x-slimrank-scored": "answer of the proxy: how many of the window's hits were scored, such as `12/100`; one entry for each search",
    "x-slimrank-deadline-ms": "request to the gateway: answer within this many milliseconds, with the documents that are scored by then; the smallest of this, the field `deadline_ms` and `SLIMRANK_TIMEOUT_SECONDS` counts",
    "x-slimrank-partial": "answer of the gateway: how many documents were scored before the deadline; only if some were not scored",
    "x-slimrank-degraded": "answer of the gateway: why the documents are in first-stage order; only if they are",
    "x-queue-time": "answer of the gateway: milliseconds between acceptance and the first pair entering the model",
    "x-inference-time": "answer of the gateway: milliseconds in the model",
    "x-total-time": "answer of the gateway: milliseconds from the request's arrival",
}
# Headers of other systems, which the code only reads or forwards.
FOREIGN = re.compile(r"x-(?:forwarded|real-ip|content-type|opaque|elastic|ndjson|gzip|www|frame)")


def render() -> str:
    """Return the page."""
    parts = [HEAD, "## Settings\n", _settings(), "## Commands\n", *_commands(), "## Errors\n", _errors()]
    return "\n".join([*parts, "## Headers\n", _headers(), "## Metrics\n", _metrics()])


def _table(head: str, rows: list[str]) -> str:
    rule = "|".join("---" for _ in head.split("|"))
    return "\n".join([f"| {head} |", f"|{rule}|", *rows]) + "\n"


def _settings() -> str:
    rows = []
    for name, field in Settings.model_fields.items():
        default = field.get_default()
        shown = "" if default is None else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        rows.append(f"| `SLIMRANK_{name.upper()}` | `--{name.replace('_', '-')}` | {shown} | {_cell(str(field.description))} |")
    note = (
        "Environment variables of every process. If a command has a flag of the same name, the flag overrides the variable.\n\n"
    )
    return note + _table("variable | flag | default | meaning", rows)


def _commands() -> Iterator[str]:
    root: Any = get_command(app)
    yield "Every command has `--help`. An error of slimrank prints one line and ends with exit status 2.\n"
    for name in COMMANDS:
        yield from _command(root.get_command(None, name), f"slimrank {name}")


def _command(command: Any, path: str) -> Iterator[str]:
    text = (command.help or "").strip()
    yield f"### {path}\n"
    yield _paragraphs(text) + "\n"
    if getattr(command, "commands", None):
        for name, inner in command.commands.items():
            yield from _command(inner, f"{path} {name}")
        return
    rows = [
        _parameter(parameter)
        for parameter in command.params
        if parameter.name != "help" and not getattr(parameter, "hidden", False)
    ]
    if rows:
        yield _table("argument or option | default | meaning", rows)


def _paragraphs(text: str) -> str:
    """Return help text as Markdown, with examples as code."""
    lines = [re.sub(r"^(Examples?): (slimrank .*)$", r"\1: `\2`", line.strip()) for line in text.splitlines()]
    return "\n".join(lines).strip()


def _parameter(parameter: Any) -> str:
    is_option = parameter.param_type_name == "option"
    names = (
        ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts]) if is_option else f"`{parameter.name}`"
    )
    default = parameter.default
    shown = (
        "required"
        if parameter.required
        else ""
        if default is None or default is False or callable(default) or default in ((), [], "")
        else f"`{default}`"
    )
    variable = f" [{parameter.envvar}]" if getattr(parameter, "envvar", None) else ""
    return f"| {names} | {shown} | {_cell(getattr(parameter, 'help', None) or '')}{variable} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _errors() -> str:
    rows = []
    for error in _tree(errors.SlimrankError):
        is_answered = issubclass(error, errors.ScoringError | errors.InvalidRequest)
        failure = failure_of(error("", status=400) if error is errors.InvalidRequest else error("")) if is_answered else None
        answered = (
            f"{'400, 413 or 422' if error is errors.InvalidRequest else failure.status} `{failure.kind}`" if failure else ""
        )
        rows.append(f"| `{error.__name__}` | {answered} | {_cell((getdoc(error) or '').split(chr(10) * 2)[0])} |")
    note = "All are subclasses of `slimrank.SlimrankError`. The gateway answers some of them with a status and a `type`.\n\n"
    return note + _table("error | answered as | meaning", rows)


def _tree(root: type[errors.SlimrankError]) -> Iterator[type[errors.SlimrankError]]:
    for error in root.__subclasses__():
        if error.__module__ == errors.__name__:
            yield error
            yield from _tree(error)


def _headers() -> str:
    found = {
        name
        for package in ("slimrank", "connector")
        for file in (ROOT / package).rglob("*.py")
        for name in re.findall(r"[\"'](x-[a-z][a-z-]+)[\"']", file.read_text(encoding="utf-8"))
        if not FOREIGN.match(name)
    }
    if unknown := found - HEADERS.keys():
        sys.exit(f"headers without a sentence in docs/generate_reference.py: {', '.join(sorted(unknown))}")
    return _table("header | meaning", [f"| `{name}` | {text} |" for name, text in HEADERS.items() if name in found])


def _metrics() -> str:
    rows = []
    for place, registry in (("gateway, worker", Metrics().registry), ("proxy", ProxyMetrics().registry)):
        for family in registry.collect():
            if family.name.startswith("process_"):  # from the client library, on Linux only
                continue
            name = family.name + ("_total" if family.type == "counter" else "")
            rows.append(f"| `{name}` | {family.type} | {place} | {_cell(family.documentation)} |")
    note = "At `/metrics` of the gateway and of the proxy, and on a worker's `SLIMRANK_METRICS_PORT`. Times are in seconds.\n"
    note += "On Linux, gateway and worker also have the client library's metrics, such as `process_resident_memory_bytes` and `process_cpu_seconds_total`.\n\n"
    return note + _table("metric | kind | shown by | meaning", rows)


def main(arguments: list[str]) -> int:
    """Write or check the page; return the exit status."""
    page = render()
    if arguments == ["--check"]:
        is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == page
        print(
            "docs/reference.md is current" if is_current else "docs/reference.md is old; run: python -m docs.generate_reference"
        )
        return 0 if is_current else 1
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
