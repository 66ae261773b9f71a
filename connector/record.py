"""What an installation notes about itself in its connector's description, since there is no state outside the cluster.

Three things: a fingerprint of what was installed, a check of the gateway's key, and what was changed in the cluster's
settings. OpenSearch 3 allows letters, digits and .,!?():@-_'/" there, so the last is base64.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field

from connector.trust import Undo

MARK = "Made by slimrank connect."
_CHECK_DIGITS = 3
"""Twelve bits: enough to see nearly every change of key, and far too few to find a key by."""


@dataclass(frozen=True, slots=True)
class Record:
    """What was installed; `key` is empty where no key was given, or an earlier version noted none."""

    spec: str = ""
    key: str = ""
    undo: Undo = field(default_factory=Undo)

    def as_description(self) -> str:
        """Return the text that `read` reads again."""
        undo = base64.urlsafe_b64encode(json.dumps(self.undo.as_json()).encode()).decode().rstrip("=")
        return f"{MARK} spec {self.spec} {f'key {self.key} ' if self.key else ''}undo {undo}"


def key_check(spec: str, key: str) -> str:
    """Return three digits by which a changed key is seen."""
    return hashlib.sha256(f"{spec}\0{key}".encode()).hexdigest()[:_CHECK_DIGITS]


def read_record(description: str) -> Record:
    """Return what a description holds; an empty record where it is not in our form."""
    noted = re.fullmatch(re.escape(MARK) + r" spec (\w+) (?:key (\w+) )?undo ([\w-]+)", description)
    if not noted:
        return Record()
    undo = json.loads(base64.urlsafe_b64decode(noted[3] + "=" * (-len(noted[3]) % 4)))
    return Record(noted[1], noted[2] or "", Undo(**undo))
