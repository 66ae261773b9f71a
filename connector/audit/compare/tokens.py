"""Get the tokens that each side's analyzers produce from a text, with the engine's ``_analyze``.

Synonym files are stored on the nodes and not in settings, so only the tokens show that a synonym was lost.
"""

from typing import Any

from connector.audit.compare.differences import index_name, only_index
from connector.cluster import Cluster, Refusal
from slimrank.types import Json

Token = tuple[str, int, str]
"""Text, position and type; synonyms have their own type."""


class Analyzers:
    """The analyzers of one side's index; each text is analyzed only once."""

    def __init__(self, state: Json, cluster: Cluster) -> None:
        self._cluster = cluster
        self._index = index_name(state)
        self._mappings = only_index(state)["mappings"]
        self._has_default_search = any("analysis.analyzer.default_search." in name for name in only_index(state)["settings"])
        self._known: dict[tuple[str, str], tuple[Token, ...] | None] = {}

    def of_query(self, field: str, text: str) -> tuple[Token, ...] | None:
        """Return the tokens of a query on a field; None if the field does not exist or is not analyzed."""
        mapping = self.mapping(field)
        if not mapping or mapping.get("type") not in ("text", "match_only_text", "search_as_you_type"):
            return None
        named = mapping.get("search_analyzer") or (
            None if "analyzer" in mapping or not self._has_default_search else "default_search"
        )
        return self._tokens({"analyzer": named} if named else {"field": field}, text)

    def of_document(self, field: str, text: str) -> tuple[Token, ...] | None:
        """Return the tokens of a text at indexing time."""
        mapping = self.mapping(field)
        return self._tokens({"field": field}, text) if mapping and mapping.get("type") == "text" else None

    def mapping(self, field: str) -> dict[str, Any] | None:
        """Return the parameters of a field or multi-field; None if it does not exist."""
        node: Any = self._mappings
        for part in field.split("."):
            node = (node.get("properties") or {}).get(part) or (node.get("fields") or {}).get(part)
            if node is None:
                return None
        return dict(node)

    def _tokens(self, by: dict[str, str], text: str) -> tuple[Token, ...] | None:
        key = (str(sorted(by.items())), text)
        if key not in self._known:
            try:
                answer = self._cluster.read(f"/{self._index}/_analyze", {**by, "text": text})
                self._known[key] = tuple((token["token"], token["position"], token["type"]) for token in answer["tokens"])
            except Refusal:
                self._known[key] = None
        return self._known[key]
