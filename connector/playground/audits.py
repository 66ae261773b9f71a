"""List the audits in a folder, with their progress and their results. Only reads.

``slimrank audit`` makes and runs an audit; every step writes its result to disk. This module reads only these files, so it also
shows the progress of a run on another machine that shares the folder.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from connector.audit.folder import Folder
from slimrank.errors import DataError

PLAN_FILE, REPORT_FILE, PAGE_FILE = "plan.json", "report.json", "report.html"

Step = Literal["planned", "asking", "asked", "reported"]


@dataclass(frozen=True, slots=True)
class AuditSummary:
    """One audit, as the list shows it."""

    name: str
    before: str
    after: str
    queries: int
    step: Step
    share_done: float
    """The share of queries that were asked, from 0 to 1."""
    verdict: str | None
    changed: int | None
    """The number of queries whose hits changed."""


def list_audits(root: Path) -> list[AuditSummary]:
    """Return the audits below ``root``, the last changed first; other folders are skipped."""
    folders = sorted((file.parent for file in root.glob(f"*/{PLAN_FILE}")), key=_touched, reverse=True)
    found = []
    for folder in folders:
        try:
            found.append(_summarise(Folder(folder)))
        except (DataError, OSError, ValueError, KeyError, TypeError):
            continue  # incomplete, or of another version: a later call may find it complete
    return found


def page_of(root: Path, name: str) -> Path | None:
    """Return an audit's report page, or None; ``name`` is the name of a folder and never a path."""
    page = root / name / PAGE_FILE
    return page if page.parent.parent == root and page.is_file() and name not in (".", "..") else None


def _touched(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.glob("*.json"), folder / "answers") if path.exists())


def _summarise(folder: Folder) -> AuditSummary:
    spec, chunks = folder.spec, len(folder.chunks)
    done = chunks - len(folder.missing_chunks())
    report = folder.read(REPORT_FILE) if folder.has(REPORT_FILE) else None
    step: Step = "reported" if report else "asked" if done == chunks else "asking" if done else "planned"
    return AuditSummary(
        name=folder.path.name,
        before=spec.before.index,
        after=spec.after.index,
        queries=int(folder.plan["queries"]),
        step=step,
        share_done=done / chunks if chunks else 1.0,
        verdict=str(report["verdict"]) if report else None,
        changed=int(report["queries"]["changed"]) if report else None,
    )
