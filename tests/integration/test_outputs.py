"""Outputs of some columns and of other formats than the data's, through the deployed state machine."""

import csv
import io
import json
import math

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from support.flights_data import FEATURES

pytestmark = pytest.mark.aws
ROWS = 6000
KEPT = ["remark", "flight", "dep_time"]


@pytest.fixture
def data(flights_csv):
    """Some flights, of which two cannot be scored, and a column whose last value alone is text."""
    rows = list(csv.reader(io.StringIO(flights_csv.decode(), newline="")))[: ROWS + 1]
    place = rows[0].index("dep_time")
    for row in (7, 4321):
        rows[row][place] = "zwoelf"
    late = ["late", *(str(number) for number in range(ROWS - 1)), "n/s"]
    return rows_as_csv([[*row, value] for row, value in zip(rows, late, strict=True)])


def rows_as_csv(rows):
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()


@pytest.fixture
def request_of(stored, places, put, data):
    uri = put(f"{places.data}some-flights.csv", data)
    return {**stored, "data_s3_uri": uri, "on_bad_row": "quarantine", "chunk_size_mb": len(data) / 1e6 / 5}


@pytest.fixture
def predicted(model, data):
    """What pandas and the model say of each row; None for those that are rejected."""
    frame = pd.read_csv(io.BytesIO(data), low_memory=False)
    good = frame["dep_time"] != "zwoelf"
    scores = model.predict(frame[good].astype({"dep_time": float})[FEATURES])
    found = pd.Series(np.nan, frame.index)
    found[good] = scores
    return [None if math.isnan(value) else value for value in found.tolist()]


@pytest.mark.parametrize("kept", [KEPT, pytest.param([], marks=pytest.mark.thorough)])
def test_some_columns_or_predictions_alone(scored, failed, request_of, data, predicted, read, report_of, kept):
    records = list(csv.reader(io.StringIO(data.decode(), newline="")))
    name = f"{len(kept)}-columns.csv"
    execution = scored(name, **request_of, output_columns=kept)
    output = execution["output"]
    assert (output["chunks"], output["rows"], output["rejected_rows"]) == (5, ROWS, 2)
    places = [place for place, column in enumerate(records[0]) if column in kept]
    rows = list(csv.reader(io.StringIO(read(output["output_s3_uri"]).decode(), newline="")))
    assert [row[:-1] for row in rows] == [[record[place] for place in places] for record in records]
    assert rows[0][-1] == "predicted_arr_delay"
    assert [float(row[-1]) if row[-1] else None for row in rows[1:]] == predicted
    assert report_of(execution)["request"]["output_columns"] == kept
    again = scored(name, **request_of, output_columns=kept[::-1])["output"]  # the same result, as the data's order counts
    assert again["etag"] == output["etag"]
    assert failed(name, **request_of, output_columns=["flight"])[0] == "OutputExistsError"


def as_rows(content, kind):
    if kind == "parquet":
        return pq.read_table(io.BytesIO(content)).to_pylist()
    return [json.loads(line) for line in content.decode().split("\n")[:-1]]


@pytest.mark.thorough
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_output_of_another_format_has_the_types_of_whole_columns(scored, request_of, data, predicted, read, report_of, kind):
    """Also of a column that only the last chunk knows to be text: the run plans again."""
    execution = scored(f"other-format.{kind}", **request_of)
    assert execution["output"]["rows"] == ROWS
    found, frame = as_rows(read(execution["output"]["output_s3_uri"]), kind), pd.read_csv(io.BytesIO(data), low_memory=False)
    assert [row.pop("predicted_arr_delay") for row in found] == predicted
    frame["dep_time"] = pd.to_numeric(frame["dep_time"], errors="coerce")  # the model takes it for numbers
    expected = frame.astype(object).where(frame.notna(), None).to_dict("records")
    assert list(map(repr, found)) == list(map(repr, expected))
    report = report_of(execution)
    assert (report["column_types"]["late"], report["column_types"]["flight"], report["request"]["output_format"]) == (
        "text",
        "integer",
        kind,
    )


@pytest.mark.thorough
def test_json_lines_become_csv_and_parquet(scored, put, places, request_of, data, predicted, read):
    frame = pd.read_csv(io.BytesIO(data), low_memory=False)[[*KEPT, "late", *(name for name in FEATURES if name not in KEPT)]]
    present = [
        {name: value for name, value in row.items() if not pd.isna(value)} for row in frame.astype(object).to_dict("records")
    ]
    lines = "".join(f"{json.dumps(row)}\n" for row in present)
    uri = put(f"{places.data}some-flights.jsonl", lines.encode())
    fields = {**request_of, "data_s3_uri": uri, "output_columns": [*KEPT, "late"]}
    text = read(scored("lines.csv", **fields)["output"]["output_s3_uri"])
    table = read(scored("lines.parquet", **fields)["output"]["output_s3_uri"])
    found = pd.read_csv(io.BytesIO(text), low_memory=False)
    assert [None if math.isnan(value) else value for value in found.pop("predicted_arr_delay").tolist()] == predicted
    expected = frame[[*KEPT, "late"]].assign(dep_time=pd.to_numeric(frame["dep_time"], errors="coerce"))
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    rows = as_rows(table, "parquet")
    assert [row.pop("predicted_arr_delay") for row in rows] == predicted
    assert rows == expected.astype(object).where(expected.notna(), None).to_dict("records")


def test_a_contradiction_of_the_outputs_name_is_refused(failed, request_of):
    error, cause = failed("out.jsonl", **request_of, output_format="csv")
    assert error == "InvalidRequestError"
    assert "out.jsonl ends in .jsonl, and output_format is csv: choose a name that ends in .csv, or another output_format" in cause


@pytest.mark.thorough
def test_parquet_becomes_csv_and_json_lines(scored, put, places, request_of, data, predicted, read):
    frame = pd.read_csv(io.BytesIO(data), low_memory=False)
    frame["dep_time"] = pd.to_numeric(frame["dep_time"], errors="coerce")
    file = io.BytesIO()
    frame.to_parquet(file, row_group_size=1500)
    fields = {key: value for key, value in request_of.items() if key != "chunk_size_mb"}
    fields |= {
        "data_s3_uri": put(f"{places.data}some.parquet", file.getvalue()),
        "output_columns": [*KEPT, "late"],
        "chunk_size_mb": 0.05,
    }
    expected = frame[["dep_time", "flight", "remark", "late"]]
    output = scored("pages.csv", **fields)["output"]
    found = pd.read_csv(io.BytesIO(read(output["output_s3_uri"])), low_memory=False)
    scores = found.pop("predicted_arr_delay")
    pd.testing.assert_frame_equal(found[expected.columns], expected)
    assert output["chunks"] > 1
    rows = as_rows(read(scored("pages.jsonl", **fields)["output"]["output_s3_uri"]), "jsonl")
    assert [row.pop("predicted_arr_delay") for row in rows] == scores.tolist()
    assert rows == expected.astype(object).where(expected.notna(), None).to_dict("records")
    good = [place for place, value in enumerate(predicted) if value is not None]
    assert scores[good].tolist() == [predicted[place] for place in good]
