"""Corpora out of unpacked Debian packages: what becomes a document, and what does not."""

import shutil
import subprocess
from pathlib import Path

import pytest

from slimrank.errors import DataError
from slimrank.evaluation.beir import read_collection
from training.data import debian
from training.data.documentation import Source

needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="packages are read on Debian alone")

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


def package(folder: Path, copyright_file: str) -> None:
    """Build a package with a question, as apt would fetch it."""
    tree = folder / "tree"
    documents = tree / "usr" / "share" / "doc" / "rivers"
    documents.mkdir(parents=True)
    (tree / "DEBIAN").mkdir()
    (tree / "DEBIAN" / "control").write_text(
        "Package: rivers\nVersion: 1\nArchitecture: all\nMaintainer: Nobody <nobody@example.org>\nDescription: rivers\n"
    )
    (documents / "copyright").write_text(copyright_file)
    (documents / "faq.html").write_text(f"<html><body><h2>Where does a river go?</h2><p>{'To the sea. ' * 9}</p></body></html>")
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", "--build", tree, folder / "rivers_1_all.deb"], check=True, capture_output=True
    )


@pytest.fixture
def fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have `apt-get download` copy a package that lies here; all else is run for real."""
    package(tmp_path, "License: GPL-2+\n of two  lines\n")
    really = debian._output

    def output(*command: str, folder: Path | None = None) -> str:
        if command[0] != "apt-get":
            return really(*command, folder=folder)
        assert folder is not None
        shutil.copy(tmp_path / "rivers_1_all.deb", folder)
        return ""

    monkeypatch.setattr(debian, "_output", output)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return scratch


@needs_dpkg
def test_a_package_whose_licence_is_another_is_refused(fetched: Path) -> None:
    assert list(debian._unpacked(["rivers"], fetched, "GPL-2+ of two lines").rglob("faq.html"))
    with pytest.raises(DataError, match=r"rivers: the copyright file does not say 'Apache-2\.0'"):
        debian._unpacked(["rivers"], fetched, "Apache-2.0")


@needs_dpkg
def test_questions_become_a_train_split(fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "SOURCES", (Source("guides", ("rivers",), "Rivers", "GPL-2+"),))
    debian.write_documentation(tmp_path / "out", fetched)
    answers = read_collection(tmp_path / "out" / "debian_answers", "train")
    (query_id,) = answers.queries
    assert answers.queries[query_id] == "Where does a river go?"
    (doc_id,) = answers.qrels[query_id]
    assert answers.documents[doc_id].content.startswith("Rivers\nTo the sea.")


@needs_dpkg
def test_a_package_that_gives_nothing_is_named(fetched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "SOURCES", (Source("guides", ("rivers",), "Rivers", "GPL-2+", ("**/manual/*.html",)),))
    with pytest.raises(DataError, match=r"rivers: nothing was read from \*\*/manual"):
        debian.write_documentation(tmp_path / "out", fetched)
