"""The page of a run: what is on it, that nothing is loaded, and that no text of others becomes anything but text."""

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from batch_predict.report import charts
from batch_predict.report.page import TEMPLATES, render
from batch_predict.report.svg import COLOURS
from support.chunk_statistics import number_statistics
from support.report_pages import LACKING, MONTH, RECORDS, SECTIONS, page_of, rendered, with_report, with_statistics
from support.report_records import (
    DEFINITION,
    MESSAGE,
    OUTPUT,
    class_values,
    flights_run,
    report,
    request,
)

READ, PREDICTED = (report()["rows"][name] for name in ("read", "predicted"))
STYLE = (TEMPLATES / "style.css").read_text()


@pytest.fixture(params=RECORDS)
def page(request):
    return page_of(request.param)


@pytest.mark.parametrize("name", RECORDS)
def test_a_page_has_the_parts_that_say_something_and_no_others(name):
    sections = page_of(name).sections
    failures = {"failures"} if RECORDS[name].failures else set()
    assert set(sections) == (SECTIONS - LACKING.get(name, set())) | failures
    for section, text in sections.items():
        heading, _, content = text.strip().partition("\n")
        assert heading, section
        assert len(content.strip()) > 10 or (section == "request" and content.strip() == "{}"), section


WARNED = report(
    rounded_integers=1234,
    column_types={f"column{index}": "optional_boolean" for index in range(20)},
    warnings=["Predictions depend on their neighbours."],
)
BUNDLED = report()
BUNDLED["model"] = BUNDLED["model"] | {"bundle": "b0" * 32, "versions": {"python": "3.13.9", "scikit-learn": "1.5.2"}}
HEADLINE = "headline"
SAID = [
    (
        "whole",
        HEADLINE,
        "SUCCEEDED",
        "nightly-2026-11-24",
        "24 November 2026, 02:00:00 to 02:00:19 UTC",
        OUTPUT,
        f"{OUTPUT}.rejected.csv",
    ),
    ("whole", HEADLINE, f"{PREDICTED:,}of {READ:,} read", f"{READ / 19.722:,.0f} rows a second", "Cost$0.0067estimated"),
    ("whole", "timeline", "12 began cold; 2 retried", "was retried"),
    ("whole", "rejected", "column 'dep_time': not a number", "101 · 81.5 %"),
    ("whole", "cost", "Lambda", "$0.0027", "Step Functions", "$0.0032", "S3", "$0.0008", "$0.0067 in all"),
    ("whole", "model", "Pipeline(ColumnTransformer, Ridge)", "scikit-learn 1.8.2", "pyarrow 26.1.0", "d3d3d3"),
    ("whole", "model", "num: StandardScaler, 4 columns", "tailnum text, sched_dep_time integer", "compare its predictions"),
    ("whole", "stages", "predict", "44.3 s", "load model"),
    ("failed", HEADLINE, "FAILED", "ModelError", "5 of 44 chunks failed", "batch-predict chunk nightly-2026-11-24 3 --here"),
    ("failed", HEADLINE, "No chunk was finished, or its work has been deleted: rows, times and values are unknown."),
    ("failed", "failures", "3 ModelError, 1 Lambda.Unknown, 1 TransientS3Error", "the objects of s3://flights-output/work/30.json"),
    ("failed", "failures", f"{MESSAGE} What to do: correct the value"),
    ("failed", "failures", "s3://flights-data/flights/2013/09.csv bytes=[13,600,000, 14,400,000)", MESSAGE),
    ("failed", "states", "0.8 s, 2 attempts", "failed with States.ExceedToleratedFailureThreshold", "9.4 s, failed", "ended here"),
    ("failed, chunks done", HEADLINE, "Chunks predicted39of 44, 5 failed, 2 from an earlier run"),
    ("failed, chunks done", HEADLINE, "The run has published nothing. Times, rows and values on this page cover the 39 chunks"),
    ("failed, chunks done", "timeline", "39 chunks of"),
    ("failed, chunks done", "cost", "for the chunks that are done"),
    (
        "aborted, chunks done",
        HEADLINE,
        "The same request, started again, goes on from there.",
        "Chunks predicted39of 44, 5 not done",
    ),
    ("running", HEADLINE, "No chunk is done yet", "still running", "not yet published"),
    ("running", "states", "still running"),
    ("without statistics", HEADLINE, "There are no statistics of values"),
    ("all chunks reused", HEADLINE, "No chunk ran: all 44 were there from an earlier execution."),
    ("rejected, not counted", HEADLINE, "The reasons for rejected rows are not counted"),
    (flights_run(is_local=True), HEADLINE, "Cost on AWS$0.0067estimated; free here"),
    (flights_run(is_local=True), "cost", "This run was on your machine, where it costs nothing."),
    (flights_run(report=WARNED), "model", "column11 optional boolean, 8 more", "1,234, beyond 2^53", *WARNED["warnings"]),
    (flights_run(report=BUNDLED), "model", f"Bundle{'b0' * 32}", "python 3.13.9, scikit-learn 1.5.2"),
]


