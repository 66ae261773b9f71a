"""Write the index of docs/LOG.md from the pages in docs/log: a line for each entry, with its answer and the decision.

    python -m docs.write_log

An entry is a heading ``## DATE Question?`` with the paragraphs **Question.**, **Answer.** and **Command.**, and, if something
was decided, **Decided.**; answer and decision have one line each. The newest entry is first. The lines below ``## Superseded``
are not entries.
"""

import itertools
import posixpath
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from docs.marks import fill

ROOT = Path(__file__).parent.parent
INDEX = ROOT / "docs" / "LOG.md"
STAGES = ROOT / "docs" / "log"
BEGIN, END = "<!-- index: python -m docs.write_log -->", "<!-- end of index -->"
SUPERSEDED = "\n## Superseded\n"
_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry of the log, with the columns of the index."""

    date: str
    title: str
    answer: str
    decided: str


def entries(page: Path) -> list[Entry]:
    """Return the entries of a stage's page, newest first.

    Raises:
        ValueError: an entry has not the form of all others, or is newer than the one above it.
    """
    text, _, _ = page.read_text(encoding="utf-8").partition(SUPERSEDED)
    _, *parts = _HEADING.split(text)
    found = [_entry(page, title, body) for title, body in zip(parts[::2], parts[1::2], strict=True)]
    for above, below in itertools.pairwise(found):
        if above.date < below.date:
            raise ValueError(
                f"{page.name}: the entry {below.title!r} of {below.date} is below one of {above.date}; put the newest first"
            )
    return found


def _entry(page: Path, heading: str, body: str) -> Entry:
    titled = re.fullmatch(r"(\d{4}-\d\d-\d\d) (.+\?)", heading)
    if titled is None:
        raise ValueError(
            f"{page.name}: the heading {heading!r} is not a date and a question, such as `## 2026-11-30 Is it fast?`"
        )
    for name in ("Question", "Answer", "Command"):
        if len(re.findall(rf"^\*\*{name}\.\*\* \S", body, re.MULTILINE)) != 1:
            raise ValueError(f"{page.name}: the entry {heading!r} needs one paragraph that begins with `**{name}.** `")
    for name in ("Answer", "Decided"):
        if re.search(rf"^\*\*{name}\.\*\* .*\n.", body, re.MULTILINE):
            raise ValueError(
                f"{page.name}: the paragraph `**{name}.** ` of {heading!r} takes more than one line; the index shows one"
            )
    return Entry(titled[1], titled[2], _line(body, "Answer"), _line(body, "Decided"))


def _line(body: str, name: str) -> str:
    found = re.search(rf"^\*\*{name}\.\*\* (.+)$", body, re.MULTILINE)
    return found[1].replace("|", "\\|") if found else ""


def render() -> str:
    """Return the index: a table for each stage."""
    return "\n".join(line for page in sorted(STAGES.glob("*.md")) for line in _stage(page))


def _stage(page: Path) -> Iterator[str]:
    title = page.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    yield f"## [{title}](log/{page.name})\n"
    yield "| date | question | answer | decided by it |\n|---|---|---|---|"
    for entry in entries(page):
        place = f"log/{page.name}#{_anchor(f'{entry.date} {entry.title}')}"
        yield f"| {entry.date} | [{entry.title}]({place}) | {from_index(entry.answer)} | {from_index(entry.decided)} |"
    yield ""


def _anchor(heading: str) -> str:
    return re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")


def from_index(text: str) -> str:
    """Return a text of a stage's page with its links changed so that they are right in the index."""
    return re.sub(r"\]\(([^)#:]+)", lambda link: f"]({posixpath.normpath(f'log/{link[1]}')}", text)


if __name__ == "__main__":
    fill(INDEX, BEGIN, END, render())
