"""Write the verdict as JUnit XML, with one case for each rule and each golden query, so that a build server shows failures."""

import re
from xml.etree import ElementTree as xml

from slimrank.types import Json

_FORBIDDEN = re.compile("[^\t\n\r\u0020-\u007e\u00a0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters of https://www.w3.org/TR/xml/#charsets, without the C1 controls that it discourages."""


def to_junit(report: Json) -> str:
    """Return the XML. A warning is a passed case with the message in its output; a rule without data is a skipped case."""
    cases = [_rule(finding) for finding in report["findings"]] + [_golden(golden) for golden in report["golden"]]
    suite = xml.Element("testsuite", name=_printable(f"audit {report['name']}"), tests=str(len(cases)))
    suite.set("failures", str(sum(case.find("failure") is not None for case in cases)))
    suite.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
    suite.extend(cases)
    root = xml.Element("testsuites")
    root.append(suite)
    xml.indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + xml.tostring(root, encoding="unicode") + "\n"


def _rule(finding: Json) -> xml.Element:
    case = xml.Element("testcase", classname="rules", name=_printable(finding["rule"]))
    message = _printable(finding["message"])
    match finding["outcome"]:
        case "fail":
            xml.SubElement(case, "failure", message=message).text = message
        case "not measured":
            xml.SubElement(case, "skipped", message=message)
        case _:
            xml.SubElement(case, "system-out").text = f"{finding['outcome']}: {message}"
    return case


def _golden(golden: Json) -> xml.Element:
    case = xml.Element("testcase", classname="golden queries", name=_printable(golden["query"]))
    if golden["broken"]:
        xml.SubElement(case, "failure", message="this golden query is broken").text = _printable(golden["query_id"])
    return case


def _printable(text: str) -> str:
    """Remove characters that XML 1.0 cannot represent: control characters and halves of surrogate pairs."""
    return _FORBIDDEN.sub("", text)
