"""Corpora out of unpacked Debian packages: what becomes a document, and what does not."""

from pathlib import Path

import pytest

from slimrank.errors import DataError
from training import debian

NOUNS = """\
  1 This software and database is being provided to you, the LICENSEE
00000001 03 n 01 animal 0 000 | a living being that feeds on other living things and moves about of itself
00000002 03 n 02 house_cat 0 tabby 0 001 @ 00000001 n 0000 | a small animal with soft fur that people keep in their homes for company; "the house cat slept"
00000003 03 n 01 thing 0 000 | too short
"""

RECORDS = """\
Package: shellcheck
Description-md5: 1
Description-en: lint tool for shell scripts
 It reads shell scripts and warns about what beginners and experts alike get wrong.
 .
 Each warning says what to write instead, and why.

Package: libshell-dev
Description-en: shell library (development files)
 Files for whoever builds against the library, with words enough to count here.

Package: shellcheck-twin
Description-en: the same again
 It reads shell scripts and warns about what beginners and experts alike get wrong.
 .
 Each warning says what to write instead, and why.
"""


def test_a_noun_becomes_its_names_its_explanation_and_the_wider_noun(tmp_path: Path) -> None:
    (tmp_path / "data.noun").write_text(NOUNS)
    documents = {document.title: document for document in debian.words(tmp_path)}
    assert set(documents) == {"animal", "house cat"}
    assert documents["house cat"].text.startswith("house cat, tabby: a small animal with soft fur")
    assert documents["house cat"].text.endswith("A kind of animal.")


def test_a_package_is_told_once_and_parts_of_libraries_never(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        debian, "_output", lambda *command, folder=None: "main_Translation-en" if "indextargets" in command else RECORDS
    )
    (document,) = debian.package_descriptions()
    assert (document.doc_id, document.title) == ("shellcheck", "lint tool for shell scripts")
    assert document.text.endswith("get wrong. Each warning says what to write instead, and why.")


def test_a_help_page_gives_its_text_without_scripts_and_heads(tmp_path: Path) -> None:
    folder = tmp_path / "text" / "shared"
    folder.mkdir(parents=True)
    words = "Choose a colour from the palette and press the button to fill the chosen cells"
    (folder / "fill.html").write_text(
        f"<html><head><title>Fill cells</title></head><body><p>Menu</p><div id='DisplayArea'><script>go()</script><p>{words}.</p></div></body></html>"
    )
    (document,) = debian.office_pages(tmp_path)
    assert (document.title, document.text) == ("Fill cells", f"{words}.")


def test_a_mallard_page_gives_its_title_apart_and_no_credits(tmp_path: Path) -> None:
    folder = tmp_path / "help" / "C" / "desktop"
    folder.mkdir(parents=True)
    words = "Open the settings, choose the mouse, and raise the delay until the pointer follows your hand"
    (folder / "mouse.page").write_text(
        "<page xmlns='http://projectmallard.org/1.0/'><info><credit><name>Somebody</name></credit></info>"
        f"<title>Slow mouse</title><p>{words}.</p></page>"
    )
    (document,) = debian.desktop_pages(tmp_path)
    assert (document.title, document.text) == ("Slow mouse", f"{words}.")


def test_a_package_of_another_shape_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no data\.noun"):
        list(debian.words(tmp_path))


def test_a_command_that_fails_says_what_it_needs() -> None:
    with pytest.raises(DataError, match="needs a Debian system"):
        debian._output("dpkg-deb", "--extract", "no-such.deb", "nowhere")
