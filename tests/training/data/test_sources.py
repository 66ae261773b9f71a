"""Ways in: CSV, runs, corpora without queries, and the whole of `train prepare`."""

import json
from pathlib import Path

import pytest

from slimrank.errors import DataError
from slimrank.evaluation import trec
from slimrank.evaluation.beir import Document, write_documents, write_qrels, write_queries
from slimrank.evaluation.hostile_texts import is_hostile
from tests.command import slimrank
from training.config import PrepareConfig
from training.data.groups import read_groups
from training.data.prepare import prepare
from training.data.sources import RecordedFirstStage, read_csv


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data" / "rivers"
    documents = [
        Document(
            f"d{n}", f"the long river number {n}", f"It has {n} bridges of stone. Boats go up to the town there. Fish live in it."
        )
        for n in range(20)
    ]
    write_documents(folder, documents)
    write_queries(folder, {"q1": "river bridges", "q2": "Boats of stone", "q3": "fish river"})
    write_qrels(folder, "train", {"q1": {"d3": 1}, "q2": {"d4": 1}})
    write_qrels(folder, "test", {"q3": {"d5": 1}})
    return tmp_path / "data"


def made(config: dict[str, object], data: Path, tmp_path: Path) -> list[str]:
    return [group.query for group in read_groups(prepare(PrepareConfig(seed=1, **config), data, tmp_path / "out"))]


def test_only_train_queries_become_groups(data: Path, tmp_path: Path) -> None:
    assert sorted(made({"collections": [{"folder": "rivers", "queries": 9}]}, data, tmp_path)) == [
        "Boats of stone",
        "river bridges",
    ]


def test_a_query_that_also_stands_in_test_is_left_out(data: Path, tmp_path: Path) -> None:
    write_queries(data / "rivers", {"q1": "river bridges", "q2": "Boats of stone", "q3": "RIVER  bridges"})
    assert made({"collections": [{"folder": "rivers", "queries": 9}]}, data, tmp_path) == ["Boats of stone"]


def test_a_made_query_that_also_stands_in_test_is_left_out(data: Path, tmp_path: Path) -> None:
    write_queries(data / "rivers", {"q1": "river bridges", "q2": "Boats of stone", "q3": "The long  river number 5"})
    titles = made({"collections": [{"folder": "rivers", "titles": 20}]}, data, tmp_path)
    assert sorted(titles) == sorted(f"the long river number {n}" for n in range(20) if n != 5)


def test_a_corpus_alone_gives_groups(data: Path, tmp_path: Path) -> None:
    config = {"collections": [{"folder": "rivers", "unlabelled": True, "titles": 3, "sentences": 2}]}
    assert len(made(config, data, tmp_path)) == 5


