"""Draw the README's two pictures as SVG: the gain of reranking, and its time.

They are not made with a plotting library: the same figures always give the same text, so that a test can compare. Colours follow
the reader's theme.
"""

import math
from collections.abc import Iterator, Sequence
from html import escape

from docs.figures import Gain
from docs.hardware import EXAMPLE_TOKENS, MACHINES, Machine, time_of

WIDTH, HEIGHT = 410, 340
STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1f2328 } .quiet { fill: #59636e } .title { font-weight: 600; font-size: 13px }
.after { fill: #0969da } .before { fill: #8c959f } .gain { stroke: #0969da; stroke-width: 3 } .grid { stroke: #d1d9e0 }
.limit { stroke: #bc4c00; stroke-dasharray: 2 4 } .limits { fill: #bc4c00 }
.computed { fill: none; stroke: #0969da; stroke-width: 1.5; stroke-dasharray: 6 4 } .strong { font-weight: 600 }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .quiet { fill: #9198a1 } .after { fill: #4493f8 } .before { fill: #9198a1 } .gain { stroke: #4493f8 }
.grid { stroke: #3d444d } .limit { stroke: #f0883e } .limits { fill: #f0883e } .computed { stroke: #4493f8 } }
""".strip()


def gain_picture(gains: Sequence[Gain]) -> str:
    """Return a picture with a line for each test set, from the first stage's nDCG@10 to the reranked nDCG@10."""
    left, right, top, bottom = 128, 372, 62, 292
    least, most = 0.2, 1.0
    step = (bottom - top) / max(1, len(gains) - 1)

    def across(value: float) -> float:
        return left + (value - least) / (most - least) * (right - left)

    parts = [_text(8, 22, "Gain: nDCG@10, grey before and blue after reranking", "title")]
    for tick in (0.2, 0.4, 0.6, 0.8, 1.0):
        parts.append(_line(across(tick), top - 14, across(tick), bottom + 14, "grid"))
        parts.append(_text(across(tick), bottom + 30, f"{tick:.1f}", "quiet", "middle"))
    for place, gain in enumerate(gains):
        y, strong = top + place * step, " strong" if gain.name == "mean" else ""
        parts.append(_text(left - 10, y + 4, gain.name.split(" (")[0], strong.strip(), "end"))
        parts.append(_line(across(gain.before), y, across(gain.after), y, "gain"))
        parts.append(_dot(across(gain.before), y, "before"))
        parts.append(_dot(across(gain.after), y, "after"))
        parts.append(_text(across(gain.after) + 9, y + 4, _signed(gain.difference), f"after{strong}"))
    said = ", ".join(f"{gain.name} {gain.before:.3f} to {gain.after:.3f}" for gain in gains)
    return _svg(f"nDCG@10 before and after reranking: {said}", parts)


def cost_picture(machines: Sequence[Machine] = MACHINES) -> str:
    """Return a picture with a curve for each machine: the time that a search waits, by its number of hits."""
    left, right, top, bottom = 52, 268, 48, 292
    hits = sorted({1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100})
    least, most = 0.03, 20.0

    def across(value: float) -> float:
        return left + math.log10(value) / 2 * (right - left)

    def down(seconds: float) -> float:
        return bottom - math.log(seconds / least) / math.log(most / least) * (bottom - top)

    parts = [_text(8, 22, f"Cost: time to rerank hits of {EXAMPLE_TOKENS} tokens", "title")]
    for seconds, words in ((0.2, "200 ms"), (1.0, "1 s")):
        parts.append(_line(left, down(seconds), right, down(seconds), "limit"))
        parts.append(_text(left - 5, down(seconds) + 4, words, "limits", "end"))
    parts.append(_text(left - 5, down(10) + 4, "10 s", "quiet", "end"))
    for tick in (1, 10, 100):
        parts.append(_line(across(tick), top, across(tick), bottom, "grid"))
        parts.append(_text(across(tick), bottom + 18, f"{tick}", "quiet", "middle"))
    parts.append(_text((left + right) / 2, bottom + 36, "hits reranked; dots measured, lines computed", "quiet", "middle"))
    labels = []
    for machine in machines:
        times = [time_of(machine, number, EXAMPLE_TOKENS) for number in hits]
        points = [(across(number), down(time.seconds)) for number, time in zip(hits, times, strict=True)]
        parts.append(_path(points))
        parts += [_dot(*point, "after") for point, time in zip(points, times, strict=True) if time.is_measured]
        labels.append((points[-1][1], machine.name))
    parts += [_text(right + 6, y + 4, name) for y, name in _apart(sorted(labels), 15)]
    said = "; ".join(f"{machine.name}: 10 hits {time_of(machine, 10, EXAMPLE_TOKENS)} s" for machine in machines)
    return _svg(f"Seconds to rerank the hits of one search. {said}", parts)


def _apart(labels: Sequence[tuple[float, str]], least: float) -> Iterator[tuple[float, str]]:
    """Yield the labels, moved down where they would overlap."""
    lowest = -math.inf
    for y, name in labels:
        lowest = max(y, lowest + least)
        yield lowest, name


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("0.", ".")


def _svg(title: str, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    return "\n".join([head, f"<title>{escape(title)}</title>", f"<style>{STYLE}</style>", *parts, "</svg>"]) + "\n"


def _text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _dot(x: float, y: float, kind: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" class="{kind}"/>'


def _path(points: Sequence[tuple[float, float]]) -> str:
    return f'<polyline points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}" class="computed"/>'
