"""The report's plots as inline SVG: small functions of numbers, colours from the page's style sheet, no library.

Each plot has a title for screen readers; its numbers also stand in the page as text.
"""

from collections.abc import Sequence
from html import escape

_WIDTH, _HEIGHT = 640, 190
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 12, 34


def _svg(title: str, content: str, width: int = _WIDTH, height: int = _HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{escape(title)}" class="plot">'
        f"<title>{escape(title)}</title>{content}</svg>"
    )


def _text(x: float, y: float, words: str, *, anchor: str = "middle", kind: str = "tick") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{kind}">{escape(words)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.6):.2f}" height="{max(height, 0):.1f}" class="{kind}"/>'


def histogram(counts: Sequence[int], *, title: str, axis: str) -> str:
    """Draw how many queries have a value in each of equal parts of 0 to 1; the height is a square root, so single ones show."""
    most = max(counts) or 1
    span, floor = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM
    step = span / len(counts)
    drawn = [_line(_LEFT, floor, _WIDTH - _RIGHT, floor, "axis")]
    for place, count in enumerate(counts):
        height = (count / most) ** 0.5 * (floor - _TOP - 10)
        x = _LEFT + place * step
        if count:
            drawn.append(_rect(x + 1, floor - height, step - 2, height, "bar"))
            drawn.append(_text(x + step / 2, floor - height - 3, str(count)))
    drawn += [_text(_LEFT + span * tick / 4, floor + 14, f"{tick / 4:g}") for tick in range(5)]
    drawn.append(_text(_LEFT + span / 2, _HEIGHT - 4, axis, kind="label"))
    return _svg(title, "".join(drawn))


def waterfall(changes: Sequence[tuple[float, int]], *, title: str, axis: str) -> str:
    """Draw [change, queries] by change, the worst first, each query as wide as any other; unchanged ones are left out."""
    changed = [(value, count) for value, count in changes if value]
    if not changed:
        return ""
    largest = max(abs(value) for value, _ in changed)
    lost, gained = (sum(count for value, count in changed if value * sign > 0) for sign in (-1, 1))
    span, middle = _WIDTH - _LEFT - _RIGHT, (_HEIGHT - _BOTTOM + _TOP) / 2
    scale, step = (middle - _TOP) / largest, span / (lost + gained)
    gap = 0.2 * step if step > 3 else 0
    drawn, x = [], float(_LEFT)
    for value, count in changed:
        height = abs(value) * scale
        top = middle - height if value > 0 else middle
        drawn.append(_rect(x, top, count * step - gap, height, "gain" if value > 0 else "loss"))
        x += count * step
    drawn += [_line(_LEFT, middle, _WIDTH - _RIGHT, middle, "axis")]
    drawn += [_text(_LEFT - 6, middle - side * largest * scale + 4, f"{side * largest:+z.2f}", anchor="end") for side in (1, -1)]
    drawn.append(_text(_LEFT - 6, middle + 4, "0", anchor="end"))
    words = f"{lost} lost, {gained} gained, {sum(count for _, count in changes) - lost - gained} unchanged. {axis}"
    drawn.append(_text(_LEFT + span / 2, _HEIGHT - 4, words, kind="label"))
    return _svg(title, "".join(drawn))


def interval(difference: float, low: float, high: float, reach: float) -> str:
    """Draw a difference with its interval on a scale from -reach to reach."""
    width, height = 120, 22
    middle, scale = width / 2, (width / 2 - 4) / (reach or 1)
    kind = "loss" if high < 0 else "gain" if low > 0 else "bar"
    drawn = _line(middle, 2, middle, height - 2, "axis")
    drawn += _line(middle + low * scale, height / 2, middle + high * scale, height / 2, f"whisker {kind}")
    drawn += f'<circle cx="{middle + difference * scale:.1f}" cy="{height / 2:.1f}" r="4" class="{kind}"/>'
    return _svg(f"{difference:+z.4f}, 95% interval {low:+z.4f} to {high:+z.4f}", drawn, width, height).replace(
        '"plot"', '"interval"'
    )


def sweep(points: Sequence[tuple[int, float, float]], knee: int | None, *, title: str) -> str:
    """Draw nDCG (line) over rerank depth, milliseconds written under each depth, the knee marked."""
    span, floor = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _BOTTOM - 14
    depths = [depth for depth, _, _ in points]
    low, high = min(value for _, value, _ in points), max(value for _, value, _ in points)
    room = (high - low) or 1.0

    def place(depth: int, value: float) -> tuple[float, float]:
        x = _LEFT + span * (depths.index(depth) + 0.5) / len(depths)
        return x, floor - (value - low) / room * (floor - _TOP - 14)

    spots = [(*place(depth, value), depth, value, milliseconds) for depth, value, milliseconds in points]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, *_ in spots)
    drawn = [f'<polyline points="{path}" class="curve"/>', _line(_LEFT, floor + 4, _WIDTH - _RIGHT, floor + 4, "axis")]
    for x, y, depth, value, milliseconds in spots:
        is_knee = depth == knee
        drawn.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{6 if is_knee else 3.5}" class="{"knee" if is_knee else "bar"}"/>')
        drawn.append(_text(x, y - 9, f"{value:.3f}" + (" knee" if is_knee else "")))
        drawn.append(_text(x, floor + 18, str(depth)))
        drawn.append(_text(x, floor + 31, f"{milliseconds:.0f} ms"))
    drawn.append(_text(_LEFT + span / 2, _HEIGHT - 3, "hits reranked, and the time for them", kind="label"))
    return _svg(title, "".join(drawn))
