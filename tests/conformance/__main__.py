"""Print the conformance table: engine, way in, case, and whether it passes; ends with code 1 where one fails.

python -m tests.conformance [opensearch|elasticsearch_8|elasticsearch_7 ...]
"""

import contextlib
import sys
import time

from rich.console import Console

from tests.conformance.cases import CASES, NotHere, Place
from tests.conformance.side_by_side import same_top_ten
from tests.conformance.stage import ENGINES, gateways, places
from tests.nodes.engine import CACHE, ELASTICSEARCH_7, ELASTICSEARCH_8, OPENSEARCH, running
from tests.nodes.ml_commons import MlCommons

_KINDS = {"opensearch": OPENSEARCH, "elasticsearch_8": ELASTICSEARCH_8, "elasticsearch_7": ELASTICSEARCH_7}


def _run(name: str, place: Place) -> tuple[str, str]:
    try:
        CASES[name](place)
    except NotHere as reason:
        return "none", str(reason)
    except BaseException as error:  # pytest's own failures are not Exceptions
        if isinstance(error, KeyboardInterrupt):
            raise
        return "FAIL", " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return "pass", ""


def main(engines: list[str]) -> int:
    """Run every case of every way into the engines; return how many failed."""
    console, counts = Console(highlight=False, soft_wrap=True), {"pass": 0, "FAIL": 0, "none": 0}
    started = time.monotonic()
    with contextlib.ExitStack() as stack:
        urls = stack.enter_context(gateways())
        ml_commons = MlCommons(CACHE)
        stack.callback(ml_commons.close)
        for engine in engines:
            with running(_KINDS[engine]) as found, places(engine, found, urls, ml_commons) as ready:
                for way, place in ready.items():
                    for name in CASES:
                        state, words = _run(name, place)
                        counts[state] += 1
                        style = {"pass": "green", "FAIL": "bold red", "none": "dim"}[state]
                        console.print(
                            f"[{style}]{state}[/]  {ENGINES[engine]:22} {way:21} {name}" + (f"  ({words})" if words else "")
                        )
                differing = same_top_ten(ready)
                state = "FAIL" if differing else "pass"
                counts[state] += 1
                console.print(
                    f"{state}  {ENGINES[engine]:22} {len(ready)} ways side by side   50 product queries, same top ten {differing or ''}"
                )
    seconds = time.monotonic() - started
    console.print(f"{counts['pass']} passed, {counts['FAIL']} failed, {counts['none']} not of this way; {seconds:.0f} s")
    return counts["FAIL"]


if __name__ == "__main__":
    sys.exit(1 if main(sys.argv[1:] or list(ENGINES)) else 0)
