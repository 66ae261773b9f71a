"""Hold a stated rate for minutes with real processes and account for every request.

    python -m tests.serving.load --minutes 10               the default model, its worker on a core of its own
    python -m tests.serving.load --seconds 10 --model fake  a scorer that sleeps 50 ms a request

Redis, a worker and a gateway are started and pinned, what the worker can do is measured, and requests of mixed sizes leave at
random times at --share of that, or at --rate. Prints one JSON object: times, throughput against what was offered, errors,
and whether the books balance: what the generator sent, what the gateway counted and what the worker scored are the same, each
answered once, with its own documents. Exit code 1 where they do not. Not a test: on a machine that does other work it
measures that.
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from slimrank import settings as process_settings
from slimrank import store
from slimrank.bench.load import LoadPlan, load
from tests.serving.pinned import Pinned, best_rate, pinned

SLEEP_SECONDS = 0.05


def main() -> None:
    """Run the load and print the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--minutes", type=float, default=10.0)
    length.add_argument("--seconds", type=float)
    parser.add_argument("--model", default="default", help="a model folder, default, or fake")
    parser.add_argument("--rate", type=float, help="requests a second; left out, --share of what the worker can do")
    parser.add_argument("--share", type=float, default=0.7)
    parser.add_argument("--out", type=Path, help="write the report there too")
    add_plan_options(parser, deadline_ms=5000)
    options = parser.parse_args()
    seconds = options.seconds or 60 * options.minutes
    with pinned(folder_of(options.model), fake_seconds=SLEEP_SECONDS) as here:
        report = run(here, plan_of(options, here.url, seconds=seconds), rate=options.rate, share=options.share)
    text = json.dumps(report, indent=1)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    sys.exit(not report["conservation"]["holds"])


def run(here: Pinned, plan: LoadPlan, *, rate: float | None, share: float) -> dict[str, Any]:
    """Return the report of a load on what was started."""
    best = asyncio.run(best_rate(plan, seconds=min(20.0, plan.seconds)))
    plan = LoadPlan(
        plan.url, rate or share * best, plan.seconds, plan.sizes, plan.characters, plan.deadline_ms, plan.on_failure, plan.seed
    )
    before = here.metrics()
    report = asyncio.run(load(plan))
    after = here.metrics()
    kept = {"sizes": plan.sizes, "characters": plan.characters, "deadline_ms": plan.deadline_ms, "worker_best": round(best, 2)}
    memory = {name: [round(page[name]["process_resident_memory_bytes"] / 2**20) for page in (before, after)] for name in after}
    return report | kept | {"resident_mib_before_and_after": memory, "conservation": balance(report, before, after)}


def balance(report: dict[str, Any], before: dict[str, dict[str, float]], after: dict[str, dict[str, float]]) -> dict[str, Any]:
    """Compare what the generator saw with what gateway and worker counted meanwhile."""

    def counted(process: str, prefix: str) -> int:
        found = {name: value for name, value in after[process].items() if name.startswith(prefix)}
        return round(sum(value - before[process].get(name, 0.0) for name, value in found.items()))

    books = {
        "sent": report["sent"],
        "answered": report["answered"],
        "counted_by_gateway": counted("gateway", "slimrank_requests_total"),
        "documents_answered": report["documents"],
        "documents_scored_by_worker": counted("worker", "slimrank_documents_total"),
        "sent_again_by_gateway": counted("gateway", "slimrank_resent_total"),
        "answered_twice": report["twice"],
        "wrong_documents": report["wrong"],
    }
    holds = books["sent"] == books["answered"] == books["counted_by_gateway"]
    # A request sent again, or late, is scored and yet not answered with its scores.
    holds &= books["documents_scored_by_worker"] >= books["documents_answered"]
    return books | {"holds": holds and not report["lost"] + report["wrong"] + report["twice"]}


def add_plan_options(parser: argparse.ArgumentParser, *, deadline_ms: int) -> None:
    """Add the options of a load."""
    parser.add_argument("--sizes", default="5,10,20", help="documents a request, drawn evenly")
    parser.add_argument("--characters", type=int, default=150, help="of a document: about a title and a line")
    parser.add_argument("--deadline-ms", type=int, default=deadline_ms)
    parser.add_argument("--on-failure", default="error")
    parser.add_argument("--seed", type=int, default=1)


def plan_of(options: argparse.Namespace, url: str, *, seconds: float) -> LoadPlan:
    """Return the load that the options name, its rate to be set."""
    sizes = [int(size) for size in options.sizes.split(",")]
    return LoadPlan(url, 1.0, seconds, sizes, options.characters, options.deadline_ms, options.on_failure, options.seed)


def folder_of(model: str | None) -> Path | None:
    """Return the model folder; None = a scorer that sleeps."""
    if model is None or model == "fake":
        return None
    return store.shipped_folder(process_settings.load()) if model == "default" else Path(model)


if __name__ == "__main__":
    main()
