"""Draw the report's plots as inline SVG, without a library. Colours come from the page's style sheet.

Horizontal places are percentages of the width, and the drawing is not scaled, so text keeps its size on a narrow page. Text that
does not fit a narrow page has the class ``crowded``, and the style sheet hides it. The text below a plot is a paragraph, which
wraps. Each plot has a title for screen readers, and the page also shows its numbers as text.
"""

from collections.abc import Sequence
from html import escape
from itertools import pairwise

_HEIGHT, _TOP, _BOTTOM = 180, 12, 20


def _plot(title: str, content: str, words: str, *, kind: str = "") -> str:
    """Return a drawing with the text below it."""
    return (
        f'<svg width="100%" height="{_HEIGHT}" role="img" aria-label="{escape(title)}" class="plot {kind}">'
        f'<title>{escape(title)}</title>{content}</svg><p class="axis-words">{escape(words)}</p>'
    )


def _text(share: float, y: float, words: str, *, anchor: str = "middle", kind: str = "tick") -> str:
    return f'<text x="{share:.2%}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def _line(start: float, y1: float, end: float, y2: float, kind: str) -> str:
    return f'<line x1="{start:.2%}" y1="{y1:.1f}" x2="{end:.2%}" y2="{y2:.1f}" class="{kind}"/>'


def _rect(share: float, y: float, width: float, height: float, kind: str, title: str) -> str:
    return (
        f'<rect x="{share:.3%}" y="{y:.1f}" width="{width:.3%}" height="{max(height, 0):.1f}" class="{kind}">'
        f"<title>{escape(title)}</title></rect>"
    )


def histogram(counts: Sequence[int], *, title: str, axis: str) -> str:
    """Draw how many queries have a value in each bin of 0 to 1. The height is a square root, so that single queries are
    visible."""
    most, step, floor = max(counts) or 1, 1 / len(counts), _HEIGHT - _BOTTOM
    drawn = [_line(0, floor, 1, floor, "axis")]
    for place, count in enumerate(counts):
        height = (count / most) ** 0.5 * (floor - _TOP - 10)
        x = place * step
        if count:
            words = f"{x:.2g} to {x + step:.2g}: {count:,} {'query' if count == 1 else 'queries'}"
            drawn.append(_rect(x + step * 0.06, floor - height, step * 0.88, height, "bar", words))
            drawn.append(_text(x + step / 2, floor - height - 4, f"{count:,}", kind="tick crowded"))
    anchors = ("start", "middle", "middle", "middle", "end")
    drawn += [_text(tick / 4, floor + 15, f"{tick / 4:g}", anchor=anchor) for tick, anchor in enumerate(anchors)]
    return _plot(title, "".join(drawn), f"Horizontal: {axis}. Vertical: square root of the number of queries.")


def waterfall(changes: Sequence[tuple[float, int]], *, title: str, axis: str) -> str:
    """Draw [change, queries] ordered by change, worst first. All queries have the same width; unchanged queries are left out."""
    changed = [(value, count) for value, count in changes if value]
    if not changed:
        return ""
    largest = max(abs(value) for value, _ in changed)
    lost, gained = (sum(count for value, count in changed if value * sign > 0) for sign in (-1, 1))
    middle, step = _HEIGHT / 2, 1 / (lost + gained)
    scale = (middle - _TOP) / largest
    gap = 0.2 * step if len(changed) < 60 else 0
    drawn, x = [], 0.0
    for value, count in changed:
        height = abs(value) * scale
        top = middle - height if value > 0 else middle
        words = f"{value:+.4f}, {count:,} {'query' if count == 1 else 'queries'}"
        drawn.append(_rect(x, top, count * step - gap, height, "gain" if value > 0 else "loss", words))
        x += count * step
    drawn += [_line(0, middle, 1, middle, "axis")]
    scaled = (
        (middle - largest * scale + 4, f"{largest:+.2f}"),
        (middle + 4, "0"),
        (middle + largest * scale + 4, f"{-largest:+.2f}"),
    )
    drawn += [f'<text x="-6" y="{y:.1f}" text-anchor="end" class="tick">{words}</text>' for y, words in scaled]
    unchanged = sum(count for _, count in changes) - lost - gained
    return _plot(title, "".join(drawn), f"{axis}: {lost} lost, {gained} gained, {unchanged} unchanged.", kind="scaled")


def interval(difference: float, low: float, high: float, reach: float) -> str:
    """Draw a difference with its interval on a scale from -reach to reach. The drawing has a fixed size, because it has no
    text."""
    width, height = 120, 22
    middle, scale = width / 2, (width / 2 - 4) / (reach or 1)
    kind = "loss" if high < 0 else "gain" if low > 0 else "bar"
    title = escape(f"{difference:+z.4f}, 95% interval {low:+z.4f} to {high:+z.4f}")
    start, end = middle + low * scale, middle + high * scale
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{title}" class="interval"><title>{title}</title>'
        f'<line x1="{middle}" y1="2" x2="{middle}" y2="{height - 2}" class="axis"/>'
        f'<line x1="{start:.1f}" y1="{height / 2}" x2="{end:.1f}" y2="{height / 2}" class="whisker {kind}"/>'
        f'<circle cx="{middle + difference * scale:.1f}" cy="{height / 2}" r="4" class="{kind}"/></svg>'
    )


def sweep(points: Sequence[tuple[int, float, float]], knee: int | None, *, title: str) -> str:
    """Draw nDCG as a line over rerank depth, with the milliseconds below each depth, and mark the knee."""
    floor = _HEIGHT - _BOTTOM - 16
    low, high = min(value for _, value, _ in points), max(value for _, value, _ in points)
    room = (high - low) or 1.0
    spots = [
        ((place + 0.5) / len(points), floor - 6 - (value - low) / room * (floor - _TOP - 24), depth, value, milliseconds)
        for place, (depth, value, milliseconds) in enumerate(points)
    ]
    drawn = [_line(0, floor + 4, 1, floor + 4, "axis")]
    drawn += [_line(one[0], one[1], other[0], other[1], "curve") for one, other in pairwise(spots)]
    for x, y, depth, value, milliseconds in spots:
        is_knee = depth == knee
        drawn.append(f'<circle cx="{x:.2%}" cy="{y:.1f}" r="{6 if is_knee else 3.5}" class="{"knee" if is_knee else "bar"}"/>')
        drawn.append(_text(x, y - 10, f"{value:.3f}"))
        drawn.append(_text(x, floor + 18, str(depth)))
        drawn.append(_text(x, floor + 32, f"{milliseconds:.0f}"))
    told = f" The knee, {knee} hits, is marked: beyond it, more time gains little." if knee is not None else ""
    return _plot(
        title, "".join(drawn), f"Horizontal: number of reranked hits, and below it their time in ms. Vertical: nDCG.{told}"
    )
