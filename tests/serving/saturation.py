"""Measure goodput beyond saturation with real processes, worker and generator on cores of their own.

    python -m tests.serving.saturation --seconds 20                 a scorer that sleeps 50 ms a request: 20 a second
    python -m tests.serving.saturation --model FOLDER --best 4      a model folder that answers about 4 a second

Prints full answers within the deadline, a second, at each share of what one worker can do, and the ratio of
twice that to the best. Not a test: on a machine that does other work it measures that.
"""

import argparse
import asyncio
import json
import os
from pathlib import Path

from slimrank.serving.bench import Plan, load
from tests.nodes.redis import running_redis
from tests.serving.process import gateway, worker

SHARES = (0.5, 0.8, 0.9, 1.0, 1.2, 2.0)
SLEEP_SECONDS = 0.05


def main() -> None:
    """Run a load at each share and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--model", type=Path)
    parser.add_argument("--best", type=float, default=1 / SLEEP_SECONDS, help="requests a second that one worker answers")
    parser.add_argument("--deadline-ms", type=int, default=1000)
    parser.add_argument("--sizes", default="10,50,100")
    parser.add_argument("--characters", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    fake = options.model is None
    settings = {"fake_seconds": SLEEP_SECONDS} if fake else {"model": options.model, "threads": 1}
    goodput: dict[float, float] = {}
    os.sched_setaffinity(0, {cores[0]})  # inherited by what is started here
    with running_redis() as url, worker(redis_url=url, fake=fake, **settings), gateway(redis_url=url, fake=fake) as gate:
        os.sched_setaffinity(0, {cores[-1]})
        sizes = [int(size) for size in options.sizes.split(",")]
        for share in SHARES:
            rate = share * options.best
            plan = Plan(gate, rate, options.seconds, sizes, options.characters, options.deadline_ms, "error", options.seed)
            report = asyncio.run(load(plan))
            goodput[share] = report["goodput_per_second"]
            kept = ("goodput_per_second", "full_ms", "refused_ms", "statuses", "lost", "wrong")
            print(json.dumps({"share": share, "rate": rate} | {name: report[name] for name in kept}), flush=True)
    print(json.dumps({"twice_over_best": round(goodput[2.0] / max(goodput.values()), 3)}))


if __name__ == "__main__":
    main()
