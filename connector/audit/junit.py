"""The verdict as JUnit XML: one case a rule and one a golden query, so that a build server shows what failed."""

from xml.etree import ElementTree as xml

from connector.audit.spec import Json


def to_junit(report: Json) -> str:
    """Return the XML. A warning is a passed case with its words in the output; a rule without data is skipped."""
    cases = [_rule(finding) for finding in report["findings"]] + [_golden(golden) for golden in report["golden"]]
    suite = xml.Element("testsuite", name=f"audit {report['name']}", tests=str(len(cases)))
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
        xml.SubElement(case, "failure", message="this query must not break, and did").text = golden["query_id"]
    return case


def _printable(text: str) -> str:
    """Leave out control characters, which XML 1.0 cannot hold in any spelling."""
    return "".join(character for character in text if character.isprintable() or character in "\t\n")
