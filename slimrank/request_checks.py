"""Check a request, whichever way it came in: Python, command line, queue or HTTP.

An empty document is allowed and scored as empty text, so that an engine with a hit that lacks the
field still gets its ranking; an empty query is a mistake. No documents is a request with an empty
answer; wire formats that forbid it say so themselves.
"""

from collections.abc import Sequence

from slimrank.errors import InvalidRequest

DEFAULT_MAX_DOCUMENTS = 10_000


def check_request(query: str, documents: Sequence[str], *, max_documents: int = DEFAULT_MAX_DOCUMENTS) -> None:
    """Refuse a request that no model could answer sensibly.

    Raises:
        InvalidRequest: the query is not a text or is blank (400), a document is not a text (400),
            or there are too many documents (413).
    """
    if not isinstance(query, str):
        raise InvalidRequest(f"query must be a text, found {type(query).__name__}; send a string")
    if not query.strip():
        raise InvalidRequest("query is empty; send the text that the user searched for")
    if isinstance(documents, str | bytes) or not isinstance(documents, Sequence):
        raise InvalidRequest(f"documents must be a list of texts, found {type(documents).__name__}; send a list of strings")
    if len(documents) > max_documents:
        raise InvalidRequest(
            f"{len(documents)} documents are too many: at most {max_documents} a request; send fewer", status=413
        )
    for index, document in enumerate(documents):
        if not isinstance(document, str):
            raise InvalidRequest(f"documents[{index}] must be a text, found {type(document).__name__}; send strings")
