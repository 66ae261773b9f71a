"""Reorder the hits of an engine's answer without writing it anew: every byte of a hit but its score stays as it came.

A parser that reads and writes JSON again would turn 1.10 into 1.1 and lose digits of large numbers in `_source`. So the
answer is only measured here: where each hit begins and ends, where its score stands; the pieces are then put together in
their new order. Knows nothing of rules or scores' origin.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from slimrank.serving.numbers import fixed

Json = dict[str, Any]

_read = json.JSONDecoder().raw_decode
_SPACE = re.compile(r"[ \t\r\n]*")


@dataclass(frozen=True, slots=True)
class Edit:
    """Characters to replace."""

    start: int
    end: int
    text: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a JSON object: where its key begins, where its value begins and ends."""

    key: str
    key_start: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class HitSpan:
    """One hit: its place in the text, and what it says."""

    start: int
    end: int
    value: Json


@dataclass(frozen=True, slots=True)
class FoundHits:
    """The hits of one search answer. `list_start` and `list_end` are the insides of their brackets."""

    hits: tuple[HitSpan, ...]
    list_start: int
    list_end: int
    max_score: Member | None


def find_hits(text: str, start: int = 0) -> FoundHits | None:
    """Return the hits of the answer that begins at `start`; None where it has no `hits.hits` that could be reranked.

    Raises:
        ValueError: the text is not JSON.
    """
    outer = seek(text, start, "hits")
    inner = seek(text, outer, "hits") if outer is not None and text[outer] == "{" else None
    if outer is None or inner is None or text[inner] != "[":
        return None
    hits, place = [], _after(text, inner, "[")
    list_start = inner + 1
    while text[place : place + 1] != "]":
        value, end = _value(text, place)
        if not isinstance(value, dict):
            return None
        hits.append(HitSpan(place, end, value))
        place = _next(text, end)
    best = seek(text, outer, "max_score")
    max_score = None if best is None else Member("max_score", best, best, _value(text, best)[1])
    return FoundHits(tuple(hits), list_start, place, max_score)


def seek(text: str, start: int, key: str) -> int | None:
    """Return where the value of `key` begins in the object that begins at `start`; what stands behind it is not read."""
    place = _after(text, start, "{")
    while text[place : place + 1] != "}":
        found, place = _value(text, place)
        place = _after(text, place, ":")
        if found == key:
            return place
        place = _next(text, _value(text, place)[1])
    return None


def members(text: str, start: int) -> Iterator[Member]:
    """Yield the members of the object that begins at `start`."""
    place = _after(text, start, "{")
    while text[place : place + 1] != "}":
        key_start = place
        key, place = _value(text, place)
        value_start = _after(text, place, ":")
        _, value_end = _value(text, value_start)
        yield Member(str(key), key_start, value_start, value_end)
        place = _next(text, value_end)


def elements(text: str, start: int) -> Iterator[tuple[Any, int, int]]:
    """Yield value, begin and end of each element of the array that begins at `start`."""
    place = _after(text, start, "[")
    while text[place : place + 1] != "]":
        value, end = _value(text, place)
        yield value, place, end
        place = _next(text, end)


def _skip(text: str, place: int) -> int:
    found = _SPACE.match(text, place)
    return found.end() if found else place


def _after(text: str, place: int, mark: str) -> int:
    place = _skip(text, place)
    if text[place : place + 1] != mark:
        raise ValueError(f"expected {mark} at character {place}")
    return _skip(text, place + 1)


def _next(text: str, place: int) -> int:
    """Go over a comma, if there is one, to the next entry or to the closing bracket."""
    place = _skip(text, place)
    return _skip(text, place + 1) if text[place : place + 1] == "," else place


def _value(text: str, place: int) -> tuple[Any, int]:
    try:
        return _read(text, place)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deep") from error


def apply(text: str, edits: Sequence[Edit], start: int = 0, end: int | None = None) -> str:
    """Return `text[start:end]` with the edits made, which do not overlap and lie within."""
    pieces, place = [], start
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += [text[place : edit.start], edit.text]
        place = edit.end
    return "".join([*pieces, text[place:end]])


def reordered(
    text: str, found: FoundHits, places: Sequence[int], scores: Sequence[float] | None, added_fields: Sequence[str] = ()
) -> list[Edit]:
    """Return the edits that leave the hits at `places`, in that order.

    Args:
        places: 0-based, of the hits to answer, best first.
        scores: of the first hits; they become `_score` and their best one `max_score`. None leaves the engine's.
        added_fields: members of a hit's `fields` to take out again.
    """
    pieces = [_hit(text, found.hits[place], _score(scores, place), added_fields) for place in places]
    gap = text[found.hits[0].end : found.hits[1].start] if len(found.hits) > 1 else ","
    before, behind = text[found.list_start : found.hits[0].start], text[found.hits[-1].end : found.list_end]
    edits = [Edit(found.list_start, found.list_end, before + gap.join(pieces) + behind if pieces else "")]
    if scores is not None and found.max_score is not None:
        edits.append(Edit(found.max_score.start, found.max_score.end, fixed(max(scores))))
    return edits


def _score(scores: Sequence[float] | None, place: int) -> float | None:
    return scores[place] if scores is not None and place < len(scores) else None


def _hit(text: str, hit: HitSpan, score: float | None, added_fields: Sequence[str]) -> str:
    edits = []
    own = list(members(text, hit.start)) if score is not None or added_fields else []
    for place, member in enumerate(own):
        if member.key == "_score" and score is not None:
            edits.append(Edit(member.start, member.end, fixed(score)))
        elif member.key == "fields" and added_fields:
            inner = list(members(text, member.start))
            kept = [entry for entry in inner if not _is_added(entry.key, added_fields)]
            if not kept:
                edits.append(_without(own, place))
            elif len(kept) < len(inner):
                body = ",".join(text[entry.key_start : entry.end] for entry in kept)
                edits.append(Edit(member.start, member.end, "{" + body + "}"))
    return apply(text, edits, hit.start, hit.end)


def _is_added(key: str, added_fields: Sequence[str]) -> bool:
    # engines put a nested field below the object that holds it
    return any(name == key or name.startswith(key + ".") for name in added_fields)


def _without(own: Sequence[Member], place: int) -> Edit:
    """Return the edit that takes out one member of an object, with its comma."""
    if place > 0:
        return Edit(own[place - 1].end, own[place].end, "")
    following = own[1].key_start if len(own) > 1 else own[0].end
    return Edit(own[0].key_start, following, "")


def without_extension(text: str) -> str:
    """Return a search body without `ext.slimrank`, otherwise as it was; an `ext` left empty goes too."""
    own = list(members(text, 0))
    place = next((place for place, member in enumerate(own) if member.key == "ext"), None)
    if place is None or text[own[place].start] != "{":
        return text
    inner = list(members(text, own[place].start))
    found = next((place for place, member in enumerate(inner) if member.key == "slimrank"), None)
    if found is None:
        return text
    return apply(text, [_without(own, place) if len(inner) == 1 else _without(inner, found)])
