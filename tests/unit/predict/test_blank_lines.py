"""Blank lines are no rows, as for pandas, and come out as they went in."""

import io
import re

import pandas as pd
import pytest
from harness import DATA, MODEL, OUTPUT, FirstColumn, invoke, make_event, score_locally
from hypothesis import given, settings
from hypothesis import strategies as st

import prediction_handler as handler

RECORDS = {"x1,y": ["1,a", '2,"x\n\ny"', "3,"], "x1": ["1", '""', '"2"']}


@st.composite
def tables(draw):
    """Records, many of them blank, and their bytes."""
    header, line_end = draw(st.sampled_from([*RECORDS])), draw(st.sampled_from(["\n", "\r\n"]))
    records = draw(st.lists(st.sampled_from(["", " ", " \t", *RECORDS[header]]), max_size=12))
    return records, (line_end.join([header, *records]) + draw(st.sampled_from(["", line_end]))).encode()


@settings(deadline=None)
@given(tables(), st.integers(1, 30))
def test_blank_lines_are_kept_and_are_no_rows_in_any_blocks(tmp_path_factory, table, block_bytes):
    records, data = table
    folder = tmp_path_factory.mktemp("blank")
    rows = sum(bool(record.strip()) for record in records)
    if not rows:
        with pytest.raises(handler.InvalidDataError, match="no rows"):
            score_locally(data, folder, block_bytes)
        return
    facts, output = score_locally(data, folder, block_bytes)
    assert (facts.rows, facts.read.bytes, facts.read.quotes) == (rows, len(data), data.count(b'"'))
    assert len(pd.read_csv(io.BytesIO(output))) == rows
    without_predictions = re.sub(rb",(?:[123](?:\.0)?|nan|p)(?=\r?\n)", b"", output)
    assert without_predictions.rstrip(b"\r\n") == data.rstrip(b"\r\n")
    assert output == score_locally(data, folder)[1]


def test_rows_behind_blank_lines_have_their_own_places(tmp_path):
    data = b"x1,y\n1,a\n\n\nbad,b\n"
    with pytest.raises(handler.InvalidDataError, match=r"row 2 \(byte 11\), column 'x1'"):
        score_locally(data, tmp_path, column_types={"x1": "number"})


def test_blank_lines_between_objects_of_a_group_stay_where_they_are(put, get):
    put(MODEL, FirstColumn())
    objects = [b"x1,x2\n1,2\n\n", b"x1,x2\n\n", b"x1,x2\n\n3,4\n\n\n"]
    uris = [f"{DATA}-{index}.csv" for index in range(3)]
    for uri, body in zip(uris, objects, strict=True):
        put(uri, body)
    event = make_event(data_s3_uri=None, segments=[{"data_s3_uri": uri} for uri in uris])
    answer = handler.lambda_handler(event, None)
    assert answer["statusCode"] == 200
    assert get(OUTPUT) == b"x1,x2,prediction\n1,2,1\n\n\n\n3,4,3\n\n\n"


@pytest.mark.parametrize("range_of", ["blank", "rest"])
def test_a_share_of_an_object_may_be_blank_lines(put, get, range_of):
    """Of a run, whose merge asks all chunks together."""
    put(MODEL, FirstColumn())
    data = b"x1,x2\n1,2\n\n\n3,4\n"
    put(DATA, data)
    put(f"{DATA}.json", '{"column_types": {"x1": "integer", "x2": "integer"}, "prediction_columns": ["prediction"]}')
    byte_range = [10, 12] if range_of == "blank" else [11, len(data)]
    status, body = invoke(byte_range=byte_range, chunk_index=1, decision_s3_uri=f"{DATA}.json")
    assert (status, body["rows"], body["input_bytes"]) == (200, 0 if range_of == "blank" else 1, byte_range[1] - byte_range[0])
    assert get(OUTPUT)[body["header_bytes"] :] == (b"\n\n" if range_of == "blank" else b"\n3,4,3\n")
