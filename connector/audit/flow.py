"""Run the whole audit in one call, as ``slimrank audit gate`` does; every step writes its files."""

from collections.abc import Callable

from connector.audit.ask.access import Access, Sides
from connector.audit.ask.plan import make_plan
from connector.audit.ask.run import Progress, run_audit
from connector.audit.folder import Folder
from connector.audit.judge.judging import judge_all
from connector.audit.report.contents import build, examine
from connector.audit.report.junit import to_junit
from connector.audit.report.page import to_html
from connector.audit.spec import Spec
from slimrank.files import replace_text
from slimrank.types import Json

Steps = Callable[[str], Progress]
"""A function that takes the name of a step and returns the function that reports the step's progress."""


def _silent(step: str) -> Progress:
    return lambda done, total: None


def audit(spec: Spec, folder: Folder, access: Access, progress: Steps = _silent) -> Json:
    """Plan, run, judge and report; return the report. Steps that are already done are not repeated."""
    with folder.at_work(begins=True), access.reach(spec) as sides:
        make_plan(spec, folder, sides)
        run_audit(folder, sides, progress("ask both sides"))
        return conclude(folder, sides, access, progress)


def conclude(folder: Folder, sides: Sides, access: Access, progress: Steps) -> Json:
    """Judge and report a complete run."""
    folder.require_answers()
    examine(folder, sides)
    judge_all(folder, access, sides.before.cluster, progress)
    return write_report(folder)


def write_report(folder: Folder) -> Json:
    """Write report.json, junit.xml and report.html; return the report."""
    report = build(folder)
    folder.write("report.json", report)
    for name, text in (("junit.xml", to_junit(report)), ("report.html", to_html(report, folder))):
        with replace_text(folder.path / name) as file:
            file.write(text)
    return report
