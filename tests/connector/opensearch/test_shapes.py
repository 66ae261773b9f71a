"""Values that reach the reranker as another text than a reader sees are found in documents and mapping."""

import re
from dataclasses import replace
from typing import Any

import pytest

from connector.opensearch.deep_check import deep
from connector.opensearch.install import InstallPlan, install
from slimrank.types import Json
from tests.connector.opensearch.test_lifecycle import NAME, site
from tests.connector.sites import Site

__all__ = ["site"]
TEXT: Json = {"type": "text"}
MAPPING: Json = {
    "properties": {
        "text": {"type": "text", "fields": {"english": TEXT}, "copy_to": "all"},
        "all": TEXT,
        "name": {"type": "alias", "path": "text"},
        "other": TEXT,
    }
}
INDEX = "slimrank-test-shapes"


def _findings(site: Site, field: str, *values: Any, query_path: str = "") -> list[tuple[str, str]]:
    """Install for a field, index a document for each value, and return the findings of a deep check."""
    site.send("PUT", f"/{INDEX}", {"mappings": MAPPING})
    site.indices.append(INDEX)
    for number, value in enumerate(values):
        site.send("PUT", f"/{INDEX}/_doc/{number}?refresh=true", {"other": "x"} if value is ... else {"text": value})
    install(site.cluster(), replace(InstallPlan(site.gateway_url, [field], name=NAME), query_path=query_path))
    found = deep(site.cluster(), name=NAME, index=INDEX)
    return [(finding.state, finding.words) for finding in found if finding.name in ("field values", "derived field")]


@pytest.mark.parametrize(
    ("value", "words"),
    [(["red a", "red b"], "1 of 2 sampled documents .* have a list in text"), (None, "the word null"), ({"a": 1}, "keys")],
)
def test_a_value_that_is_not_a_text_is_found(site: Site, value: Any, words: str) -> None:
    if isinstance(value, dict) and site.gateway_url != "http://127.0.0.1:8080":
        pytest.skip("a real index refuses an object in a text field")
    ((state, said),) = _findings(site, "text", "plain", value)
    assert state == "warning"
    assert re.search(words, said)


def test_texts_and_a_missing_text_give_no_finding(site: Site) -> None:
    assert _findings(site, "text", "plain", ...) == []


@pytest.mark.parametrize(("field", "kind"), [("text.english", "a multi-field"), ("all", "copy_to"), ("name", "an alias")])
def test_a_field_without_a_key_in_source_is_a_fault(site: Site, field: str, kind: str) -> None:
    ((state, said),) = _findings(site, field, "plain")
    assert state == "fault" and kind in said


def test_a_field_that_is_missing_in_all_documents_is_a_fault(site: Site) -> None:
    ((state, said),) = _findings(site, "other", "plain", "other")
    assert state == "fault" and "none of 2 sampled documents" in said


def test_with_a_query_path_a_document_without_the_field_is_a_warning(site: Site) -> None:
    ((state, said),) = _findings(site, "text", "plain", ..., query_path="query.match.text.query")
    assert state == "warning" and "1 of 2 sampled documents" in said
