"""Compute how long a search waits for its scores, by machine and number of hits, for docs/guides/hardware.md.

    python -m docs.hardware            writes the tables
    python -m docs.hardware --check    checks whether they are current; exit status 1 if they are not

If the sizing table of docs/guides/operating.md has exactly this request, its measured time is used. All other times are computed
from that table, by the assumptions that the page states, and are marked with "~". Nothing is measured here.
"""

import math
import sys
from dataclasses import dataclass
from itertools import pairwise

from docs.figures import ROOT, Sizing, sizings
from docs.marks import fill, filled

PAGE = ROOT / "docs" / "guides" / "hardware.md"
TIMES_BEGIN, TIMES_END = "<!-- times: python -m docs.hardware -->", "<!-- end of times -->"
NEEDS_BEGIN, NEEDS_END = "<!-- needs: python -m docs.hardware -->", "<!-- end of needs -->"
HITS, LENGTHS, LIMITS = (10, 30, 100), (64, 128, 400), (0.2, 1.0)

MEASURED_CORES = 2
WITHOUT_VNNI = 25.2 / 9.2
"""`slimrank bench engine --quick` in docs/log/engine.md: pairs a second on two cores with VNNI (2026-11-29) and without (2026-11-24)."""
GPU_TOKENS_A_SECOND, GPU_LEAST_SECONDS = 42_963 / 0.284, 0.158
"""One forward pass of this model in torch on an H100 (docs/log/training.md, 2026-11-24): by tokens, and where it only waits for launches."""
PROMPT_TOKENS = 60
"""The prompt and a query of ten words, which a GPU may run with every document."""
EXAMPLE_TOKENS = 128
"""The tokens of a document in the examples of the guides."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine of the tables; 0 cores = a GPU. ``slower`` is the time of a core divided by that of a measured core."""

    name: str
    cores: int = 0
    slower: float = 1.0


SMALLEST = Machine("2 cores without VNNI", 2, WITHOUT_VNNI)
MACHINES = (
    SMALLEST,
    Machine("2 cores", 2),
    Machine("8 cores", 8),
    Machine("32 cores", 32),
    Machine("1 GPU (H100)"),
)


@dataclass(frozen=True, slots=True)
class Time:
    """The time that a search waits for its scores, and whether it was measured or computed."""

    seconds: float
    is_measured: bool = False

    def __str__(self) -> str:
        """Return the seconds with two digits; a computed time begins with "~"."""
        digits = 2 if self.seconds < 1 else 1 if self.seconds < 10 else 0
        return f"{'' if self.is_measured else '~'}{self.seconds:.{digits}f}"


def time_of(machine: Machine, hits: int, tokens: int) -> Time:
    """Return the time that a machine needs to score the hits of one search, documents of ``tokens`` tokens each."""
    if not machine.cores:
        return Time(max(GPU_LEAST_SECONDS, hits * (tokens + PROMPT_TOKENS) / GPU_TOKENS_A_SECOND))
    if machine == Machine(machine.name, MEASURED_CORES):
        for line in _usual():
            if (line.documents, line.tokens) == (hits, tokens):
                return Time(line.seconds, is_measured=True)
    on_the_fullest_core = math.ceil(hits / machine.cores)
    return Time(on_the_fullest_core * _core_seconds(tokens) * machine.slower * _lost_to_more_cores(machine.cores))


def _usual() -> list[Sizing]:
    """Return the measured lines of one 8-bit process on all cores."""
    return [line for line in sizings() if (line.precision, line.processes, line.cores) == ("int8", 1, MEASURED_CORES)]


def _core_seconds(tokens: int) -> float:
    """Return the time of one core for a document while the other core is busy too, interpolated between measured lengths."""
    points = sorted(
        {line.tokens: line.seconds * MEASURED_CORES / line.documents for line in _usual() if line.documents == 50}.items()
    )
    for (shorter, less), (longer, more) in pairwise(points):
        if tokens <= longer:
            return less + (more - less) * (tokens - shorter) / (longer - shorter)
    raise ValueError(f"asked for documents of {tokens} tokens; the longest that were measured have {points[-1][0]}")


def _lost_to_more_cores(cores: int) -> float:
    """Return the factor by which more cores are less efficient; each doubling is assumed to lose as much as the step from one to two."""
    [one] = [line for line in sizings() if (line.precision, line.processes, line.cores) == ("int8", 1, 1)]
    [two] = [line for line in _usual() if (line.documents, line.tokens) == (one.documents, one.tokens)]
    return (two.seconds * 2 / one.seconds) ** math.log2(cores / MEASURED_CORES)


def times_table() -> str:
    """Return the table of seconds by machine, hits and tokens."""
    requests = [(hits, tokens) for hits in HITS for tokens in LENGTHS]
    head = " | ".join(f"{hits} x {tokens}" for hits, tokens in requests)
    lines = [f"| seconds for hits x tokens | {head} |", "|---" + "|--:" * len(requests) + "|"]
    for machine in MACHINES:
        lines.append(f"| {machine.name} | {' | '.join(str(time_of(machine, *request)) for request in requests)} |")
    return "\n".join(lines)


def needs_table() -> str:
    """Return the table of the smallest machine that answers within each limit."""
    lines = ["| hits | tokens each | within 200 ms | within 1 s |", "|--:|--:|---|---|"]
    for hits in HITS:
        for tokens in LENGTHS:
            needed = [_smallest_within(limit, hits, tokens) for limit in LIMITS]
            lines.append(f"| {hits} | {tokens} | {' | '.join(needed)} |")
    return "\n".join(lines)


def _smallest_within(limit: float, hits: int, tokens: int) -> str:
    return next((machine.name for machine in MACHINES if time_of(machine, hits, tokens).seconds <= limit), "none of these")


def render() -> dict[tuple[str, str], str]:
    """Return the texts of the page by the marks that they go between."""
    return {(TIMES_BEGIN, TIMES_END): times_table(), (NEEDS_BEGIN, NEEDS_END): needs_table()}


def main() -> None:
    """Write the tables, or check whether they are current."""
    if "--check" in sys.argv[1:]:
        if any(not filled(PAGE, *marks, text) for marks, text in render().items()):
            sys.exit(f"{PAGE.relative_to(ROOT)} is not current; run: python -m docs.hardware")
        return
    for marks, text in render().items():
        fill(PAGE, *marks, text)


if __name__ == "__main__":
    main()
