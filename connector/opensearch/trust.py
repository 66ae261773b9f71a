"""Let ML Commons call the gateway: append it to the cluster's trusted endpoints, and remove it later.

The settings belong to the user. A list is read, appended to, and written to the scope in which it was set. On removal, a setting
that was not set becomes unset again. A setting that already allows the gateway is not changed. An ``Undo`` records the changes;
the installer stores it with the connector.
"""

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from connector import facts
from connector.cluster import Cluster
from connector.facts import Facts
from connector.opensearch import bodies
from slimrank.errors import PipelineNotInstalled

_SCOPES = ("transient", "persistent")  # a transient setting wins over a persistent one


@dataclass(slots=True)
class Undo:
    """A record of changes in the cluster's settings.

    Attributes:
        added: Name of a list setting -> the regular expressions that were appended.
        unset: Name of a list setting that was not set -> the number of its default entries.
        private_ip: The former value, "false" or "unset"; None if it was not changed.
    """

    added: dict[str, list[str]] = field(default_factory=dict)
    unset: dict[str, int] = field(default_factory=dict)
    private_ip: str | None = None

    def merged(self, later: "Undo") -> "Undo":
        """Return the record of this change and a later one together."""
        added = {name: list(values) for name, values in self.added.items()}
        for name, values in later.added.items():
            known = added.setdefault(name, [])
            known.extend(value for value in values if value not in known)
        return Undo(added, {**later.unset, **self.unset}, self.private_ip or later.private_ip)

    def needed_for(self, url: str) -> "Undo":
        """Return the part of this record that a connector to ``url`` needs."""
        needed = {name: [each for each in patterns if allows([each], url)] for name, patterns in self.added.items()}
        kept = {name: patterns for name, patterns in needed.items() if patterns}
        return Undo(kept, self.unset, self.private_ip if is_private(url) else None)

    def without(self, others: Sequence["Undo"]) -> "Undo":
        """Return what may be undone while the installations with these other records remain."""
        needed = {(name, each) for other in others for name, patterns in other.added.items() for each in patterns}
        left = {name: [each for each in patterns if (name, each) not in needed] for name, patterns in self.added.items()}
        is_needed = any(other.private_ip for other in others)
        return Undo({name: each for name, each in left.items() if each}, self.unset, None if is_needed else self.private_ip)

    def as_json(self) -> dict[str, Any]:
        """Return the record as JSON, without empty parts."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class _Settings:
    """The cluster's flat settings by scope."""

    scopes: dict[str, dict[str, Any]]

    def where(self, name: str) -> str | None:
        """Return the strongest scope in which a setting is set; None if it is not set."""
        return next((scope for scope in _SCOPES if name in self.scopes[scope]), None)

    def value(self, name: str) -> Any:
        """Return the value in force."""
        return self.scopes[self.where(name) or "defaults"].get(name)

    def entries(self, name: str) -> list[str]:
        """Return a list setting; the cluster may show an empty list as a string."""
        value = self.value(name)
        return list(value) if isinstance(value, list) else [value] if value else []


def _read(cluster: Cluster) -> _Settings:
    answer = cluster.read("/_cluster/settings?include_defaults=true&flat_settings=true")
    return _Settings({scope: answer.get(scope, {}) for scope in (*_SCOPES, "defaults")})


def host_of(url: str) -> str:
    """Return the host of a URL, as it is written."""
    return urlsplit(url).hostname or ""


def is_private(url: str) -> bool:
    """Tell whether the host of ``url`` is, or may be, a private address for the engine.

    A name that this machine cannot resolve counts as a name in the engine's network, such as a Compose service.
    """
    host = host_of(url)
    try:
        found = {ipaddress.ip_address(host)}
    except ValueError:
        try:
            found = {ipaddress.ip_address(entry[4][0]) for entry in socket.getaddrinfo(host, None)}
        except OSError:
            return True
    return any(address.is_private or address.is_loopback for address in found)


def allows(patterns: list[str], url: str) -> bool:
    """Tell whether one of the engine's regular expressions matches the whole of ``url``."""
    for pattern in patterns:
        try:
            if re.fullmatch(pattern, url):
                return True
        except re.error:  # Java's, not Python's
            continue
    return False


def trusts(cluster: Cluster, url: str) -> bool:
    """Tell whether the cluster's settings allow a connector to ``url``."""
    return allows(_read(cluster).entries(bodies.TRUSTED), url)


def trust(cluster: Cluster, found: Facts, url: str) -> Undo:
    """Allow connectors to ``url`` with one call; send no call if they are already allowed.

    Raises:
        PipelineNotInstalled: the address is private, and this version cannot allow private addresses.
    """
    settings, undo = _read(cluster), Undo()
    changes: dict[str, dict[str, Any]] = {}

    def append(name: str) -> None:
        entries, scope = settings.entries(name), settings.where(name)
        if allows(entries, url):
            return
        pattern = bodies.trusted_regex(url)
        changes.setdefault(scope or "persistent", {})[name] = [*entries, pattern]
        undo.added[name] = [pattern]
        if scope is None:
            undo.unset[name] = len(entries)

    append(bodies.TRUSTED)
    if is_private(url):
        if found.version < facts.PRIVATE_IP_SINCE:
            raise PipelineNotInstalled(
                f"the gateway {url} has a private address, which {found.name} never calls; 2.15 can be told to. "
                "Upgrade, or give the gateway a public name"
            )
        was_enabled = str(settings.value(bodies.PRIVATE_IP)).lower() == "true"
        if not was_enabled:
            scope = settings.where(bodies.PRIVATE_IP)
            changes.setdefault(scope or "persistent", {})[bodies.PRIVATE_IP] = True
            undo.private_ip = "false" if scope else "unset"
        # An empty list allows every private address: an entry would block the addresses that others use.
        if found.version >= facts.PRIVATE_REGEX_SINCE and (not was_enabled or settings.entries(bodies.TRUSTED_PRIVATE)):
            append(bodies.TRUSTED_PRIVATE)
    if changes:
        cluster.write("PUT", "/_cluster/settings", changes)
    return undo


def distrust(cluster: Cluster, undo: Undo) -> None:
    """Undo exactly the changes in ``undo``, with one call; later changes by others are kept."""
    settings = _read(cluster)
    changes: dict[str, dict[str, Any]] = {}
    for name, patterns in undo.added.items():
        scope = settings.where(name)
        entries = settings.entries(name)
        kept = [entry for entry in entries if entry not in patterns]
        if scope is None or kept == entries:
            continue
        was_default = name in undo.unset and len(kept) == undo.unset[name]
        changes.setdefault(scope, {})[name] = None if was_default else kept
    if undo.private_ip and (scope := settings.where(bodies.PRIVATE_IP)):
        changes.setdefault(scope, {})[bodies.PRIVATE_IP] = None if undo.private_ip == "unset" else False
    if changes:
        cluster.write("PUT", "/_cluster/settings", changes)
