"""Blank lines are no rows, as for pandas, and come out as they went in."""

import io
import re

import pandas as pd
import pytest
from harness import DATA, MODEL, OUTPUT, FirstColumn, invoke, make_event, score_locally
from hypothesis import given, settings
from hypothesis import strategies as st

import prediction_handler as handler

FILES = {
    "at the end": b"x1,y\n1,a\n2,b\n\n",
    "several": b"x1,y\n1,a\n2,b\n\n\n\n",
    "of spaces": b"x1,y\n1,a\n \t\n2,b\n  ",
    "everywhere": b"x1,y\n\n1,a\n\n\n2,b\n\n",
    "CRLF": b"x1,y\r\n\r\n1,a\r\n2,b\r\n\r\n",
    "in quotes": b'x1,y\n1,"a\n\nb"\n\n2,"\n"\n\n',
    "one column": b"x1\n\n1\n\n2\n\n",
    "one quoted empty field": b'x1\n1\n""\n\n',
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("block_bytes", [1, 3, 5, 4_000_000])
def test_blank_lines_are_kept_and_are_no_rows(tmp_path, name, block_bytes):
    data = FILES[name]
    facts, output = score_locally(data, tmp_path, block_bytes)
    assert facts.rows == facts.read.rows == len(pd.read_csv(io.BytesIO(data)))
    assert facts.read.bytes == len(data)
    text = re.sub(r",(?:[12](?:\.0)?|nan|p)(?=\r?\n)", "", output.decode())
    assert text.removesuffix("\n").removesuffix("\r") == data.decode().removesuffix("\n").removesuffix("\r")


@settings(deadline=None)
@given(st.lists(st.sampled_from(["1,a", "", " ", '2,"x\n\ny"', "3,"]), max_size=12), st.integers(1, 30), st.booleans())
def test_any_blank_lines_in_any_blocks(tmp_path_factory, records, block_bytes, is_closed):
    data = ("x1,y\n" + "\n".join(records) + ("\n" if is_closed else "")).encode()
    folder = tmp_path_factory.mktemp("blank")
    rows = sum(bool(record.strip()) for record in records)
    if not rows:
        with pytest.raises(handler.InvalidDataError, match="no rows"):
            score_locally(data, folder, block_bytes)
        return
    facts, output = score_locally(data, folder, block_bytes)
    assert (facts.rows, facts.read.bytes, facts.read.quotes) == (rows, len(data), data.count(b'"'))
    assert len(pd.read_csv(io.BytesIO(output))) == rows
    assert (folder / "part.csv").read_bytes() == score_locally(data, folder)[1]


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
