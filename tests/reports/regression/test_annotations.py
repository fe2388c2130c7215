"""Annotations, parsed like in GitHub's runner."""

from __future__ import annotations

from helpers.regression_outcomes import EXAMPLE, HOSTILE, HOSTILE_OUTCOME, VERDICTS, counted, many, of, timed

from fgbench_reports.regression.annotations import to_annotations
from fgbench_reports.regression.findings import CHANGED, FASTER, INCONCLUSIVE, NEW, SAME, SLOWER, Outcome


def runner(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Level, properties and data of each line: actions/runner, ActionCommand.TryParseV2."""
    commands = []
    for line in text.splitlines():
        assert line.startswith("::")
        info, data = line[2:].split("::", 1)
        level, _, properties = info.partition(" ")
        pairs = dict(each.split("=", 1) for each in properties.split(",") if each)
        codes = {"%0D": "\r", "%0A": "\n", "%3A": ":", "%2C": ",", "%25": "%"}
        commands.append((level, {name: _unescaped(value, codes) for name, value in pairs.items()},
                         _unescaped(data, {code: codes[code] for code in ("%0D", "%0A", "%25")})))  # fmt: skip
    return commands


def _unescaped(text: str, codes: dict[str, str]) -> str:
    for code, letter in codes.items():
        text = text.replace(code, letter)
    return text


def test_the_annotations(same_as_snapshot):
    same_as_snapshot("annotations.txt", to_annotations(EXAMPLE, file="reports/baseline.json"))


def test_the_runner_reads_back_what_was_said():
    reason = "100 %, said: a::b\r\nsecond line %0A"
    slower = timed("a, b: 5 %", SLOWER, 0.051, reason=reason)
    (command,) = runner(to_annotations(Outcome(findings=[slower]), file="a,b:c.py"))
    assert command == (
        "error",
        {"title": "slower: latency of a, b: 5 %", "file": "a,b:c.py"},
        f"a, b: 5 %: latency 34.20 ms → 35.94 ms, +5.1 %, slower\n{reason}",
    )


def test_hostile_names_are_neither_properties_nor_commands():
    for level, properties, message in runner(to_annotations(HOSTILE_OUTCOME, file=HOSTILE)):
        assert level in ("error", "warning", "notice")
        assert set(properties) == {"title", "file"}
        assert "=1+1|_a_&amp;[red]<b>*" in properties["title"]
        assert "##[set-env]" in message


def test_without_a_file_there_is_none():
    assert {tuple(properties) for _, properties, _ in runner(to_annotations(EXAMPLE))} == {("title",)}


def test_ten_are_all_shown_and_of_eleven_the_tenth_says_how_many_more():
    found = [counted(f"model{n}", CHANGED, 1000, 1100 + n) for n in range(11)]
    ten = runner(to_annotations(Outcome(findings=found[:10])))
    assert len(ten) == 10
    assert "model9" in ten[0][1]["title"]  # the longest change comes first
    eleven = runner(to_annotations(Outcome(findings=found)))
    assert len(eleven) == 10
    assert "model10" in eleven[0][1]["title"]
    assert eleven[-1][1]["title"] == "2 more"


def test_thousands_never_take_more_than_ten_of_a_level():
    levels = [level for level, _, _ in runner(to_annotations(many()))]
    assert {level: levels.count(level) for level in set(levels)} == {"error": 10, "warning": 2, "notice": 10}


def test_points_of_one_reason_share_a_warning():
    findings = [timed(f"m{n}", INCONCLUSIVE, 0.01, reason=f"the spread is 1.{n} %") for n in range(1000)]
    ((level, properties, message),) = runner(to_annotations(Outcome(findings=findings)))
    assert (level, properties["title"]) == ("warning", "inconclusive: 1000 figures")
    assert message == "latency of m0, m1, m2 and 997 more points\nthe spread is 1.0 to 1.999 %"


def test_what_is_faster_is_not_hidden_behind_what_is_new():
    told = runner(to_annotations(Outcome(findings=[*many(1000, NEW).findings, of(FASTER, "quick")])))
    assert [properties["title"] for _, properties, _ in told] == ["faster: latency of quick", "new: 1000 figures"]


def test_what_is_the_same_is_not_told():
    assert to_annotations(Outcome(findings=[of(SAME)])) == ""
    assert len(runner(to_annotations(Outcome(findings=[of(verdict) for verdict in VERDICTS])))) == len(VERDICTS) - 1


def test_long_texts_are_cut_to_what_is_taken():
    ((_, properties, message),) = runner(to_annotations(Outcome(findings=[of(CHANGED, "x" * 70_000, "y" * 70_000)])))
    assert len(properties["title"]) <= 255
    assert len(message) <= 2000
