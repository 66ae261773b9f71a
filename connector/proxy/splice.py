"""Reorder the hits in an engine's answer without writing the JSON again: except its score, every byte of a hit is kept.

Parsing JSON and writing it again would turn 1.10 into 1.1 and lose digits of large numbers in ``_source``. So this module only
finds where each hit begins and ends and where its score is, and then joins the pieces in the new order. It knows nothing of rules
and of where scores come from.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from slimrank.serving.gateway.json_numbers import fixed
from slimrank.types import Json

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
    """One hit: its place in the text, and its parsed content."""

    start: int
    end: int
    value: Json


@dataclass(frozen=True, slots=True)
class FoundHits:
    """The hits of one search answer. ``list_start`` and ``list_end`` are the positions inside the brackets of the list."""

    hits: tuple[HitSpan, ...]
    list_start: int
    list_end: int
    max_score: Member | None


def find_hits(text: str, start: int = 0) -> FoundHits | None:
    """Return the hits of the answer that begins at ``start``; None if it has no ``hits.hits`` that could be reranked.

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
    """Return where the value of ``key`` begins in the object that begins at ``start``; the text after it is not read."""
    place = _after(text, start, "{")
    while text[place : place + 1] != "}":
        found, place = _value(text, place)
        place = _after(text, place, ":")
        if found == key:
            return place
        place = _next(text, _value(text, place)[1])
    return None


def members(text: str, start: int) -> Iterator[Member]:
    """Yield the members of the object that begins at ``start``."""
    place = _after(text, start, "{")
    while text[place : place + 1] != "}":
        key_start = place
        key, place = _value(text, place)
        value_start = _after(text, place, ":")
        _, value_end = _value(text, value_start)
        yield Member(str(key), key_start, value_start, value_end)
        place = _next(text, value_end)


def elements(text: str, start: int) -> Iterator[tuple[Any, int, int]]:
    """Yield value, begin and end of each element of the array that begins at ``start``."""
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
    """Skip a comma, if there is one, and return the place of the next entry or of the closing bracket."""
    place = _skip(text, place)
    return _skip(text, place + 1) if text[place : place + 1] == "," else place


def _value(text: str, place: int) -> tuple[Any, int]:
    try:
        return _read(text, place)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deep") from error


def apply(text: str, edits: Sequence[Edit], start: int = 0, end: int | None = None) -> str:
    """Return ``text[start:end]`` with the edits applied. The edits must not overlap and must lie within that range."""
    pieces, place = [], start
    for edit in sorted(edits, key=lambda edit: edit.start):
        pieces += [text[place : edit.start], edit.text]
        place = edit.end
    return "".join([*pieces, text[place:end]])


def reordered(
    text: str,
    found: FoundHits,
    places: Sequence[int],
    scores: Sequence[float] | None,
    added: Mapping[str, Sequence[str]] = {},
    *,
    shows_first_stage: bool = False,
) -> list[Edit]:
    """Return the edits that keep only the hits at ``places``, in that order.

    Args:
        places: The 0-based places of the hits to answer, best first.
        scores: The scores of the first hits. Each becomes a ``_score``, and the best becomes ``max_score``. None keeps the
            engine's.
        added: The names to remove from a hit's ``fields`` and ``highlight``.
        shows_first_stage: Whether to write the engine's score and rank beside the new score.
    """
    ranks = [place + 1 if shows_first_stage and scores is not None else None for place in places]
    pieces = [
        _hit(text, found.hits[place], _score(scores, place), added, rank) for place, rank in zip(places, ranks, strict=True)
    ]
    gap = text[found.hits[0].end : found.hits[1].start] if len(found.hits) > 1 else ","
    before, behind = text[found.list_start : found.hits[0].start], text[found.hits[-1].end : found.list_end]
    edits = [Edit(found.list_start, found.list_end, before + gap.join(pieces) + behind if pieces else "")]
    if scores is not None and found.max_score is not None:
        edits.append(Edit(found.max_score.start, found.max_score.end, fixed(max(scores))))
    return edits


def _score(scores: Sequence[float] | None, place: int) -> float | None:
    return scores[place] if scores is not None and place < len(scores) else None


def _hit(text: str, hit: HitSpan, score: float | None, added: Mapping[str, Sequence[str]], rank: int | None) -> str:
    edits = []
    taken = {name for name, names in added.items() if names}
    own = list(members(text, hit.start)) if score is not None or rank is not None or taken else []
    for place, member in enumerate(own):
        if member.key == "_score":
            scored = text[member.start : member.end] if score is None else fixed(score)
            edits.append(Edit(member.start, member.end, scored + _first_stage(text, own, place, rank)))
    left = [member for member in own if member.key not in taken or _kept(text, member, added[member.key])]
    if len(left) < len(own):
        edits += _without(own, left)
    for member in left:
        if member.key in taken and (kept := _kept(text, member, added[member.key])) != text[member.start : member.end]:
            edits.append(Edit(member.start, member.end, kept))
    return apply(text, edits, hit.start, hit.end)


def _first_stage(text: str, own: Sequence[Member], place: int, rank: int | None) -> str:
    """Return two more members after the score, with the same spacing as the hit's members."""
    if rank is None:
        return ""
    score = own[place]
    gap = text[own[place - 1].end : score.key_start] if place else ","
    colon = text[score.key_start + len('"_score"') : score.start]
    return f'{gap}"_first_stage_score"{colon}{text[score.start : score.end]}{gap}"_first_stage_rank"{colon}{rank}'


def _kept(text: str, part: Member, added: Sequence[str]) -> str:
    """Return an object without its added members; "" if no member is left."""
    inner = list(members(text, part.start))
    kept = [entry for entry in inner if not _is_added(entry.key, added)]
    if len(kept) == len(inner):
        return text[part.start : part.end]
    return "{" + ",".join(text[entry.key_start : entry.end] for entry in kept) + "}" if kept else ""


def _is_added(key: str, added: Sequence[str]) -> bool:
    # engines return a nested field inside the object that holds it
    return any(name == key or name.startswith(key + ".") for name in added)


def _without(own: Sequence[Member], left: Sequence[Member]) -> list[Edit]:
    """Return the edits that keep only the members ``left`` of an object, with the right commas."""
    if not left:
        return [Edit(own[0].key_start, own[-1].end, "")]
    edits = [Edit(own[0].key_start, left[0].key_start, "")] if left[0] is not own[0] else []
    before = own[own.index(left[0])]
    for member in own[own.index(left[0]) + 1 :]:
        if member not in left:
            edits.append(Edit(before.end, member.end, ""))
        before = member
    return edits


def without_extension(text: str) -> str:
    """Return a search body without ``ext.slimrank`` and otherwise unchanged; an ``ext`` that is then empty is removed too."""
    own = list(members(text, 0))
    place = next((place for place, member in enumerate(own) if member.key == "ext"), None)
    if place is None or text[own[place].start] != "{":
        return text
    inner = list(members(text, own[place].start))
    found = next((place for place, member in enumerate(inner) if member.key == "slimrank"), None)
    if found is None:
        return text
    outer, gone = (own, place) if len(inner) == 1 else (inner, found)
    return apply(text, _without(outer, [*outer[:gone], *outer[gone + 1 :]]))
