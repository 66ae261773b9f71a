"""Check that a URL from a user is valid, and raise a clear error if it is not. Sends nothing."""

import httpx

from slimrank.errors import ConfigError


def require_url(url: str, asked: str, example: str) -> None:
    """Make sure that ``url`` is an http(s) URL with a host.

    Args:
        asked: The task that needs the URL, as in "asked to search the engine".
        example: An example of a valid URL.

    Raises:
        ConfigError: it is not one.
    """
    try:
        parts = httpx.URL(url)
        is_one = parts.scheme in {"http", "https"} and bool(parts.host)
    except httpx.InvalidURL:
        is_one = False
    if not is_one:
        raise ConfigError(f"{asked} {url!r}; a URL such as {example} is needed")
