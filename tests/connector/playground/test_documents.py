"""A visitor's lines, JSON lines and CSV, and one-line errors for invalid documents."""

from pathlib import Path

import pytest

from connector.playground.cli import _collection, example_queries
from connector.playground.documents import MAX_DOCUMENTS, read_documents
from slimrank.errors import DataError
from slimrank.evaluation.beir import Document


def test_each_line_is_a_document_with_an_id_from_its_line_number() -> None:
    found = read_documents("Red shoes, size 42\n\n  A bag\n")
    assert found == [Document("line-1", "", "Red shoes, size 42"), Document("line-3", "", "A bag")]


def test_json_lines_are_recognised_by_the_first_line_and_by_the_file_name() -> None:
    line = '{"_id": "p1", "title": "Red shoes", "text": "Light."}\n'
    assert read_documents(line) == read_documents(line, "shop.jsonl") == [Document("p1", "Red shoes", "Light.")]
    assert read_documents('"a text"', "shop.jsonl") == [Document("line-1", "", "a text")]


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_csv_with_a_header_line_is_read_with_any_delimiter(mark: str) -> None:
    rows = [["ID", "Name", "Description"], ["7", "Red shoes", '"Light, and\nfor; the\troad"']]
    text = "\ufeff" + "\r\n".join(mark.join(row) for row in rows)
    assert read_documents(text, "shop.csv") == [Document("7", "Red shoes", "Light, and\nfor; the\troad")]
    assert read_documents(text) == read_documents(text, "shop.csv")


def test_a_text_with_commas_is_not_csv() -> None:
    assert [document.text for document in read_documents("The title, of course, matters\nb")] == [
        "The title, of course, matters",
        "b",
    ]


@pytest.mark.parametrize(
    ("text", "name", "words"),
    [
        ("", "", "the text is empty; give one document on each line"),
        ('{"text": "a"}\n{"text": ', "shop.jsonl", "shop.jsonl, line 2: not JSON"),
        ('{"text": "a"}\nplain', "", "the text, line 2: not JSON"),
        ("[1]", "shop.jsonl", "line 1: expected an object such as"),
        ('{"text": {"a": 1}}', "", "line 1: text should be a text, found"),
        ('{"sku": "a", "price": 3}', "", "line 1: found sku, price, but no field for the text"),
        ("sku,price\n1,2", "shop.csv", "line 2: found sku, price, but no field for the text"),
        ("id,text\n1,a,b", "shop.csv", "line 2: the number of columns differs from the header line"),
        ('id,text\n1,"a', "shop.csv", "shop.csv, line 2: not CSV"),
        ("\nid,text\n1,a\n1,b", "shop.csv", "line 4: the id '1' is used twice"),
        ('{"_id": "a\\tb", "text": "a"}', "", "cannot hold the id 'a\\tb'"),
        ("a\n" * (MAX_DOCUMENTS + 1), "", "holds more than 10,000 documents"),
    ],
)
def test_an_invalid_document_is_refused_in_one_line(text: str, name: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_documents(text, name)
    assert words in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_without_judgments_is_searched_and_its_queries_are_the_examples(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "p1", "text": "Red shoes"}\n')
    assert example_queries(_collection(tmp_path, "test")) == []
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "shoes"}\n')
    [query] = example_queries(_collection(tmp_path, "test"))
    assert (query.query_id, query.text, query.relevances) == ("q1", "shoes", {})


def test_a_file_of_documents_is_searched(tmp_path: Path) -> None:
    (tmp_path / "shop.csv").write_text("id,text\np1,Red shoes\n")
    assert _collection(tmp_path / "shop.csv", "test").documents == {"p1": Document("p1", "", "Red shoes")}
