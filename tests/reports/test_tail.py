"""Percentiles of latencies in tables and choices."""

from __future__ import annotations

import csv
import io
import json

import pytest
from helpers.choices import chosen
from helpers.throughput_rows import GPU, ROWS, in_terminal, row, timed
from hypothesis import given
from hypothesis import strategies as st

from fgbench_reports.advice import sweep_command
from fgbench_reports.choose.bounds import INTERVAL, NO_UPPER_END, tail_bounds
from fgbench_reports.choose.choice import MISSES, UNCERTAIN
from fgbench_reports.choose.choice_table import choice_notes, choice_rows, choice_tables, uncertain_frame
from fgbench_reports.choose.limits import Limits
from fgbench_reports.data import Data
from fgbench_reports.measured.throughput import Throughput, throughput_tables
from fgbench_reports.tables import render

MS = 1e-3
P99_WITHIN_20_MS = Limits(max_latency_s=20 * MS, percentile=99)


def tailed(p99: float | None, ends=None, *, asked_for=368, batch=1, median=5 * MS, load=None, **fields):
    """A row with these percentiles, in seconds."""
    seen = {"percentiles": {"samples": 400, "asked_for": asked_for, **({"p99": ends} if ends else {})}}
    missing = (
        {} if p99 else {"latency_p99_s": "p99 needs 368 samples, and there are 40; a longer --max-time takes more"}
    )
    return row(
        batch=batch,
        img_s=batch / median,
        latency_p50_s=median,
        latency_p95_s=median * 1.2,
        latency_p99_s=p99,
        environment={**GPU, "seen": seen, "missing": missing, **(load or {})},
        **fields,
    )


def told(measured, limits=P99_WITHIN_20_MS) -> list[tuple[str, tuple[str, ...]]]:
    verdicts = chosen(measured, limits).verdicts
    return [(one.word, tuple(breach.told for breach in (*one.breaches, *one.doubts))) for one in verdicts]


def test_the_upper_end_of_the_percentile_is_held_against_the_limit():
    assert told([tailed(18 * MS, [17 * MS, 19 * MS])]) == [("keeps", ())]
    inside = "p99 of the latency 18.00 ms, 95 % interval from 17.00 ms to 21.00 ms: 20.00 ms lies inside"
    assert told([tailed(18 * MS, [17 * MS, 21 * MS])]) == [(UNCERTAIN, (inside,))]
    assert told([tailed(24 * MS, [21 * MS, 30 * MS])]) == [(MISSES, ("p99 of the latency 24.00 ms > 20.00 ms",))]


def test_without_an_upper_end_the_figure_counts():
    (point,) = chosen([tailed(18 * MS, [17 * MS, None])]).verdicts
    bounds = tail_bounds(point.configuration, 99)
    assert (bounds.low, bounds.high, bounds.basis) == (17 * MS, 18 * MS, NO_UPPER_END)
    assert told([tailed(18 * MS, [17 * MS, None]), tailed(19 * MS, batch=2)]) == [("keeps", ())] * 2
    assert told([tailed(22 * MS, [21 * MS, None])]) == [(MISSES, ("p99 of the latency 22.00 ms > 20.00 ms",))]


def test_repeats_have_the_outermost_ends():
    repeats = [
        tailed(18 * MS, [17 * MS, 19 * MS], repeat=1),
        tailed(19 * MS, [16 * MS, 23 * MS], median=5.1 * MS, repeat=2),
    ]
    (point,) = chosen(repeats).verdicts
    bounds = tail_bounds(point.configuration, 99)
    assert (bounds.low, bounds.high, bounds.basis) == (16 * MS, 23 * MS, INTERVAL)


def test_what_was_not_measured_is_not_judged_and_the_command_that_measures_it_is_named():
    choice = chosen([tailed(None, batch=2), tailed(None, batch=4, asked_for=0)], P99_WITHIN_20_MS)
    assert [one.word for one in choice.verdicts] == [UNCERTAIN] * 2
    notes = "\n".join(choice_notes(choice))
    why = "p99 needs 368 samples, and there are 40; "
    assert f"Not judged, as the p99 of the latency is not known (glsim at 224, batches 4, 2): {why}'fgbench" in notes
    assert "--batch-sizes 4 2 --tail --max-time 60s --again' measures it." in notes
    assert "too uncertain: '" not in notes


def test_the_reason_of_an_unknown_percentile_is_told_and_not_the_status():
    contended = tailed(None, status="contended", reason="something else used the device")
    (line,) = uncertain_frame(chosen([contended], P99_WITHIN_20_MS))["why"]
    assert line == "p99 of the latency is not known: p99 needs 368 samples, and there are 40"
    doubtful = tailed(18 * MS, [17 * MS, 21 * MS], status="contended", reason="something else used the device")
    (line,) = uncertain_frame(chosen([doubtful], P99_WITHIN_20_MS))["why"]
    assert line.endswith(" lies inside (contended)")
    several = [tailed(None, batch=1), tailed(None, batch=2)]
    missing = several[1]["environment"]["missing"]
    missing["latency_p99_s"] = missing["latency_p99_s"].replace("40", "90")
    assert "p99 needs 368 samples, and there are 40 to 90; " in "\n".join(
        choice_notes(chosen(several, P99_WITHIN_20_MS))
    )


def test_rows_of_an_earlier_version_are_measured_anew_and_then_left_as_they_are():
    older = row(img_s=200.0, environment={**GPU, "code": "an older one"})
    (note,) = (note for note in choice_notes(chosen([older], P99_WITHIN_20_MS)) if "Not judged" in note)
    assert "the row is of an earlier version, which kept no percentiles; 'fgbench throughput" in note
    choice = chosen([older, tailed(18 * MS, [17 * MS, 19 * MS])], P99_WITHIN_20_MS)
    assert [one.word for one in choice.verdicts] == ["keeps", UNCERTAIN]
    (note,) = (note for note in choice_notes(choice) if "Not judged" in note)
    assert note.endswith("other rows of the same points, of other code or versions, have it.")
    assert "fgbench throughput" not in note


