"""BEIR folders and TREC files: what is written reads back, and what is broken is named with its line."""

import gzip
from pathlib import Path

import pytest

from slimrank.bm25 import BM25
from slimrank.errors import DataError
from slimrank.evaluation import beir, trec

DOCUMENTS = [beir.Document("d1", "Forks", "A fork of a road."), beir.Document("d2", "", "A spoon\nfor soup.")]
QRELS = {"q1": {"d1": 2, "d2": 0}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    beir.write_documents(tmp_path, DOCUMENTS)
    beir.write_queries(tmp_path, {"q1": "which fork", "q2": "not judged"})
    beir.write_qrels(tmp_path, "test", QRELS)
    return tmp_path


def test_a_beir_folder_reads_back_as_it_was_written(folder: Path) -> None:
    collection = beir.read_collection(folder, "test")
    assert list(collection.documents.values()) == DOCUMENTS
    assert collection.queries == {"q1": "which fork"}
    assert collection.qrels == QRELS


def test_gzipped_parts_are_read_as_well(folder: Path) -> None:
    plain = folder / "corpus.jsonl"
    (folder / "corpus.jsonl.gz").write_bytes(gzip.compress(plain.read_bytes()))
    plain.unlink()
    assert [document.doc_id for document in beir.iterate_documents(folder)] == ["d1", "d2"]


@pytest.mark.parametrize("content", [b"not gzip", gzip.compress(b"x" * 1000, mtime=0)[:20]])
def test_a_broken_gzip_file_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "corpus.jsonl.gz").write_bytes(content)
    with pytest.raises(DataError, match="corpus"):
        list(beir.iterate_documents(tmp_path))


def test_a_missing_split_is_named_with_the_layout(folder: Path) -> None:
    (folder / "qrels" / "test.tsv").unlink()
    with pytest.raises(DataError, match=r"qrels/dev\.tsv"):
        beir.read_collection(folder, "dev")


def test_a_judged_query_without_text_is_named(folder: Path) -> None:
    beir.write_qrels(folder, "test", {"q9": {"d1": 1}})
    with pytest.raises(DataError, match="q9"):
        beir.read_collection(folder, "test")


@pytest.mark.parametrize(
    "line",
    [
        "not json", "[]", "[" * 100_000, '{"_id": "d3"}', '{"_id": 3, "text": "x"}', '{"_id": "d3", "text": "x", "title": 3}',
        '{"_id": "d3", "text": "x", "title": ["a"]}',
    ],
)  # fmt: skip
def test_a_broken_record_is_named_with_its_line(folder: Path, line: str) -> None:
    with (folder / "corpus.jsonl").open("a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=r"corpus\.jsonl:3"):
        list(beir.iterate_documents(folder))


@pytest.mark.parametrize(
    "line",
    ["q1\td1", "q1\td1\thigh", "q1 d1 1", f"q1\td1\t{'9' * 23}", f"q1\td1\t{'9' * 5000}", "q1\td1\t1_0", f"q1\t{'d' * 200_000}"],
)
def test_a_broken_judgment_is_named_with_its_line(folder: Path, line: str) -> None:
    (folder / "qrels" / "test.tsv").write_text(f"query-id\tcorpus-id\tscore\n{line}\n")
    with pytest.raises(DataError, match=r"test\.tsv:2"):
        beir.read_collection(folder, "test")


@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_a_trec_run_reads_back_best_first(tmp_path: Path, name: str) -> None:
    trec.write_run(tmp_path / name, {"q1": {"a": 1.0, "b": 2.5}}, tag="test")
    assert list(trec.read_run(tmp_path / name)["q1"].items()) == [("b", 2.5), ("a", 1.0)]


def test_trec_qrels_read_back(tmp_path: Path) -> None:
    trec.write_qrels(tmp_path / "qrels", QRELS)
    assert trec.read_qrels(tmp_path / "qrels") == QRELS


@pytest.mark.parametrize("line", ["q1 Q0 d1 1 2.0", "q1 Q0 d1 1 high tag", "q1 Q0 d1 1 nan tag", "q1 Q0 d1 1 1e999 tag"])
def test_a_broken_run_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "run").write_text(f"q0 Q0 d1 1 2.0 tag\n{line}\n")
    with pytest.raises(DataError, match="run:2"):
        trec.read_run(tmp_path / "run")


@pytest.mark.parametrize("query_id", ["a b", "", "a\u2028b", "a\tb"])
def test_an_id_that_a_trec_line_cannot_hold_is_refused_by_name(tmp_path: Path, query_id: str) -> None:
    with pytest.raises(DataError, match="cannot hold the id"):
        trec.write_run(tmp_path / "run", {query_id: {"d1": 1.0}}, tag="test")
    with pytest.raises(DataError, match="cannot hold the id"):
        trec.write_qrels(tmp_path / "qrels", {"q1": {query_id: 1}})
    assert not list(tmp_path.iterdir())


def test_a_tag_with_spaces_stays_one_column(tmp_path: Path) -> None:
    trec.write_run(tmp_path / "run", {"q1": {"a": 1.0}}, tag="my model")
    assert trec.read_run(tmp_path / "run") == {"q1": {"a": 1.0}}


def test_an_id_with_a_tab_is_refused_in_a_beir_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot hold the id"):
        beir.write_qrels(tmp_path, "test", {"q1": {"d\t1": 1}})
    beir.write_qrels(tmp_path, "test", {"q 1": {"d 1": 1}})
    assert beir.read_qrels(tmp_path / "qrels" / "test.tsv") == {"q 1": {"d 1": 1}}


@pytest.mark.parametrize("name", ["corpus.jsonl", "queries.jsonl"])
def test_an_empty_file_says_so(folder: Path, name: str) -> None:
    (folder / name).write_text("\n")
    with pytest.raises(DataError, match="is empty"):
        beir.read_collection(folder, "test")


def test_an_empty_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(DataError, match="is empty"):
        trec.read_run(tmp_path / "run")


def test_a_wrong_split_lists_those_that_are_there(folder: Path) -> None:
    beir.write_qrels(folder, "train", QRELS)
    with pytest.raises(DataError, match="no split dev; it has test, train"):
        beir.read_collection(folder, "dev")


def test_an_interrupted_write_leaves_the_old_file(folder: Path) -> None:
    def documents() -> "list[beir.Document]":
        yield DOCUMENTS[0]
        raise RuntimeError("disk full")

    before = (folder / "corpus.jsonl").read_text()
    with pytest.raises(RuntimeError):
        beir.write_documents(folder, documents())
    assert (folder / "corpus.jsonl").read_text() == before
    assert sorted(path.name for path in folder.iterdir()) == ["corpus.jsonl", "qrels", "queries.jsonl"]


def test_bm25_returns_only_documents_that_share_a_term_best_first() -> None:
    index = BM25({"d1": "the fork in the road", "d2": "fork fork fork", "d3": "a spoon"})
    assert list(index.search("forks", 10)) == ["d2", "d1"]
    assert index.search("knife", 10) == {}
    assert index.search("", 10) == {}
    assert list(index.search("fork spoon road", 1)) != []


def test_bm25_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="no documents"):
        BM25({})


def test_bm25_of_documents_without_words_is_refused() -> None:
    with pytest.raises(DataError, match="hold no word"):
        BM25({"d1": "", "d2": "the"})
