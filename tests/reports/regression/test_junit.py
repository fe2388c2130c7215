"""JUnit XML against the schema of Jenkins' xunit plugin, and its counts against its cases."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
import xmlschema
from helpers.regression_outcomes import EMPTY, EXAMPLE, HOSTILE, HOSTILE_OUTCOME, VERDICTS, counted, many, of, timed
from hypothesis import given, settings
from hypothesis import strategies as st

from fgbench_reports.regression.findings import CHANGED, INCONCLUSIVE, NEW, SAME, SLOWER, Finding, Outcome
from fgbench_reports.regression.junit import to_junit
from fgbench_reports.regression.wording import line_of

OUTCOMES = {"example": EXAMPLE, "empty": EMPTY, "hostile": HOSTILE_OUTCOME, "many": many(50)}
SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("junit-10.xsd"))


def test_the_report(same_as_snapshot):
    same_as_snapshot("junit.xml", to_junit(EXAMPLE))


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize("outcome", OUTCOMES.values(), ids=OUTCOMES)
def test_the_schema_of_jenkins_takes_it(outcome, strict):
    SCHEMA.validate(to_junit(outcome, strict=strict))


def test_the_schema_refuses_what_is_wrong():
    with pytest.raises(xmlschema.XMLSchemaValidationError):
        SCHEMA.validate(to_junit(EXAMPLE).replace("<skipped", "<omitted").replace("</skipped", "</omitted"))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(VERDICTS), st.text(max_size=8), st.text(max_size=30)), max_size=6), st.text())
def test_any_text_is_a_report_that_can_be_read(found, text):
    findings = [of(verdict, point, reason) for verdict, point, reason in found]
    report = to_junit(Outcome(findings=findings, notes=[text], before=text, facts={text: text}))
    names = {case.get("name") for case in ElementTree.fromstring(report.encode()).iter("testcase")}
    assert names == {line_of(point) or "–" for _, point, _ in found}


@pytest.mark.parametrize("strict", [False, True])
def test_counts_are_those_of_the_cases(strict):
    root = ElementTree.fromstring(to_junit(EXAMPLE, strict=strict))
    for suite in root:
        cases = suite.findall("testcase")
        assert int(suite.get("tests")) == len(cases)
        for attribute, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(attribute)) == sum(case.find(tag) is not None for case in cases)
    totals = {name: int(root.get(name)) for name in ("tests", "failures", "errors")}
    assert totals == {"tests": 15, "failures": 5, "errors": 6 if strict else 0}


def test_there_is_a_suite_per_check_and_a_case_per_point():
    root = ElementTree.fromstring(to_junit(EXAMPLE))
    assert [suite.get("name") for suite in root] == ["fgbench.counted", "fgbench.time", "fgbench.memory"]
    for suite in root:
        assert {case.get("classname") for case in suite.findall("testcase")} == {suite.get("name")}
        names = [case.get("name") for case in suite.findall("testcase")]
        assert len(names) == len(set(names))


def test_a_point_that_fails_says_why_and_has_all_of_its_figures():
    found = [
        counted("p", SAME, 5, 5, "params"),
        counted("p", CHANGED, 1000, 1051, reason="one block more"),
        counted("p", CHANGED, 1000, 2000, "flops"),
        counted("p", INCONCLUSIVE, 7, 8, "activation_bytes"),
        counted("p", NEW, None, 9, "mine"),
    ]
    (case,) = ElementTree.fromstring(to_junit(Outcome(findings=found))).iter("testcase")
    assert [child.tag for child in case] == ["failure", "system-out"]
    message = case[0].get("message")
    assert message.startswith("FLOPs 1.00 k → 2.00 k, +100 %, changed: it is exact")
    assert message.endswith("MACs 1.00 k → 1.05 k, +5.1 %, changed: one block more")
    figures = [line.split()[0] for line in case[0].text.splitlines()]
    assert figures == ["FLOPs", "MACs", "parameters", "activations", "mine"]
    assert case[1].text == "mine 9, new: there is nothing yet to compare it with"


def test_a_message_of_many_figures_ends():
    found = [counted("p", CHANGED, 10, 11 + n, f"f{n}") for n in range(40)]
    (case,) = ElementTree.fromstring(to_junit(Outcome(findings=found))).iter("testcase")
    assert case[0].get("message").endswith("; and 35 more")
    assert case[0].get("message").count(", changed: ") == 5
    assert len(case[0].text.splitlines()) == 40


def test_time_is_what_was_measured():
    found = [timed("p", SLOWER, 0.0), of(CHANGED)]
    root = ElementTree.fromstring(to_junit(Outcome(findings=found)))
    seconds = sum(found[0].before_samples) + sum(found[0].after_samples)
    assert [suite.get("time") for suite in root] == ["0.000", f"{seconds:.3f}"]
    assert root[1].find("testcase").get("time") == root.get("time") == f"{seconds:.3f}"
    text = root[1].find("testcase")[0].text
    assert "seconds after: 0.0341 0.0342 0.034 0.0343 0.0342 0.0344 0.0341" in text


def test_facts_and_notes_are_in_every_suite():
    root = ElementTree.fromstring(to_junit(EXAMPLE))
    for suite in root:
        told = {each.get("name"): each.get("value") for each in suite.find("properties")}
        assert told["torch"] == "2.9.0"
        assert (told["verdict"], told["before"]) == ("fail", "reports/baseline.json")
        assert told["settings"] == '{"OMP_PROC_BIND": "true"}'
        assert suite.find("system-out").text.endswith("\ntorch was 2.8.0 before.")
        assert suite.get("timestamp") == "2026-03-01T12:00:00+00:00"


def test_names_are_as_they_were_but_for_what_xml_forbids():
    root = ElementTree.fromstring(to_junit(HOSTILE_OUTCOME))
    names = {case.get("name") for case in root.iter("testcase")}
    assert names == {line_of(f"{verdict} {HOSTILE}") for verdict in VERDICTS}
    assert all("=1+1|_a_&amp;[red]<b>*\\x $y$ @me" in name for name in names)


def test_checks_of_the_future_have_their_suite():
    finding = Finding(check="energy", point="p", figure="joules", verdict=CHANGED, before=1, after=2, change=1.0)
    root = ElementTree.fromstring(to_junit(Outcome(findings=[finding])))
    assert [suite.get("name") for suite in root] == ["fgbench.energy"]