@pytest.mark.parametrize(("record", "section", "texts"), [(record, section, texts) for record, section, *texts in SAID])
def test_a_page_says(record, section, texts):
    page = page_of(record)
    shown = page.headline if section == HEADLINE else page.sections[section]
    assert [text for text in texts if text not in shown] == []


def test_the_failures_of_a_run_stand_before_all_but_its_states():
    assert list(page_of("failed").sections)[:2] == ["states", "failures"]
    assert page_of("failed").sections["failures"].count(MESSAGE) == 4
    assert list(page_of("failed, chunks done").sections)[1] == "failures"


def test_the_request_is_shown_whole():
    assert json.loads(page_of("whole").sections["request"].strip().removeprefix("Request")) == request()


def test_a_whole_page_lacks_nothing():
    assert 'class="absent"' not in rendered("whole")


def test_nothing_is_loaded_and_nothing_runs(page):
    assert not {"script", "link", "img", "image", "iframe", "object", "embed", "base", "form", "audio", "video"} & set(page.tags)
    for tag, name, value in page.attributes:
        assert name not in {"src", "srcset", "action", "background", "data", "ping"}, tag
        assert not name.startswith("on"), (tag, name)
        if name == "href":
            assert value.startswith("#")
    assert set(re.findall(r"url\((.)", page.source)) <= {"#"}
    assert "@import" not in page.source
    assert not re.search(r"https?:", page.source)
    policy = next(value for _, name, value in page.attributes if name == "content" and "default-src" in value)
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_the_same_record_gives_the_same_page(monkeypatch):
    for name, draw in vars(charts).copy().items():
        if hasattr(draw, "__wrapped__"):  # other pages may take a picture that was drawn before
            monkeypatch.setattr(charts, name, draw.__wrapped__)
    assert render(flights_run()) == rendered("whole")


def test_ids_are_unique_and_every_reference_is_to_one(page):
    ids = Counter(value for _, name, value in page.attributes if name == "id")
    assert {name: count for name, count in ids.items() if count > 1} == {}
    used = {value[1:] for _, name, value in page.attributes if name == "href"}
    used |= set(re.findall(r"url\(#([^)]+)\)", page.source))
    assert used <= set(ids)


def test_ten_thousand_chunks_make_no_larger_page():
    large, small = (len(rendered(name).encode()) for name in ("ten thousand chunks", "whole"))
    assert large < small + 50_000
    assert large < 500_000


