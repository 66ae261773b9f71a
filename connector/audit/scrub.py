"""Keep personal data out of an audit, because queries are copied into files, reports and judges' prompts.

Users type e-mail addresses, phone numbers and card numbers into search boxes. The patterns rather find too much than too little.
A query that matches is dropped by default, because a masked query is no longer the query that was asked. The patterns do not find
names of persons: for those, add patterns, or pass a function to ``plan``.
"""

import re
from collections.abc import Callable, Sequence

from slimrank.errors import ConfigError

Scrub = Callable[[str], str | None]
"""A function that returns the query as it may be kept, or None to drop it."""

_PATTERNS = (
    r"[\w.+-]+@[\w-]+\.[\w.-]+",  # e-mail
    r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b",  # IBAN
    r"\b(?:\d[ -]?){13,19}\b",  # card numbers
    r"(?<![\w.-])\+?(?:\(?\d{2,5}\)?[ ./-]){2,5}\d{2,8}(?![\w-])",  # phone numbers in groups
    r"(?<!\w)\+\d{9,15}\b",  # phone numbers in one piece
    r"\b\d{3}-\d{2}-\d{4}\b",  # social security
    r"\b(?:\d{1,3}\.){3}\d{1,3}\b",  # IPv4
)


def scrubber(action: str, patterns: Sequence[str] = ()) -> Scrub:
    """Return the function that applies ``drop``, ``mask`` or ``keep`` to a query.

    Raises:
        ConfigError: a pattern is not a regular expression.
    """
    if action == "keep":
        return lambda query: query
    try:
        personal = re.compile("|".join(f"(?:{pattern})" for pattern in (*_PATTERNS, *patterns)))
    except re.error as error:
        raise ConfigError(f"sample.patterns has an entry that is not a regular expression: {error}") from error
    if action == "mask":
        return lambda query: personal.sub("*", query)
    return lambda query: None if personal.search(query) else query
