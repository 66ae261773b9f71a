"""Run `slimrank ...` in the tests' own process, through the same `main` as the console script.

For commands that end before they serve or log: a process of its own would take a second each and prove no more.
"""

import contextlib
import io
import sys
from dataclasses import dataclass
from unittest.mock import patch

from slimrank.__main__ import main


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended: exit code, standard output and standard error."""

    code: int
    out: str
    err: str


def slimrank(*arguments: object) -> Ended:
    """Run one command to its end; an exception that `main` lets through is a traceback to a user, and one here."""
    out, err = io.StringIO(), io.StringIO()
    argv = ["slimrank", *map(str, arguments)]
    with patch.object(sys, "argv", argv), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Ended(code, out.getvalue(), err.getvalue())
