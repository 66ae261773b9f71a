"""Move an alias from the old index to the new one, atomically, and only on a pass of an audit that still holds.

Nothing is deleted: the old index stays for the way back, which is printed.
"""

import json
from dataclasses import dataclass

from connector.audit.access import Sides
from connector.audit.differences import index_name
from connector.audit.folder import Folder
from connector.audit.spec import Json
from connector.audit.state import read_state
from slimrank.errors import EngineRefused


@dataclass(frozen=True, slots=True)
class Swap:
    """One request to `_aliases`, and the one that undoes it."""

    alias: str
    actions: list[Json]
    rollback: list[Json]

    def command(self, url: str) -> str:
        """Return the way back as a shell command."""
        body = json.dumps({"actions": self.rollback})
        return f"curl -X POST '{url}/_aliases' -H 'content-type: application/json' -d '{body}'"


def prepare(folder: Folder, sides: Sides, alias: str) -> Swap:
    """Check that the audit passed and still holds, and return the swap.

    Raises:
        EngineRefused: the verdict is no pass, a side changed since, the sides are on two clusters, or the alias is elsewhere.
    """
    verdict = folder.read("report.json")["verdict"]
    if verdict != "pass":
        raise EngineRefused(
            f"the audit's verdict is {verdict}, so alias {alias} stays where it is; see {folder.path / 'report.html'}"
        )
    states = {which: read_state(reached) for which, reached in sides.items()}
    for which, state in states.items():
        if state["fingerprint"] != folder.read(f"{which}.json")["fingerprint"]:
            raise EngineRefused(
                f"{state['asked']} ({which}) changed since the audit (fingerprint {state['fingerprint']}), "
                "so its verdict no longer holds; audit again in another folder"
            )
    if sides.before.side.url.rstrip("/") != sides.after.side.url.rstrip("/"):
        raise EngineRefused("the two sides are on two clusters, where no alias can move from one to the other")
    return _swap(sides, alias, index_name(states["after"]))


def _swap(sides: Sides, alias: str, new: str) -> Swap:
    found = sides.before.cluster.find(f"/_alias/{alias}")
    if found is None:
        raise EngineRefused(f"there is no alias {alias}; create it on the index in use, so that a swap has something to move")
    old = sorted(found)
    if old == [new]:
        raise EngineRefused(f"alias {alias} already points to {new}")
    properties = {name: index["aliases"][alias] for name, index in found.items()}
    moved = properties[old[0]]
    return Swap(
        alias,
        [
            *({"remove": {"index": name, "alias": alias, "must_exist": True}} for name in old),
            {"add": {"index": new, "alias": alias, **moved}},
        ],
        [
            {"remove": {"index": new, "alias": alias, "must_exist": True}},
            *({"add": {"index": name, "alias": alias, **properties[name]}} for name in old),
        ],
    )


def perform(swap: Swap, sides: Sides) -> None:
    """Send the swap: one request, which the cluster applies whole or not at all."""
    sides.after.cluster.write("POST", "/_aliases", {"actions": swap.actions})
