"""Labels from clicks, corrected for the ranks of the documents."""

import json
from pathlib import Path

import pytest

from slimrank.errors import ConfigError, DataError
from slimrank.evaluation.beir import Document, read_collection, write_documents, write_queries
from training.data.clicks import Shown, grades, read_ubi, write_collection


def answers(query: str, doc_ids: str, clicked: str, times: int) -> list[Shown]:
    return [Shown(query, list(doc_ids), frozenset(clicked))] * times


def test_the_same_clicks_are_worth_more_at_a_low_rank() -> None:
    log = answers("a", "xyz", "x", 6) + answers("a", "xyz", "z", 6) + answers("b", "uvw", "u", 24)
    found = grades(log)["a"]
    assert found["z"] > found["x"] > found["y"] == 0


def test_pairs_shown_too_seldom_stay_unjudged() -> None:
    assert grades(answers("a", "xy", "x", 2), min_shown=3) == {}


def test_queries_without_any_click_give_no_labels() -> None:
    assert "b" not in grades(answers("a", "xy", "x", 5) + answers("b", "xy", "", 5))


def test_ubi_exports_are_read_with_and_without_the_hit_envelope(tmp_path: Path) -> None:
    query = {"query_id": "1", "user_query": " Red  Shoes ", "query_response_hit_ids": ["d1", "d2"]}
    event = {"query_id": "1", "action_name": "click", "event_attributes": {"object": {"object_id": "d2"}}}
    (tmp_path / "queries.jsonl").write_text(json.dumps({"_id": "x", "_source": query}) + "\n")
    (tmp_path / "events.jsonl").write_text(json.dumps(event) + "\n" + json.dumps({**event, "action_name": "hover"}) + "\n")
    assert read_ubi(tmp_path / "queries.jsonl", tmp_path / "events.jsonl") == [
        Shown("red shoes", ["d1", "d2"], frozenset({"d2"}))
    ]


def test_a_line_that_is_not_a_ubi_document_is_named(tmp_path: Path) -> None:
    (tmp_path / "queries.jsonl").write_text('{"query": "x"}\n')
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(DataError, match=r"queries\.jsonl:1 is not a UBI document"):
        read_ubi(tmp_path / "queries.jsonl", tmp_path / "events.jsonl")


def test_labels_never_replace_an_existing_collection(tmp_path: Path) -> None:
    shown = answers("red shoes", "xy", "x", 6)
    write_documents(tmp_path / "shop", [Document(name, "", "text") for name in "xy"])
    write_queries(tmp_path / "shop", {"q1": "hand-made"})
    before = (tmp_path / "shop" / "queries.jsonl").read_bytes()
    with pytest.raises(ConfigError, match="neither empty nor a collection"):
        write_collection(shown, tmp_path / "shop", tmp_path / "shop")
    assert (tmp_path / "shop" / "queries.jsonl").read_bytes() == before
    assert write_collection(shown, tmp_path / "shop", tmp_path / "made") == 1
    assert read_collection(tmp_path / "made", "train").queries == {"ubi-0": "red shoes"}