@pytest.mark.thorough
def test_two_hundred_features_and_five_hundred_failures_stay_readable():
    features = {f"feature_{number}": MONTH for number in range(200)}
    failures = [{**RECORDS["failed"].failures[0], "chunk_index": number, "message": "m" * 30_000} for number in range(500)]
    run = replace(
        with_statistics(features=features, features_left_out=12),
        failures=failures,
        reference=features,
        drift={name: number / 100 for number, name in enumerate(features)},
    )
    page = page_of(run)
    assert len(page.source) < 1_000_000
    assert "500 ModelError" in page.sections["failures"] or "500 Lambda.Unknown" in page.sections["failures"]
    assert "and 400 more" in page.sections["failures"]
    assert "12 more features were not counted" in page.sections["features"]
    assert "feature_0" in page.sections["features"]
    assert "feature_199" in page.sections["drift"]
    assert "188 features with a smaller index" in page.sections["drift"]
    assert "176 more features are in the table" in page.sections["distributions"]


def test_a_run_that_scored_for_less_than_all_about_it_has_no_speed():
    run = flights_run()
    quick = [replace(state, seconds=1.0) if state.kind == "Map" else state for state in run.states]
    assert "rows a second" not in page_of(replace(run, states=quick)).headline


def test_the_speed_of_a_run_leaves_out_what_earlier_runs_predicted():
    columns = report()["timeline"]
    columns["started"][:40] = [started - 86_400_000 for started in columns["started"][:40]]
    page = page_of(with_report(timeline=columns, chunks={"planned": 44, "predicted": 44, "reused": 40, "failed": 0}))
    assert f"{sum(columns['rows'][40:]) / 19.722:,.0f} rows a second" in page.headline
    assert "40 from an earlier run" in page.headline
    assert "40 chunks more were there from an earlier execution" in page.sections["timeline"]


def test_many_chunks_are_drawn_as_how_many_are_at_work():
    assert "When each of 300 chunks ran" in render(flights_run(300))
    assert "How many of 301 chunks ran at once" in render(flights_run(301))


def test_predictions_are_a_picture_or_counts():
    numbers = page_of("whole").sections["predictions"]
    assert re.search(r"20,003 rows\. 3 are missing\. From -2[12]\.\d\d to \d\d\d(\.\d)?, mean 14", numbers)
    shares = page_of(with_statistics(predictions={"yes": number_statistics([0.1, 0.2, 0.2, 0.9], are_shares=True)})).sections[
        "predictions"
    ]
    assert "From 0.1 to 0.9, mean 0.35, standard deviation 0.3202; quartiles (dashed) 0.10 · 0.20 · 0.20." in shares
    assert "counted by whole percents" in shares
    classes = page_of(with_statistics(predictions={"late": class_values({"no": 900, "yes": 80}, other=20)})).sections["predictions"]
    assert re.search(r"no\s*900 · 90\.0 %.*yes\s*80 · 8\.0 %.*other classes\s*20 · 2\.0 %", classes, re.DOTALL)


def test_the_table_of_features_has_extremes_and_quartiles_as_exact_as_they_are_known():
    table = rendered("whole").partition('<table class="features">')[2].partition("</table>")[0]
    rows = [re.findall(r"<td[^>]*>(?:<bdi>)?([^<]*)", row) for row in table.split("<tr>")[2:]]
    lines = {name: cells for name, *cells in rows}
    features = report()["statistics"]["features"]
    distance = features["distance"]
    months = [int(month) for month, count in features["month"]["whole_numbers"].items() for _ in range(count)]
    quartiles = [f"{quartile:g}" for quartile in np.quantile(months, [0.25, 0.5, 0.75], method="inverted_cdf")]
    assert lines["month"][-5:] == ["1", *quartiles, "12"]
    assert (lines["distance"][-5], lines["distance"][-1]) == (f"{distance['min']:,.0f}", f"{distance['max']:,.0f}")
    old = {name: value for name, value in MONTH.items() if name not in {"min", "max", "whole", "whole_numbers"}}
    assert "\N{EN DASH}" in page_of(with_statistics(features={"month": old})).sections["features"]


def test_missing_values_are_listed_the_worst_first():
    text = page_of("whole").sections["missing"]
    assert text.index("dep_time") < text.index("dep_delay")
    assert "month" not in text


