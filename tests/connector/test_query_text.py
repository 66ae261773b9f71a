"""The text to judge by is found in usual search bodies, and never guessed."""

from typing import Any

import pytest

from connector.query_text import find_query_text

MATCH = {"match": {"title": {"query": "red shoes", "operator": "and"}}}


@pytest.mark.parametrize(
    ("body", "text", "fields"),
    [
        ({"query": {"match": {"title": "red shoes"}}}, "red shoes", ("title",)),
        ({"query": MATCH}, "red shoes", ("title",)),
        ({"query": {"multi_match": {"query": "red shoes", "fields": ["title^3", "body", "t*"]}}}, "red shoes", ("title", "body")),
        ({"query": {"simple_query_string": {"query": "red shoes"}}}, "red shoes", ()),
        ({"query": {"query_string": {"query": "red shoes", "default_field": "body"}}}, "red shoes", ("body",)),
        ({"query": {"bool": {"must": [MATCH], "filter": [{"match": {"brand": "acme"}}]}}}, "red shoes", ("title",)),
        ({"query": {"bool": {"must": MATCH, "must_not": {"match": {"title": "blue"}}}}}, "red shoes", ("title",)),
        ({"query": {"bool": {"should": [MATCH, {"match_phrase": {"body": "red shoes"}}]}}}, "red shoes", ("title", "body")),
        ({"query": {"bool": {"filter": [MATCH]}}}, "red shoes", ("title",)),
        ({"query": {"constant_score": {"filter": MATCH}}}, "red shoes", ("title",)),
        ({"query": {"function_score": {"query": MATCH, "functions": []}}}, "red shoes", ("title",)),
        ({"query": {"nested": {"path": "c", "query": {"match": {"c.text": "red shoes"}}}}}, "red shoes", ("c.text",)),
        ({"query": {"dis_max": {"queries": [MATCH]}}}, "red shoes", ("title",)),
        (
            {"query": {"hybrid": {"queries": [MATCH, {"neural": {"v": {"query_text": "red shoes", "model_id": "m", "k": 5}}}]}}},
            "red shoes",
            ("title",),
        ),
        ({"retriever": {"standard": {"query": MATCH}}}, "red shoes", ("title",)),
        (
            {
                "retriever": {
                    "rrf": {"retrievers": [{"standard": {"query": MATCH}}, {"knn": {"field": "v", "query_vector": [1]}}]}
                }
            },
            "red shoes",
            ("title",),
        ),
        (
            {"retriever": {"linear": {"retrievers": [{"retriever": {"standard": {"query": MATCH}}, "weight": 2}]}}},
            "red shoes",
            ("title",),
        ),
        ({"knn": {"field": "v", "query_vector_builder": {"text_embedding": {"model_text": "red shoes"}}}}, "red shoes", ()),
        ({"knn": [{"field": "v", "query_vector_builder": {"text_embedding": {"model_text": "red"}}}]}, "red", ()),
        ({"query": {"match": {"year": 1999}}}, "1999", ("year",)),
        ({"query": {"match": {"title": '["error"]'}}}, '["error"]', ("title",)),
    ],
)
def test_the_text_and_fields_of_a_search_are_found(body: dict[str, Any], text: str, fields: tuple[str, ...]) -> None:
    found = find_query_text(body)
    assert (found.text, found.fields) == (text, fields)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": None},
        {"query": {"match_all": {}}},
        {"query": {"match": {"title": "  "}}},
        {"query": {"term": {"brand": "acme"}}},
        {"query": {"bool": {"must_not": [MATCH]}}},
        {"knn": {"field": "v", "query_vector": [1.0]}},
        {"query": "not an object"},
    ],
)
def test_a_search_without_text_has_no_query_text(body: dict[str, Any]) -> None:
    assert find_query_text(body).text is None
    assert find_query_text(body).reason == "the query has no text to judge by"


@pytest.mark.parametrize("text", ["title:shoes", "red AND shoes", "+red -blue", "sho*", '"red shoes"', "(red shoes)", "shoes~2"])
def test_a_query_string_with_operators_has_no_query_text(text: str) -> None:
    assert "has operators" in find_query_text({"query": {"query_string": {"query": text}}}).reason
    assert find_query_text({"query": {"match": {"title": text}}}).text == text


def test_a_query_nested_too_deeply_has_no_query_text() -> None:
    query: dict[str, Any] = {"match": {"title": "red"}}
    for _ in range(5000):
        query = {"bool": {"must": [query]}}
    assert find_query_text({"query": query}).reason == "the query is nested too deeply to read"
