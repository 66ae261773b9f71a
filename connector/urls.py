"""Whether what a user gave as an address is one. Sends nothing; says what was asked with it, and what one looks like."""

import httpx

from slimrank.errors import ConfigError


def require_url(url: str, asked: str, example: str) -> None:
    """Make sure of an http(s) URL with a host.

    Args:
        asked: What was to be done with it, as in "asked to search the engine".
        example: One that would do.

    Raises:
        ConfigError: it is none.
    """
    try:
        parts = httpx.URL(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.host)
    except httpx.InvalidURL:
        is_one = False
    if not is_one:
        raise ConfigError(f"{asked} {url!r}; a URL such as {example} is needed")
