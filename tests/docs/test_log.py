"""Entries of the log have one form, and its index leads to them."""

import re
from pathlib import Path

import pytest

from docs import write_log

ENTRY = "## {} Is it fast?\n\n**Question.** Is it?\n\n**Answer.** Yes.\n\n**Decided.** [why](../decisions/a.md)\n\n**Command.** `time it`\n\n"


def page_of(folder: Path, text: str) -> Path:
    page = folder / "engine.md"
    page.write_text(f"# The engine\n\n{text}", encoding="utf-8")
    return page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("## Is it fast?\n", "is not a date and a question"),
        ("## 2026-11-30 It is fast\n", "is not a date and a question"),
        (ENTRY.format("2026-11-30").replace("**Answer.**", "Answer:"), "`**Answer.** `"),
        (ENTRY.format("2026-11-30").replace("**Command.**", "Command:"), "`**Command.** `"),
        (ENTRY.format("2026-11-30").replace("Yes.", "Yes,\nit is."), "more than one line"),
        (ENTRY.format("2026-11-29") + ENTRY.format("2026-11-30"), "newest first"),
    ],
)
def test_an_entry_in_another_form_is_refused(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        write_log.entries(page_of(tmp_path, text))


def test_an_entry_has_a_date_a_question_an_answer_and_a_decision(tmp_path: Path) -> None:
    page = page_of(tmp_path, ENTRY.format("2026-11-30"))
    assert write_log.entries(page) == [write_log.Entry("2026-11-30", "Is it fast?", "Yes.", "[why](../decisions/a.md)")]


def test_superseded_lines_are_not_entries(tmp_path: Path) -> None:
    page = page_of(tmp_path, f"{ENTRY.format('2026-11-30')}## Superseded\n\n* 2026-11-23 Is it slow? Yes.\n")
    assert len(write_log.entries(page)) == 1


def test_links_of_a_page_lead_from_the_index_to_the_same_files() -> None:
    assert write_log.from_index("[a](../decisions/a.md#b), [c](../../slimrank/c.py), [d](export.md)") == (
        "[a](decisions/a.md#b), [c](../slimrank/c.py), [d](log/export.md)"
    )
