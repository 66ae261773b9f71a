"""The record that an installation keeps in its connector's description, because there is no state outside the cluster.

It holds a fingerprint of the installation, check digits of the gateway's key, and the changes of the cluster's settings.
OpenSearch 3 allows letters, digits and .,!?():@-_'/" in a description, so the changes are base64.
"""

import base64
import json
import re
from dataclasses import dataclass, field

from connector.opensearch.trust import Undo

MARK = "Made by slimrank connect."


@dataclass(frozen=True, slots=True)
class Record:
    """What was installed; ``key`` is empty if there was no key, or if an earlier version recorded none."""

    spec: str = ""
    key: str = ""
    undo: Undo = field(default_factory=Undo)

    def as_description(self) -> str:
        """Return the text that ``read_record`` reads."""
        undo = base64.urlsafe_b64encode(json.dumps(self.undo.as_json()).encode()).decode().rstrip("=")
        return f"{MARK} spec {self.spec} {f'key {self.key} ' if self.key else ''}undo {undo}"


def read_record(description: str) -> Record:
    """Return the record in a description; an empty record if the description is not in our form."""
    noted = re.fullmatch(re.escape(MARK) + r" spec (\w+) (?:key (\w+) )?undo ([\w-]+)", description)
    if not noted:
        return Record()
    undo = json.loads(base64.urlsafe_b64decode(noted[3] + "=" * (-len(noted[3]) % 4)))
    return Record(noted[1], noted[2] or "", Undo(**undo))
