"""Fetch documents by business id, with the text that judges see and a hash of each searched field."""

import hashlib
import json
from collections.abc import Mapping, Sequence

from connector.audit.ask.access import Reached
from connector.audit.ask.fields import compared_fields, shown_fields, under
from connector.audit.ask.search import business_id
from connector.audit.spec import Spec
from connector.fields import Template
from slimrank.types import Json

_AT_A_TIME = 500
_SHOWN_CHARACTERS = 2_000


class Shelf:
    """The documents of one side."""

    def __init__(self, reached: Reached, spec: Spec) -> None:
        self._index, self._id_field, self._cluster = reached.side.index, spec.id_field, reached.cluster
        self._text, self._compared = Template.of(shown_fields(spec) or ()), compared_fields(spec)

    def fetch(self, doc_ids: Sequence[str]) -> dict[str, Json]:
        """Return the documents that exist, each with ``text``, ``fields`` (a hash of each field that counts) and ``_id``."""
        found: dict[str, Json] = {}
        for start in range(0, len(doc_ids), _AT_A_TIME):
            some = list(doc_ids[start : start + _AT_A_TIME])
            query: Json = {"ids": {"values": some}} if self._id_field == "_id" else {"terms": {self._id_field: some}}
            body = {"size": 2 * len(some), "query": query}
            for hit in self._cluster.read(f"/{self._index}/_search", body)["hits"]["hits"]:
                found[business_id(hit, self._id_field)] = self._describe(hit)
        return found

    def _describe(self, hit: Json) -> Json:
        source = hit["_source"]
        return {
            "_id": hit["_id"],
            "text": self._text.render(hit)[:_SHOWN_CHARACTERS],
            "fields": {name: content_hash(value) for name, value in sorted(source.items()) if under(name, self._compared)},
        }


def content_hash(value: object) -> str:
    """Return a hash of a JSON value that does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def pair_up(doc_ids: Sequence[str], sides: Mapping[str, Mapping[str, Json]]) -> list[Json]:
    """Return one record for each document: the document on each side, None if a side does not have it."""
    return [{"doc_id": doc_id, **{which: documents.get(doc_id) for which, documents in sides.items()}} for doc_id in doc_ids]
