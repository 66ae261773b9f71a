"""API keys: who may ask, which models, how often.

The file named by ``SLIMRANK_API_KEYS_FILE`` holds hashes, never keys; ``slimrank keys`` writes it:

    {"keys": [{"name": "shop", "sha256": "9f86...", "models": ["slimrank-135m"], "requests_per_minute": 600}]}

``models`` and ``requests_per_minute`` may be left out. The file is read again when it changes, so
keys are added and withdrawn without a restart; while it does not read, the last good one counts.
A key is 256 random bits, so one SHA-256 is enough to keep it.
"""

import hmac
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from time import monotonic
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from slimrank.errors import ConfigError, DataError, InvalidRequest, Overloaded
from slimrank.files import read_text, replace_text

log = logging.getLogger(__name__)

RELOAD_SECONDS = 1.0


class KeyEntry(BaseModel):
    """One key of the file."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(pattern=r"^[\w.@ -]{1,100}$")]
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    models: list[str] | None = None
    requests_per_minute: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None


class _KeyFile(BaseModel):
    model_config = ConfigDict(extra="forbid")

    keys: list[KeyEntry]


@dataclass(slots=True)
class _Allowance:
    """A token bucket that holds at most ten seconds' worth, and at least one; below nothing it is owed."""

    left: float
    seen: float


@dataclass(slots=True)
class KeyRing:
    """The keys of a file, as they are now.

    Args:
        path: The file; None lets everyone in.
        clock: Seconds, monotonic.
    """

    path: Path | None
    clock: Callable[[], float] = monotonic
    _entries: list[KeyEntry] = field(default_factory=list)
    _allowances: dict[str, _Allowance] = field(default_factory=dict)
    _stamp: tuple[int, int] = (0, 0)
    _looked: float = float("-inf")

    def __post_init__(self) -> None:
        """Read the file.

        Raises:
            ConfigError: it does not read.
        """
        if self.path is not None:
            self._entries, self._stamp = read_keys(self.path), _stamp(self.path)

    def admit(self, authorization: str | None) -> KeyEntry | None:
        """Return the entry of the key presented, or None where no keys are asked for.

        Raises:
            InvalidRequest: there is no key, or not one of ours (401).
            Overloaded: the key has been used too often within the last minute.
        """
        if self.path is None:
            return None
        self._reload_when_changed(self.path)
        entry = self._find(authorization)
        if entry is None:
            raise InvalidRequest("this gateway needs an API key; send the header `Authorization: Bearer <key>`", status=401)
        self._spend(entry)
        return entry

    def _find(self, authorization: str | None) -> KeyEntry | None:
        scheme, _, key = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            return None
        digest = sha256(key.strip().encode("utf-8", "replace")).hexdigest()
        found = None
        for entry in self._entries:  # all of them, whichever fits: how long it takes tells nothing
            if hmac.compare_digest(entry.sha256, digest):
                found = entry
        return found

    def _spend(self, entry: KeyEntry) -> None:
        if entry.requests_per_minute is None:
            return
        now, rate = self.clock(), entry.requests_per_minute / 60
        most = max(1.0, 10 * rate)
        allowance = self._allowances.setdefault(entry.name, _Allowance(most, now))
        allowance.left = min(most, allowance.left + (now - allowance.seen) * rate)
        allowance.seen = now
        if allowance.left < 1:
            wait = (1 - allowance.left) / rate
            raise Overloaded(
                f"the key {entry.name} may ask {entry.requests_per_minute:g} times a minute; wait {wait:.0f} s",
                retry_after_seconds=wait,
            )
        allowance.left -= 1

    def charge(self, entry: KeyEntry, units: int) -> None:
        """Count a request of many documents as many: what a key owes is waited for before its next request."""
        if entry.requests_per_minute is not None and (allowance := self._allowances.get(entry.name)) is not None:
            allowance.left -= units - 1  # the first was counted when it came

    def _reload_when_changed(self, path: Path) -> None:
        if self.clock() - self._looked < RELOAD_SECONDS:
            return
        self._looked = self.clock()
        try:
            stamp = _stamp(path)
            if stamp == self._stamp:
                return
            self._entries, self._stamp = read_keys(path), stamp
            log.info("reload keys=%d", len(self._entries))
        except (ConfigError, OSError) as error:
            log.error("reload keys failed, the last good ones count: %s", error)


def check_grant(entry: KeyEntry, model: str) -> None:
    """Refuse a model that the key was not granted.

    Raises:
        InvalidRequest: it was not (403).
    """
    if entry.models is not None and model not in entry.models:
        raise InvalidRequest(f'the key {entry.name} is not granted the model "{model}"; ask for one of its own', status=403)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def read_keys(path: Path) -> list[KeyEntry]:
    """Return the entries of a key file.

    Raises:
        ConfigError: it cannot be read, or is no key file.
    """
    try:
        return _KeyFile.model_validate_json(read_text(path)).keys
    except DataError as error:
        raise ConfigError(f"the key file: {error}; make one with `slimrank keys add`, see SLIMRANK_API_KEYS_FILE") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ConfigError(f"the key file {path} is not one: {place}: {first['msg']}; `slimrank keys` writes it") from error


def write_keys(path: Path, entries: Sequence[KeyEntry]) -> None:
    """Write a key file, whole or not at all."""
    with replace_text(path) as file:
        file.write(_KeyFile(keys=list(entries)).model_dump_json(indent=2, exclude_none=True) + "\n")


def new_key(name: str, *, models: Sequence[str] | None = None, requests_per_minute: float | None = None) -> tuple[str, KeyEntry]:
    """Return a new key, which is kept nowhere, and its entry.

    Raises:
        ConfigError: the name or the rate does not fit.
    """
    key = "sr-" + secrets.token_urlsafe(32)
    hashed = sha256(key.encode()).hexdigest()
    try:
        return key, KeyEntry(
            name=name, sha256=hashed, models=list(models) if models else None, requests_per_minute=requests_per_minute
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"a key's {first['loc'][0]}: {first['msg']}; found {str(first['input'])[:40]!r}") from error
