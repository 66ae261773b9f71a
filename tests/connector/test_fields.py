"""The text of a hit."""

from typing import Any

import pytest

from connector.fields import Template, field_text
from slimrank.errors import ConfigError

SOURCE: dict[str, Any] = {
    "title": "Ring",
    "tags": ["gold", "thin"],
    "maker": {"name": "Ada", "city.code": "LON"},
    "reviews": [{"text": "fine"}, {"text": ["too", "small"]}, {"stars": 1}],
    "price": 3.5,
    "empty": None,
    "a.b": "dotted",
}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("title", "Ring"),
        ("title.keyword", "Ring"),
        ("tags", "gold thin"),
        ("maker.name", "Ada"),
        ("maker.city.code", "LON"),
        ("reviews.text", "fine too small"),
        ("price", "3.5"),
        ("empty", ""),
        ("missing", ""),
        ("maker.missing", ""),
        ("maker", ""),
        ("a.b", "dotted"),
    ],
)
def test_a_field_is_read_from_the_source(name: str, text: str) -> None:
    assert field_text({"_source": SOURCE}, name) == text


def test_requested_fields_override_the_source_and_fragments_are_used_on_request() -> None:
    hit = {"_source": SOURCE, "fields": {"title": ["Asked"], "reviews": [{"text": ["nested"]}]}}
    assert field_text(hit, "title") == "Asked"
    assert field_text(hit, "reviews.text") == "nested"
    highlighted = {**hit, "highlight": {"title": ["<em>one</em>", "two"]}}
    assert Template(("title",)).render(highlighted) == "Asked"
    assert Template(("title",), fragments=("title",)).render(highlighted) == "<em>one</em> ... two"
    assert Template(("title",), fragments=("title",)).render(hit) == "Asked"


def test_without_fields_all_top_level_strings_are_read() -> None:
    assert Template().render({"_source": SOURCE}) == "Ring\ngold thin\ndotted"


def test_a_template_without_a_field_is_refused() -> None:
    with pytest.raises(ConfigError, match="names no field"):
        Template.of(text="always the same")


def test_braces_in_a_value_are_plain_text() -> None:
    assert Template.of(text="{title}: {body}").render({"_source": {"title": "{body}", "body": "x"}}) == "{body}: x"
