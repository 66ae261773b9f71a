"""What every engine's installer needs: the address that the engine calls, the name it is installed by, and a check of the key."""

import hashlib
import re
from urllib.parse import urlsplit

from connector.urls import require_url
from slimrank.errors import ConfigError


def rerank_url(gateway: str) -> str:
    """Return the URL that the engine calls; ``gateway`` may be given with or without the path.

    Raises:
        ConfigError: the gateway is not an http(s) URL, or its host has an underscore, which Java's URI parser does not accept.
    """
    require_url(gateway, "asked to use the gateway", "http://slimrank:8080")
    parts = urlsplit(gateway)
    if "_" in (parts.hostname or ""):
        raise ConfigError(
            f"the gateway's host {parts.hostname!r} has an underscore, which OpenSearch cannot call (it finds no host in the URL); "
            "give it a name without an underscore, for example a network alias with a hyphen"
        )
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.netloc}{path if path.endswith('/rerank') else path + '/v1/rerank'}"


def require_name(name: str) -> str:
    """Return ``name`` if OpenSearch accepts it as the name of a connector, a model and a pipeline.

    Raises:
        ConfigError: OpenSearch does not accept the name.
    """
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,100}", name):
        raise ConfigError(f"asked for the name {name!r}; use lower-case letters, digits, - and _, such as slimrank")
    return name


_CHECK_DIGITS = 3
"""Twelve bits: enough to notice nearly every change of the key, and far too few to guess the key from."""


def key_check(spec: str, key: str) -> str:
    """Return three digits that change if the key changes."""
    return hashlib.sha256(f"{spec}\0{key}".encode()).hexdigest()[:_CHECK_DIGITS]
