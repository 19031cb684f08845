"""When chunks ran: what is drawn of it adds up to what ran."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from batch_predict.report.timeline import place_of, timeline_of
from support.report_records import flights_run, report


@pytest.fixture(scope="module")
def timeline():
    return timeline_of(flights_run())


@pytest.mark.parametrize("bins", [1, 7, 80])
def test_the_speed_adds_up_to_the_rows(timeline, bins):
    edges = timeline.edges(bins)
    assert (timeline.rows_per_second(edges) * np.diff(edges)).sum() == pytest.approx(timeline.rows.sum())


def test_chunks_at_work_add_up_to_their_time(timeline):
    edges = timeline.edges(80)
    assert (timeline.at_work(edges) * np.diff(edges)).sum() == pytest.approx(timeline.seconds.sum())
    assert (timeline.at_work(edges, cold=True) * np.diff(edges)).sum() == pytest.approx(timeline.seconds[timeline.cold].sum())
    assert timeline.at_work(edges).max() == pytest.approx(12)  # chunks at once


def test_times_count_from_the_beginning_of_the_execution(timeline):
    assert timeline.started[0] == pytest.approx(3.2, abs=0.001)
    assert timeline.seconds[0] == pytest.approx(report()["timeline"]["milliseconds"][0] / 1000)
    assert timeline.attempts[[0, 3, 21]].tolist() == [1, 2, 3]


def test_chunks_of_earlier_executions_are_counted_and_left_out():
    columns = report()["timeline"]
    columns["started"][:3] = [started - 60_000 for started in columns["started"][:3]]
    timeline = timeline_of(flights_run(report=report(timeline=columns)))
    assert (timeline.reused, len(timeline)) == (3, 41)
    assert timeline.chunk_index[0] == 3
    assert timeline.places[0] == "s3://flights-data/flights/2013/04.csv bytes=[2,400,000, 3,200,000)"


def test_a_clock_that_differs_makes_no_earlier_execution():
    run = flights_run()
    timeline = timeline_of(replace(run, started=run.started + timedelta(seconds=5)))
    assert timeline.reused == 0
    assert timeline.started.min() == 0.0


def test_an_invocation_of_no_time_is_no_division_by_zero():
    columns = {**report(1)["timeline"], "milliseconds": [0]}
    timeline = timeline_of(flights_run(report=report(1, timeline=columns)))
    assert np.isfinite(timeline.rows_per_second(timeline.edges(80))).all()


def test_the_slowest_come_first(timeline):
    assert timeline.seconds[timeline.slowest(5)].tolist() == sorted(timeline.seconds.tolist(), reverse=True)[:5]


def test_a_run_without_timeline_has_none():
    assert timeline_of(flights_run(report=None)) is None
    assert timeline_of(flights_run(report=report(timeline=None))) is None


def test_a_place_is_a_range_or_a_list_of_objects():
    assert place_of({"data_s3_uri": "s3://b/k", "byte_range": [0, 1500]}) == "s3://b/k bytes=[0, 1,500)"
    assert place_of({"data_s3_uri": "s3://b/k", "byte_range": None}) == "s3://b/k"
    assert place_of({"segments_s3_uri": "s3://b/1.json"}) == "the objects of s3://b/1.json"
    assert place_of({"data_s3_uri": None}) == "a group of whole objects"
