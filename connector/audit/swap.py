"""Move an alias from the old index to the new index in one atomic request, only if the audit passed and is still valid.

Nothing is deleted: the old index is kept, and the command that moves the alias back is printed.
"""

import json
from dataclasses import dataclass

from connector.audit.ask.access import Sides
from connector.audit.ask.state import read_state
from connector.audit.compare.differences import index_name
from connector.audit.folder import Folder
from slimrank.errors import EngineRefused
from slimrank.types import Json


@dataclass(frozen=True, slots=True)
class Swap:
    """A request to ``_aliases``, and the request that undoes it."""

    alias: str
    actions: list[Json]
    rollback: list[Json]

    def command(self, url: str) -> str:
        """Return a shell command that moves the alias back."""
        body = json.dumps({"actions": self.rollback})
        return f"curl -X POST '{url}/_aliases' -H 'content-type: application/json' -d '{body}'"


def prepare(folder: Folder, sides: Sides, alias: str) -> Swap:
    """Check that the audit passed and is still valid, and return the swap.

    Raises:
        EngineRefused: the verdict is not a pass, a side changed since, the sides are on two clusters, or the alias has another
            target.
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
                "so its verdict is no longer valid; audit again in another folder"
            )
    if sides.before.side.url.rstrip("/") != sides.after.side.url.rstrip("/"):
        raise EngineRefused("the two sides are on two clusters, and an alias cannot move from one cluster to another")
    return _swap(sides, alias, index_name(states["after"]))


def _swap(sides: Sides, alias: str, new: str) -> Swap:
    found = sides.before.cluster.find(f"/_alias/{alias}")
    if found is None:
        raise EngineRefused(f"there is no alias {alias}; create it on the index in use first")
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
    """Send the swap as one request, which the cluster applies completely or not at all."""
    sides.after.cluster.write("POST", "/_aliases", {"actions": swap.actions})
