"""What becomes of documentation: questions with answers, passages, manual pages."""

import gzip
from pathlib import Path

from training.data import documentation
from training.data.documentation import Page, Source, manual_pages, passages, questions, read_pages
from training.data.sections import Section

PROSE = "A river carries water from the hills down to the sea, and boats carry people on it every day."
CODE = "for (int i = 0; i < n; ++i) { std::cout << list[i] << '\\n'; } // every element of the list is printed here"


def page(*sections: Section) -> Page:
    return Page("rivers.html", sections)


def test_a_heading_that_asks_becomes_a_question_and_its_section_the_answer() -> None:
    found = questions(
        [page(Section("Where does a river go?", (PROSE, "It ends there.")), Section("The mouth", (PROSE,)))], "Rivers"
    )
    assert {question: (answer.title, answer.text) for question, answer in found.items()} == {
        "Where does a river go?": ("Rivers", f"{PROSE} It ends there.")
    }


def test_a_section_that_is_too_short_gives_no_question() -> None:
    assert not questions([page(Section("What next?", (PROSE,)), Section("Where does a river go?", ("To the sea.",)))], "Rivers")


def test_no_package_gives_more_questions_than_its_share() -> None:
    many = [Section(f"Where does river number {n} go?", (PROSE,)) for n in range(documentation.MOST_OF_ONE * 2 + 1)]
    found = list(questions([page(*many)], "Rivers"))
    assert documentation.MOST_OF_ONE / 2 < len(found) <= documentation.MOST_OF_ONE
    assert found[-1] == many[-1].title  # from all over the package


def test_an_answer_a_listing_and_a_list_of_books_are_no_passages() -> None:
    sections = [
        Section("Where does a river go?", (PROSE,)),
        Section("A loop over a list", (CODE,)),
        Section("Bibliography", (PROSE,)),
        Section("How rivers end", ("Table 1. Rivers", PROSE)),
    ]
    assert [(document.title, document.text) for document in passages([page(*sections)], "Rivers")] == [("How rivers end", PROSE)]


def test_a_long_section_is_cut_between_sentences_and_only_its_first_part_has_the_heading() -> None:
    paragraphs = tuple(f"{PROSE} There are {n} of them." for n in range(20))
    found = list(passages([page(Section("How rivers end", paragraphs))], "Rivers"))
    assert [document.title for document in found] == ["How rivers end"] + ["Rivers"] * (len(found) - 1)
    assert len(found) > 1
    whole = " ".join(document.text for document in found)
    left = " ".join(paragraphs).removeprefix(whole)
    assert len(left.split()) < documentation.MIN_WORDS  # what is too short at the end
    assert all(len(document.text) <= documentation.PASSAGE for document in found)
    assert len({document.doc_id for document in found}) == len(found)


def test_a_paragraph_that_many_pages_show_is_left_out(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"{number}.html").write_text(
            f"<html><body><h2>Part {number}</h2><p>The Book</p><p>Text {number}</p></body></html>"
        )
    pages = read_pages(tmp_path, Source("guides", ("book",), "Books", ""))
    assert [page.sections[0].paragraphs for page in pages] == [("Text 0",), ("Text 1",), ("Text 2",)]


def test_a_link_to_a_page_does_not_read_it_twice(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text("<html><body><h2>Part</h2><p>Text</p></body></html>")
    (tmp_path / "b.html").symlink_to("a.html")
    assert len(read_pages(tmp_path, Source("guides", ("book",), "Books", ""))) == 1


def test_a_manual_page_is_found_by_what_it_is_for(tmp_path: Path) -> None:
    (tmp_path / "man2").mkdir()
    text = f".TH link 2\n.SH NAME\nlink, linkat \\- make a new name for a file\n.SH DESCRIPTION\n{PROSE}\n"
    (tmp_path / "man2" / "link.2.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "man2" / "linkat.2.gz").write_bytes(gzip.compress(b".so man2/link.2\n"))
    (document,) = manual_pages(read_pages(tmp_path, Source("manuals", ("manpages",), "Linux", "", ("**/man[1-8]/*.gz",))))
    assert (document.doc_id, document.title, document.text) == ("link.2", "make a new name for a file", f"link, linkat: {PROSE}")


def test_a_page_that_repeats_another_gives_nothing_twice_and_pages_of_other_languages_are_not_read(tmp_path: Path) -> None:
    for name in ("part.html", "whole.html"):
        (tmp_path / name).write_text(f"<html><body><h2>How rivers end</h2><p>{PROSE}</p></body></html>")
    (tmp_path / "part_fr.html").write_text(f"<html><body><h2>La fin</h2><p>{PROSE} Oui.</p></body></html>")
    pages = read_pages(tmp_path, Source("guides", ("book",), "Books", "", without=("*_fr.html",)))
    assert [document.doc_id for document in passages(pages, "Books")] == ["Books/part.html#0.0"]