def test_drift_is_shown_or_how_to_ask_for_it():
    text = page_of("whole").sections["drift"]
    assert text.index("carrier") < text.index("dep_delay") < text.index("dep_time")
    assert "training/flights-2012.csv" in text
    assert re.search(r"Predictions\s+.*predicted_arr_delay\s+0\.18", text, re.DOTALL)
    assert "The line is the reference." in page_of("whole").sections["predictions"]
    nothing = {"reference_predictions": {}, "prediction_drift": {}}
    assert "It has no predictions to compare with" in page_of(flights_run(**nothing)).sections["drift"]
    unasked = page_of(flights_run(reference=None, reference_name=None, drift={}, **nothing)).sections
    assert "drift" not in unasked
    assert "batch-predict report nightly-2026-11-24 --reference sample.csv" in unasked["features"]
    assert "Drift" not in unasked["features"]
    assert "The line" not in unasked["predictions"]
    other = page_of(flights_run(reference={}, drift={}, **nothing)).sections["features"]
    assert "has no feature of this run" in other


def test_every_feature_has_a_picture_with_the_reference_sample_or_without():
    features = report()["statistics"]["features"]
    without = page_of(flights_run(reference=None, reference_name=None, reference_predictions={}, drift={}, prediction_drift={}))
    for page in (page_of("whole"), without):
        assert all(name in page.sections["distributions"] for name in features)
        assert page.source.count('aria-label="Distribution of') == len(features) + 1
    assert "the reference as a line" in page_of("whole").sections["distributions"]
    assert "reference" not in without.sections["distributions"]
    assert without.sections["distributions"].count("by hash") == 3


def test_a_drift_without_end_leaves_the_others_their_bars():
    text = page_of(flights_run(drift={"month": float("inf"), "dest": float("nan"), "carrier": 0.2})).sections["drift"]
    assert re.search(r"month\s*inf\s*carrier\s*0\.20", text)
    assert re.search(r"\b2\.0\b", text)  # of the axis
    assert "dest" not in text


def test_drift_is_coloured_by_its_bands():
    rows = re.findall(r'<td class="figure (\w*)">(\d\.\d\d)</td>', rendered("whole"))
    assert sorted(rows) == sorted(
        [("", "0.00"), ("warm", "0.13"), ("bad", "0.48"), ("", "0.00"), ("bad", "0.91"), ("", "0.00"), ("", "0.01")]
    )


def test_a_definition_of_others_is_drawn_too():
    states_of_others = {"Only": {"Type": "Task", "Catch": [{"Next": "Nowhere"}], "End": True}}
    assert "Only" in page_of(flights_run(definition={"StartAt": "Only", "States": states_of_others})).sections["states"]
    assert "could not be read" in page_of(flights_run(definition={"States": DEFINITION["States"]})).sections["states"]


def test_every_colour_of_a_picture_is_one_of_the_pages():
    page = rendered("whole")
    assert not [colour for colour in COLOURS.values() if colour in page]
    palettes = [set(re.findall(r"--([\w-]+):", palette)) for palette in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL)]
    assert len(palettes) == 3  # light, dark, paper
    used = set(re.findall(r"var\(--([\w-]+)\)", page))
    assert all(used == palette for palette in palettes), [used ^ palette for palette in palettes]


def test_texts_can_be_told_from_their_ground():
    """WCAG's contrast: 4.5 for text, 3 for what a picture is made of."""
    for palette in re.findall(r":root \{(.*?)\}", STYLE, re.DOTALL):
        colours = dict(re.findall(r"--([\w-]+): (#\w{6})", palette))
        for ground in ("page", "paper"):
            for name in ("ink", "muted", "bad", "good"):
                assert contrast(colours[name], colours[ground]) >= 4.5, (name, ground, colours)
            for name in ("main", "warm"):
                assert contrast(colours[name], colours[ground]) >= 3, (name, ground, colours)
        for band in ("band-watch", "band-drift"):
            assert contrast(colours["ink"], colours[band]) >= 4.5


def contrast(one, other):
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(colour):
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