def test_nothing_to_make_groups_of_is_an_error(data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no query of the configuration gave a group"):
        made({"collections": [{"folder": "rivers"}]}, data, tmp_path)


def test_the_share_of_hostile_groups_may_be_said_on_the_command_line(data: Path, tmp_path: Path) -> None:
    config, out = tmp_path / "prepare.yaml", tmp_path / "hostile"
    config.write_text("collections: [{folder: rivers, queries: 9}]\nhostile_share: 0.0\n")
    ended = slimrank("train", "prepare", config, "--data", data, "--out", out, "--hostile-share", 1)
    assert ended.code == 0, ended.err
    groups = read_groups(out / "groups.jsonl")
    assert groups and all(sum(map(is_hostile, group.doc_ids)) == 2 for group in groups)


def test_negatives_may_come_from_a_recorded_run(data: Path, tmp_path: Path) -> None:
    trec.write_run(tmp_path / "run.trec", {"q1": {"d9": 3.0, "d8": 2.0, "d3": 1.0}}, tag="engine")
    config = PrepareConfig(seed=1, collections=[{"folder": "rivers", "queries": 9, "run": tmp_path / "run.trec"}])
    (group,) = read_groups(prepare(config, data, tmp_path / "out"))
    assert set(group.doc_ids) == {"d3", "d8", "d9"}


def test_a_run_of_other_queries_is_refused(tmp_path: Path) -> None:
    trec.write_run(tmp_path / "run.trec", {"other": {"d": 1.0}}, tag="engine")
    with pytest.raises(DataError, match="ranks none"):
        RecordedFirstStage(tmp_path / "run.trec", {"q": "text"})


def test_a_csv_file_becomes_a_collection(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text('query,document,label\nred shoes,"shoes, red",2\nred shoes,blue hat,0\nhat,blue hat,1\n')
    collection = read_csv(tmp_path / "pairs.csv")
    assert collection.qrels == {"q0": {"d0": 2, "d1": 0}, "q1": {"d1": 1}}
    assert collection.documents["d0"].content == "shoes, red"


@pytest.mark.parametrize(
    ("content", "message"), [("query,label\na,1\n", "it needs"), ("query,document,label\na,b,x\n", "must be an integer")]
)
def test_a_wrong_csv_file_says_what_is_wrong(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "pairs.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_csv(tmp_path / "pairs.csv")


def test_judgments_may_be_a_trec_file(data: Path, tmp_path: Path) -> None:
    trec.write_qrels(tmp_path / "judged.qrels", {"q2": {"d9": 1}})
    config = {"collections": [{"folder": "rivers", "queries": 9, "qrels": str(tmp_path / "judged.qrels")}]}
    assert made(config, data, tmp_path) == ["Boats of stone"]
    trec.write_qrels(tmp_path / "judged.qrels", {"q8": {"d9": 1}})
    with pytest.raises(DataError, match="the first is 'q8'"):
        made(config, data, tmp_path)


@pytest.fixture
def two_kinds(data: Path) -> dict[str, object]:
    """Two kinds of text: rivers, and hills in two folders."""
    for folder in ("hills", "mounts"):
        documents = [
            Document(f"d{n}", f"the high {folder} number {n}", f"It has {n} paths. Goats go there. Snow lies on it.")
            for n in range(20)
        ]
        write_documents(data / folder, documents)
    entries = [
        {"folder": "rivers", "unlabelled": True, "titles": 18},
        {"folder": "hills", "unlabelled": True, "titles": 15, "kind": "heights"},
        {"folder": "mounts", "unlabelled": True, "titles": 12, "kind": "heights"},
    ]
    return {"seed": 1, "collections": entries}


def test_groups_without_a_kind_are_as_many_and_otherwise_the_same(
    two_kinds: dict[str, object], data: Path, tmp_path: Path
) -> None:
    config = PrepareConfig(groups=15, **two_kinds)
    every = read_groups(prepare(config, data, tmp_path / "every"))
    without = read_groups(prepare(config.without(["rivers"]), data, tmp_path / "without"))
    assert len(every) == len(without) == 15
    assert {group.kind for group in every} == {"rivers", "heights"}
    assert {group.kind for group in without} == {"heights"}
    kept = [group for group in every if group.kind == "heights"]
    assert [group for group in without if group in kept] == kept


def test_a_kind_that_is_not_there_cannot_be_left_out(two_kinds: dict[str, object], data: Path, tmp_path: Path) -> None:
    path = tmp_path / "prepare.yaml"
    path.write_text(json.dumps(two_kinds))
    ended = slimrank("train", "prepare", path, "--data", data, "--out", tmp_path / "out", "--without", "lakes")
    assert ended.code != 0
    assert "--without lakes: the configuration has no such kind; it has heights, rivers" in " ".join(ended.err.split())
    assert not (tmp_path / "out").exists()


def test_a_kind_above_its_share_is_refused_and_no_groups_are_written(
    two_kinds: dict[str, object], data: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"the kind heights gives 27 of 45 groups \(60%\), more than most_share 0\.5"):
        prepare(PrepareConfig(most_share=0.5, **two_kinds), data, tmp_path / "out")
    assert not (tmp_path / "out" / "groups.jsonl").exists()
    assert len(read_groups(prepare(PrepareConfig(most_share=0.6, **two_kinds), data, tmp_path / "out"))) == 45


def test_fewer_groups_than_were_asked_for_are_refused(two_kinds: dict[str, object], data: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the entries give 45 groups, and 46 are asked for"):
        prepare(PrepareConfig(groups=46, **two_kinds), data, tmp_path / "out")


def test_the_groups_of_an_entry_do_not_depend_on_other_entries(two_kinds: dict[str, object], data: Path, tmp_path: Path) -> None:
    entries = two_kinds["collections"]
    assert isinstance(entries, list)
    both, one = (sorted(made({"collections": some}, data, tmp_path)) for some in (entries, entries[1:2]))
    assert one == [query for query in both if "hills" in query]
