"""Write the generated parts of the README: its two pictures, its figures, and the answer to its example.

    python -m docs.write_readme                    writes all; starts a gateway with the shipped model for the answer
    python -m docs.write_readme --without-answer   writes only the pictures and the figures, which takes a second
    python -m docs.write_readme --check            checks whether all is current; exit status 1 if it is not

The figures come from ``docs.figures`` and ``docs.hardware``. The answer is that of ``slimrank serve --embedded``
to the README's ``curl``. The hash of the adapter and the number of the graph are stored with it: if one of them changes,
the answer must be written again.
"""

import argparse
import json
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from docs.figures import CARD, ROOT, gains, times_ours
from docs.hardware import EXAMPLE_TOKENS, HITS, MACHINES, WITHOUT_VNNI, Machine, time_of
from docs.marks import fill, filled
from docs.pictures import cost_picture, gain_picture
from onnx_export.shipped import graph_number
from slimrank.adapters import VALUES_FILE, adapter_hash

README = ROOT / "README.md"
IMAGES = ROOT / "docs" / "images"
BEST_PEER = "transformers bf16"
START_SECONDS = 120
"""A busy machine needs a long time to check and warm up the model."""
LINE = 124


def marks(name: str) -> tuple[str, str]:
    """Return the marks before and after a generated part of the README."""
    return f"<!-- {name}: python -m docs.write_readme -->", f"<!-- end of {name} -->"


def pictures() -> dict[str, str]:
    """Return the two pictures by their file names."""
    return {"gain.svg": gain_picture(gains()), "cost.svg": cost_picture()}


def gain_text() -> str:
    """Return the part with the pictures and their figures in words."""
    *sets, mean = gains()
    surely = sum(each.low > 0 for each in sets)
    better = (
        "Each set gains: every interval"
        if surely == len(sets)
        else f"{surely} of the {len(sets)} sets surely gain: their whole interval"
    )
    peer, usual = times_ours(BEST_PEER), Machine("2 cores", 2)
    counts = sorted(each.queries for each in sets)
    asked = f"{counts[0]}" if counts[0] == counts[-1] else f"{counts[0]} to {counts[-1]}"
    return f"""\
![What reranking gains on each test set](docs/images/gain.svg) ![How long a search waits for it](docs/images/cost.svg)

**Gain.** nDCG@10 of BM25 rises from {_short(mean.before)} to {_short(mean.after)}: the mean of {len(sets)} test sets with {asked}
queries each. The gain is {_short(mean.difference)}, with a 95% interval of [{_short(mean.low)}, {_short(mean.high)}]. {better} lies
above 0. The [model card](models/slimrank-135m/README.md) has each set, the command, and what the model is bad at.

**Cost.** Two cores with AVX-512 VNNI rerank 10 hits of {EXAMPLE_TOKENS} tokens in {time_of(usual, 10, EXAMPLE_TOKENS)} s.
transformers in bf16, the best way to run the same weights in torch there, takes {min(peer):.1f} to {max(peer):.1f} times as long. Cores
without VNNI take about {WITHOUT_VNNI:.1f} times as long. [How fast](docs/guides/engine.md#how-fast) has the commands."""


def hardware_text() -> str:
    """Return the table of times by machine, for hits of the usual length."""
    lines = [
        f"| seconds for hits of {EXAMPLE_TOKENS} tokens | {' | '.join(machine.name for machine in MACHINES)} |",
        "|---" + "|--:" * len(MACHINES) + "|",
    ]
    lines += [
        f"| {hits} hits | {' | '.join(str(time_of(machine, hits, EXAMPLE_TOKENS)) for machine in MACHINES)} |" for hits in HITS
    ]
    return "\n".join(lines)


def current_answer_mark() -> str:
    """Return the line that names the adapter and the graph of the answer."""
    precision = json.loads((CARD.parent / VALUES_FILE).read_text(encoding="utf-8"))["precision"]["precision"]
    return f"<!-- adapter {adapter_hash(CARD.parent)[:16]}, {precision} graph {graph_number(precision)} -->"


def example() -> str:
    """Return the README's ``curl`` command that asks a gateway."""
    [found] = re.findall(r"^curl -s localhost:8080/v1/rerank .*?'$", README.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return found


def shown(answer: dict[str, Any]) -> str:
    """Return an answer as JSON, in lines that fit on a page."""
    parts = [f'"{name}": {json.dumps(value)}' for name, value in answer.items() if name != "meta"]
    meta = [f'"{name}": {json.dumps(value)}' for name, value in answer["meta"].items()]
    return "{" + _lines([*parts, '"meta": {' + meta[0], *meta[1:]], indent=" ") + "}}"


def _lines(parts: Sequence[str], indent: str) -> str:
    lines = [parts[0]]
    for part in parts[1:]:
        joined = f"{lines[-1]}, {part}"
        lines[-1:] = [joined] if len(joined) < LINE else [lines[-1], part]
    return f",\n{indent}".join(lines)


def ask() -> dict[str, Any]:
    """Return the answer of a gateway with the shipped model to the README's example."""
    subprocess.run(
        [sys.executable, "-m", "slimrank", "model", "pull"], check=True
    )  # the gateway itself would serve a model of an older adapter
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with _gateway(port):
        command = example().replace("localhost:8080", f"127.0.0.1:{port}")
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    if "results" not in answer:
        raise ValueError(f"the README's example was answered with {done.stdout}")
    return answer


@contextmanager
def _gateway(port: int) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-m", "slimrank", "serve", "--embedded", "--port", str(port)]) as gateway:
        try:
            _wait(gateway, f"http://127.0.0.1:{port}/readyz")
            yield
        finally:
            gateway.terminate()


def _wait(gateway: "subprocess.Popen[bytes]", url: str) -> None:
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and gateway.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=10):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise RuntimeError("the gateway did not start; its messages are above")


def stale() -> list[str]:
    """Return the parts of the README that are not current."""
    found = [name for name, text in pictures().items() if _drawn(name) != text]
    texts = {"gain": gain_text(), "hardware": hardware_text()}
    found += [name for name, text in texts.items() if not filled(README, *marks(name), text)]
    return found if current_answer_mark() in README.read_text(encoding="utf-8") else [*found, "answer"]


def _drawn(name: str) -> str:
    return (IMAGES / name).read_text(encoding="utf-8") if (IMAGES / name).is_file() else ""


def _short(value: float) -> str:
    return f"{value:.3f}".replace("0.", ".", 1)


def main() -> None:
    """Write the parts, or check whether they are current."""
    parser = argparse.ArgumentParser(description="Write the README's pictures, figures and answer.")
    parser.add_argument("--without-answer", action="store_true", help="leave the example's answer as it is")
    parser.add_argument("--check", action="store_true", help="write nothing; print what is not current")
    chosen = parser.parse_args()
    if chosen.check:
        if parts := stale():
            sys.exit(f"README.md is not current in {', '.join(parts)}; run: python -m docs.write_readme")
        return
    for name, text in pictures().items():
        (IMAGES / name).write_text(text, encoding="utf-8")
    fill(README, *marks("gain"), gain_text())
    fill(README, *marks("hardware"), hardware_text())
    if not chosen.without_answer:
        fill(README, *marks("answer"), f"{current_answer_mark()}\n```json\n{shown(ask())}\n```")


if __name__ == "__main__":
    main()
