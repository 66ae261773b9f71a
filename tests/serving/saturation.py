"""Measure goodput beyond saturation with real processes, the worker on a core of its own.

    python -m tests.serving.saturation                      a scorer that sleeps 50 ms a request
    python -m tests.serving.saturation --model FOLDER       a model folder, on one thread
    python -m tests.serving.saturation --model default      the default model

Prints a line at each share of what one worker can do, which is measured first unless --best names it, and at the end the
ratio of the full answers within the deadline at twice that to the best of all. Not a test: on a machine that does other
work it measures that.
"""

import argparse
import asyncio
import json
from dataclasses import replace

from slimrank.bench.load import LoadPlan, load
from tests.serving.load import add_plan_options, folder_of, plan_of
from tests.serving.pinned import best_rate, pinned

SHARES = (0.5, 0.8, 0.9, 1.0, 1.2, 2.0)
SLEEP_SECONDS = 0.05


def main() -> None:
    """Run a load at each share and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each share")
    parser.add_argument("--model", help="a model folder, or default; left out, a scorer that sleeps")
    parser.add_argument("--best", type=float, help="requests a second that one worker answers; left out, measured")
    add_plan_options(parser, deadline_ms=3000)
    options = parser.parse_args()
    goodput: dict[float, float] = {}
    with pinned(folder_of(options.model), fake_seconds=SLEEP_SECONDS) as here:
        plan: LoadPlan = plan_of(options, here.url, seconds=options.seconds)
        best = options.best or asyncio.run(best_rate(plan, seconds=options.seconds / 2))
        print(json.dumps({"best": round(best, 3), "is_measured": options.best is None}), flush=True)
        for share in SHARES:
            report = asyncio.run(load(replace(plan, rate=share * best, seed=options.seed + round(100 * share))))
            goodput[share] = report["goodput_per_second"]
            kept = ("rate", "sent", "goodput_per_second", "full_ms", "refused_ms", "statuses", "lost", "wrong", "twice")
            print(json.dumps({"share": share} | {name: report[name] for name in kept}), flush=True)
    print(json.dumps({"twice_over_best": round(goodput[2.0] / max(goodput.values()), 3)}))


if __name__ == "__main__":
    main()
