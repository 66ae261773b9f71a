"""Keep personal data out of an audit: queries are copied into files, reports and prompts of judges.

Search boxes receive e-mail addresses, phone and card numbers. The patterns err on the side of finding too much; what they
find is dropped by default, since a masked query is no longer the query that was asked. They know nothing of names of persons: add
patterns, or hand `plan` a function of your own.
"""

import re
from collections.abc import Callable, Sequence

from slimrank.errors import ConfigError

Scrub = Callable[[str], str | None]
"""Returns the query as it may be kept, or None to drop it."""

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
    """Return what `drop`, `mask` or `keep` does to a query.

    Raises:
        ConfigError: a pattern is not a regular expression.
    """
    if action == "keep":
        return lambda query: query
    try:
        personal = re.compile("|".join(f"(?:{pattern})" for pattern in (*_PATTERNS, *patterns)))
    except re.error as error:
        raise ConfigError(f"sample.patterns holds something that is not a regular expression: {error}") from error
    if action == "mask":
        return lambda query: personal.sub("*", query)
    return lambda query: None if personal.search(query) else query
