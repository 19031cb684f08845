"""JSON Lines through the deployed state machine."""

import json

import numpy as np
import pytest

from support.flights_data import FEATURES
from support.s3_proxy import Rule

pytestmark = pytest.mark.aws

ROWS = 4000
NAME = "predicted_arr_delay"


@pytest.fixture(scope="module")
def rows(flights):
    """Flights as objects: keys that lack a value are left out or null, others are nested or hold what looks like structure."""
    objects = []
    for index, read in enumerate(flights.iloc[:ROWS].to_dict("records")):
        known = {key: None if value != value else value for key, value in read.items()}  # noqa: PLR0124  # NaN is not itself
        known = {key: value for key, value in known.items() if value is not None or index % 2}
        objects.append({**known, "remark": 'late, "very"\n{"a":1}' if index % 50 == 0 else "Zürich", "nested": {"x": [index, {}]}})
    return objects


@pytest.fixture(scope="module")
def lines(rows):
    ends = ["\n", "\r\n", " \n", "\n\n"]
    return [json.dumps(row, ensure_ascii=index % 3 == 0) + ends[index % len(ends)] for index, row in enumerate(rows)]


@pytest.fixture(scope="module")
def expected(model, flights):
    return model.predict(flights.iloc[:ROWS][FEATURES])


def with_predictions(lines, predictions):
    """What the output has to be, by the printed predictions; None leaves a line as it is."""
    spelled = []
    for line, printed in zip(lines, predictions, strict=True):
        before, brace, after = line.rpartition("}")
        spelled.append(line if printed is None else f'{before},"{NAME}":{printed}{brace}{after}')
    return "".join(spelled).encode()


def printed_in(output):
    return [json.loads(line)[NAME] for line in output.decode().splitlines() if line.strip() and "}" in line]


@pytest.mark.thorough
def test_every_line_comes_out_with_its_prediction_however_it_is_cut(scored, stored, places, put, read, lines, expected, report_of):
    body = "".join(lines).encode()
    fields = stored | {"data_s3_uri": put(f"{places.data}lines/all.jsonl", body)}
    plan = scored("cut.jsonl", **fields, chunk_size_mb=0.2, dry_run=True)["output"]
    assert plan["chunks"] >= 5
    assert plan["boundaries"] == "exact"
    assert plan["estimate"]["rows"] == pytest.approx(ROWS, rel=0.1)

    cut = scored("cut.jsonl", **fields, chunk_size_mb=0.2)
    whole = scored("whole.jsonl", **fields, chunk_size_mb=1000)

    output = read(cut["output"]["output_s3_uri"])
    assert output == read(whole["output"]["output_s3_uri"])
    assert (cut["output"]["rows"], whole["output"]["chunks"]) == (ROWS, 1)
    printed = printed_in(output)
    np.testing.assert_array_equal(np.array(printed), expected)
    assert output == with_predictions(lines, [json.dumps(number) for number in printed])
    assert report_of(cut)["rows"] == {"read": ROWS, "predicted": ROWS, "rejected": 0}


@pytest.mark.thorough
def test_bad_lines_fail_or_keep_their_places(scored, failed, stored, places, put, read, lines, expected):
    """One that is an object gets null; one that is cut off, as the last line, stays as it is."""
    bad = {1000: lines[1000].replace('"distance":', '"distance":"far","was":'), 2000: "[1, 2]\n", ROWS - 1: lines[ROWS - 1][:50]}
    some = [bad.get(row, line) for row, line in enumerate(lines)]
    body = "".join(some).encode()
    uri = put(f"{places.data}lines/bad.jsonl", body)
    fields = stored | {"data_s3_uri": uri}

    error, cause = failed("bad.jsonl", **fields, chunk_size_mb=0.2)
    assert error == "InvalidDataError"
    assert "lines/bad.jsonl" in cause
    assert "far" not in cause

    output = scored("bad.jsonl", **fields, chunk_size_mb=0.2, on_bad_row="quarantine")["output"]
    assert (output["rows"], output["rejected_rows"]) == (ROWS, 3)
    listed = read(output["rejected_s3_uri"]).decode().splitlines()[1:]
    places_listed = [tuple(map(int, line.split(",")[1:3])) for line in listed]
    assert places_listed == [(row + 1, len("".join(some[:row]).encode())) for row in bad]
    written = read(output["output_s3_uri"])
    numbers = [json.dumps(number) for number in expected.tolist()]
    predictions = [{1000: "null", 2000: None, ROWS - 1: None}.get(row, number) for row, number in enumerate(numbers)]
    assert written == with_predictions([*some[:-1], some[-1] + "\n"], predictions)

    tolerant = scored("tolerant.jsonl", **fields, chunk_size_mb=0.2, tolerated_failure_percentage=90)["output"]
    assert (tolerant["complete"], tolerant["failed_chunks"]) == (False, 3)

    put(uri, "".join(lines).encode())
    repaired = scored("bad.jsonl", **fields, chunk_size_mb=0.2, overwrite=True)["output"]
    assert (repaired["rows"], repaired["rejected_rows"]) == (ROWS, 0)


@pytest.mark.thorough
def test_a_failed_run_goes_on_where_it_ended(scored, failed, stored, places, put, lines, proxy, report_of):
    """The same request again scores what is missing."""
    fields = stored | {"data_s3_uri": put(f"{places.data}lines/again.jsonl", "".join(lines).encode())}
    with proxy.rules(Rule("404", operation="GetObject", key="again", range="^bytes=[1-9]")):
        error, _ = failed("again.jsonl", **fields, chunk_size_mb=0.2)
    assert error == "InputNotFoundError"
    again = scored("again.jsonl", **fields, chunk_size_mb=0.2)
    assert again["output"]["rows"] == len(lines)
    assert report_of(again)["chunks"]["reused"] > 0


@pytest.mark.thorough
def test_many_objects_and_empty_ones(scored, failed, stored, places, put, read, lines):
    for number in range(20):
        put(f"{places.data}lines/many/{number}.jsonl", "".join(lines[number * 100 : number * 100 + 100]).encode())
    put(f"{places.data}lines/many/blank.jsonl", b"\n \r\n")
    put(f"{places.data}lines/none/1.jsonl", b"\n")

    output = scored("many.jsonl", **stored | {"data_s3_uri": f"{places.data}lines/many/"})["output"]

    assert output["rows"] == 2000
    assert len(printed_in(read(output["output_s3_uri"]))) == 2000
    error, cause = failed("none.jsonl", **stored | {"data_s3_uri": f"{places.data}lines/none/"})
    assert (error, "holds no rows" in cause) == ("InvalidDataError", True)
    empty = scored("none.jsonl", **stored | {"data_s3_uri": f"{places.data}lines/none/"}, on_no_rows="succeed")["output"]
    assert (empty["rows"], read(empty["output_s3_uri"])) == (0, b"\n")
