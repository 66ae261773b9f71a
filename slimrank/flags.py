"""Command-line flags made from ``Settings``, so that every setting has a flag of the same name.

A command takes its settings as its first argument and names what it does not need; the flags,
their types and their help come from the fields, and cannot drift from them.
"""

import inspect
from collections.abc import Callable
from functools import wraps
from typing import Annotated, Any, Optional

import typer

from slimrank import settings as process_settings
from slimrank.settings import Settings


def with_settings(*, without: frozenset[str] = frozenset()) -> Callable[[Callable[[Settings], None]], Callable[..., None]]:
    """Turn a function of ``Settings`` into a command with a flag for each setting.

    Args:
        without: Settings that mean nothing to this command.
    """

    def decorate(command: Callable[[Settings], None]) -> Callable[..., None]:
        parameters = [_parameter(name) for name in Settings.model_fields if name not in without]

        @wraps(command)
        def run(**flags: Any) -> None:
            command(process_settings.load(**flags))

        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return decorate


def _parameter(name: str) -> inspect.Parameter:
    field = Settings.model_fields[name]
    default = field.get_default()
    note = f"{field.description} [SLIMRANK_{name.upper()}; default: {'none' if default is None else default}]"
    flag = "--" + name.replace("_", "-")
    option = typer.Option(f"{flag}/--no-{flag[2:]}" if field.annotation is bool else flag, help=note, show_default=False)
    # Optional[...] and not `|`: the field's type is a value here, which a type checker cannot read.
    annotation = Annotated.__class_getitem__((Optional.__getitem__(field.annotation), option))  # type: ignore[attr-defined]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
