"""JUnit XML for CI systems: a suite per check, a case per point."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from fgbench_reports.regression.findings import COUNTED, FAILING, LISTED, MEMORY, OPEN, TIME, Finding, Outcome
from fgbench_reports.regression.wording import detail, line_of, meaning, verdict_line

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

CHECKS = (COUNTED, TIME, MEMORY)
MAX_REASONS = 5  # in the message of a case, which CI systems show in a list


def to_junit(outcome: Outcome, *, strict: bool = False) -> str:
    """JUnit XML by the schema of Jenkins' xunit plugin, junit-10.xsd, which pytest follows as well.

    A point fails if one of its figures fails. It is skipped, or an error with ``strict``, if a figure is inconclusive
    or has no comparable baseline. The text of a case has all figures of the point. ``time`` is the sum of the samples
    of both sides in seconds. Characters that XML 1.0 forbids are written as escapes.
    """
    from xml.etree.ElementTree import Element, indent, tostring

    root = Element("testsuites", name="fgbench regress")
    checks = dict.fromkeys([*CHECKS, *(finding.check for finding in outcome.findings)])
    for check in checks:
        if found := [finding for finding in outcome.findings if finding.check == check]:
            root.append(_suite(f"fgbench.{line_of(check)}", found, outcome, strict=strict))
    if not outcome.findings:  # CI systems refuse a file without a suite
        root.append(_suite("fgbench.regress", [], outcome, strict=strict))
    for name in ("tests", "failures", "errors"):
        root.set(name, str(sum(int(suite.get(name, 0)) for suite in root)))
    root.set("time", _seconds(outcome.findings))
    indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{tostring(root, encoding="unicode")}\n'


def _suite(name: str, findings: Sequence[Finding], outcome: Outcome, *, strict: bool) -> Element:
    from xml.etree.ElementTree import Element, SubElement

    points: dict[str, list[Finding]] = {}
    for finding in findings:
        points.setdefault(finding.point, []).append(finding)
    suite = Element("testsuite", name=name, tests=str(len(points)))
    properties = SubElement(suite, "properties")
    for key, value in _facts(outcome).items():
        SubElement(properties, "property", name=key, value=value)
    cases = [_case(name, point, some, strict=strict) for point, some in points.items()]
    suite.extend(cases)
    for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(tag) is not None for case in cases)))
    suite.set("time", _seconds(findings))
    if outcome.facts.get("datetime"):
        suite.set("timestamp", line_of(outcome.facts["datetime"]))
    SubElement(suite, "system-out").text = _lines([verdict_line(outcome), *map(line_of, outcome.notes)])
    return suite


def _case(classname: str, point: str, findings: Sequence[Finding], *, strict: bool) -> Element:
    from xml.etree.ElementTree import Element, SubElement

    case = Element("testcase", classname=classname, name=line_of(point) or "–", time=_seconds(findings))
    failing = _having(findings, FAILING)
    told = failing or _having(findings, OPEN)
    if told:
        tag = "failure" if failing else "error" if strict else "skipped"
        result = SubElement(case, tag, type=told[0].verdict, message=_message(told))
        others = (finding for finding in findings if finding.verdict not in (FAILING if failing else OPEN))
        result.text = _lines(map(_figure, [*told, *others]))
    if listed := _having(findings, LISTED):
        SubElement(case, "system-out").text = _lines(map(_figure, listed))
    return case


def _having(findings: Sequence[Finding], verdicts: Sequence[str]) -> list[Finding]:
    """The findings with one of these verdicts, the largest change first."""
    return Outcome(findings=findings).having(*verdicts)


def _message(findings: Sequence[Finding]) -> str:
    left = len(findings) - MAX_REASONS
    more = [f"and {left} more"] if left > 0 else []
    return "; ".join([*(f"{detail(finding)}: {meaning(finding)}" for finding in findings[:MAX_REASONS]), *more])


def _figure(finding: Finding) -> str:
    """A figure: both values, its reason and its samples."""
    lines = [f"{detail(finding)}: {meaning(finding)}"]
    for side, samples in (("before", finding.before_samples), ("after", finding.after_samples)):
        if samples:
            lines.append(f"  seconds {side}: {' '.join(f'{value:.6g}' for value in samples)}")
    return "\n".join(lines)


def _facts(outcome: Outcome) -> Mapping[str, str]:
    facts: dict[str, object] = {"verdict": outcome.verdict, "before": outcome.before, "after": outcome.after}
    facts |= {line_of(name): value for name, value in outcome.facts.items()}
    return {name: _fact(value) for name, value in facts.items() if value not in (None, "")}


def _fact(value: object) -> str:
    return line_of(json.dumps(value, default=str) if isinstance(value, (Mapping, list, tuple)) else value)


def _lines(lines: Iterable[str]) -> str:
    return "\n".join(line for line in lines if line)


def _seconds(findings: Sequence[Finding]) -> str:
    samples = (value for each in findings for value in (*each.before_samples, *each.after_samples))
    return f"{sum(value for value in samples if math.isfinite(value)):.3f}"