def test_a_point_is_measured_for_longer_than_before():
    tried = {**tailed(None), "environment": {**tailed(None)["environment"], "max_time_s": 100.0}}
    assert "--tail --max-time 150s --again'" in "\n".join(choice_notes(chosen([tried], P99_WITHIN_20_MS)))
    odd = {**tried, "environment": {**tried["environment"], "max_time_s": float("inf")}}
    assert "--tail --max-time 60s --again'" in "\n".join(choice_notes(chosen([odd], P99_WITHIN_20_MS)))


def test_a_slow_model_is_given_the_time_that_its_iterations_take():
    notes = "\n".join(choice_notes(chosen([tailed(None, median=1.0)], Limits(max_latency_s=3.0, percentile=99))))
    assert "--tail --max-time 500s --again'" in notes


def test_a_median_above_the_limit_rules_out_what_has_no_percentile():
    assert told([tailed(None, median=30 * MS)]) == [(MISSES, ("latency 30.00 ms > 20.00 ms at the median",))]


def test_the_median_is_judged_where_no_percentile_is_asked_for():
    assert told([tailed(18 * MS, [17 * MS, 21 * MS])], Limits(max_latency_s=20 * MS)) == [("keeps", ())]


def test_a_percentile_needs_a_limit():
    with pytest.raises(ValueError, match="--percentile 95 says which latency is limited; give one with --max-latency"):
        chosen([tailed(18 * MS)], Limits(percentile=95))


def test_the_front_shows_the_percentile_that_is_limited():
    choice = chosen([tailed(18 * MS, [17 * MS, 19 * MS]), tailed(19 * MS, [16 * MS, None], batch=2)], P99_WITHIN_20_MS)
    shown = render.render(choice_tables(choice), "markdown")
    assert "p99 ms" in shown
    assert "17.00–19.00" in shown
    assert "16.00–?" in shown
    first = choice_rows(choice)[-1]
    assert (first["latency_p99_s"], first["latency_p99_low_s"], first["latency_p99_high_s"]) == (
        18 * MS,
        17 * MS,
        19 * MS,
    )
    plain = chosen([tailed(18 * MS, [17 * MS, 19 * MS])], Limits(max_latency_s=20 * MS))
    assert "p99" not in render.render(choice_tables(plain), "markdown")


def test_a_command_measures_under_the_same_load():
    load = {"concurrency": 2, "rate_per_s": 50.0}
    unknown = [tailed(None, load=load)]
    notes = "\n".join(choice_notes(chosen(unknown, P99_WITHIN_20_MS)))
    assert "--concurrency 2 --rate 50/s --tail" in notes
    assert "--concurrency 2 --rate 50" in sweep_command(timed(unknown))


def test_tables_show_percentiles_only_where_they_were_asked_for():
    asked, unasked = tailed(18 * MS, [17 * MS, 19 * MS]), tailed(18 * MS, [17 * MS, 19 * MS], asked_for=0)
    with_tail = in_terminal(throughput_tables([asked]).narrow)
    assert "18.00" in with_tail
    assert "p99" not in in_terminal(throughput_tables([unasked]).narrow)
    assert "p99" not in render.render(throughput_tables([unasked]), "markdown")
    assert "p99" in render.render(throughput_tables([asked]), "markdown")
    (shown,), (hidden,) = (list(Throughput().items(Data(throughput=[one]))) for one in (asked, unasked))
    assert "p99 ms" in shown.printed
    assert "p99 ms" not in hidden.printed


def test_data_formats_always_have_them():
    unasked = [tailed(18 * MS, asked_for=0)]
    (line,) = csv.DictReader(io.StringIO(render.render(throughput_tables(unasked), "csv")))
    assert float(line["latency_p99_s"]) == 18 * MS
    assert json.loads(render.render(throughput_tables(unasked), "json"))[0]["latency_p99_s"] == 18 * MS


def test_reasons_that_differ_in_their_numbers_are_one_note():
    measured = [tailed(None, batch=1), tailed(None, batch=2)]
    measured[1]["environment"]["missing"]["latency_p99_s"] = measured[0]["environment"]["missing"][
        "latency_p99_s"
    ].replace("40", "90")
    notes = [note for note in throughput_tables(measured).notes if note.startswith("No p99")]
    assert notes == ["No p99: p99 needs 368 samples, and there are 40 to 90; a longer --max-time takes more"]


def test_a_queue_that_grows_has_no_figure_in_the_table():
    growing = row(
        img_s=None,
        status="unconverged",
        reason="the queue grows: 50/s arrive and 31/s are served",
        environment={**GPU, "rate_per_s": 50.0, "seen": {"percentiles": {"samples": 0, "asked_for": 368}}},
    )
    shown = in_terminal(throughput_tables([*ROWS, growing]).narrow, throughput_tables([growing]).notes)
    assert "eager · 50/s" in shown
    assert "the queue grows: 50/s arrive and 31/s are served" in shown
    assert chosen([growing]).verdicts == []


@given(
    p99=st.floats(1e-4, 10.0),
    ends=st.none() | st.lists(st.none() | st.floats(1e-4, 10.0), max_size=3) | st.text(max_size=3),
)
def test_any_ends_of_a_file_can_be_read(p99, ends):
    (point,) = chosen([tailed(p99, ends)]).verdicts
    bounds = tail_bounds(point.configuration, 99)
    assert bounds.low <= bounds.value <= bounds.high
