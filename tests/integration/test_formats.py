"""Each format through the whole workflow: one chunk, many, awkward values, no rows, broken files, bad rows, loss and repetition."""

import io

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from support.formats import FORMATS, PREDICTION, spoil, table
from support.histories import states_entered
from support.s3_proxy import Rule

ROWS = 4000
BAD = [3, 1001, 3999]

pytestmark = pytest.mark.aws

every_format = pytest.mark.parametrize("kind", FORMATS)
MOST_DIFFERENT = ("unloaded.gz", "jsonl", "parquet")


@pytest.fixture(scope="module")
def fields(put, places):
    """The request's fields for a model of x and y."""
    frame = table(200)
    return {
        "model_s3_uri": put(f"{places.models}formats.joblib", LinearRegression().fit(frame[["x", "y"]], frame["x"] + frame["y"])),
        "prediction_column_name": PREDICTION,
    }


@pytest.fixture
def request_of(fields, put, places):
    """Put tables as objects of a format; return the request, and what was put."""

    def request_of(kind, frames, name="data"):
        known = FORMATS[kind]
        written = [known.write(frame) for frame in frames]
        for number, data in enumerate(written):
            put(f"{places.data}{name}-{kind}/part-{number}{known.suffix}", data)
        return fields | known.fields | {"data_s3_uri": f"{places.data}{name}-{kind}/"}, written

    return request_of


def assert_scored(kind, output, frames, written):
    """The output has every row of the tables with its prediction, and each input's bytes."""
    known = FORMATS[kind]
    expected = pd.concat(frames, ignore_index=True)
    found = known.read(output)
    pd.testing.assert_frame_equal(
        found[["id", "note", "x", "y"]].astype({"note": object}), expected.astype({"note": object}), check_dtype=False
    )
    np.testing.assert_allclose(found[PREDICTION], expected["x"] + expected["y"], atol=1e-9)
    assert known.keeps(written, output)


@pytest.mark.parametrize(
    "kind", [kind if kind in MOST_DIFFERENT else pytest.param(kind, marks=pytest.mark.thorough) for kind in FORMATS]
)
def test_one_chunk(kind, scored, request_of, read, report_of):
    frames = [table(40)]
    request, written = request_of(kind, frames, "one")
    execution = scored(f"one-{kind}{FORMATS[kind].suffix}", **request)
    assert (execution["output"]["chunks"], execution["output"]["rows"]) == (1, 40)
    assert_scored(kind, read(execution["output"]["output_s3_uri"]), frames, written)
    report_of(execution)


@pytest.mark.thorough
@every_format
def test_many_chunks_of_many_objects(kind, scored, request_of, read, uris):
    frames = [table(0), table(ROWS), table(ROWS // 2, 1), table(0), table(7, 2)]
    request, written = request_of(kind, frames, "many")
    execution = scored(f"many-{kind}{FORMATS[kind].suffix}", **request, chunk_size_mb=0.02)
    output = execution["output"]
    assert output["chunks"] >= (3 if FORMATS[kind].is_split else 2)
    assert (output["rows"], output["complete"]) == (sum(map(len, frames)), True)
    assert_scored(kind, read(output["output_s3_uri"]), frames, written)
    assert uris(f"{output['output_s3_uri']}.work/") == []


@pytest.mark.thorough
@every_format
def test_tables_without_rows(kind, scored, failed, request_of, read):
    name = f"empty-{kind}{FORMATS[kind].suffix}"
    request, _ = request_of(kind, [table(0), table(0)], "empty")
    error, cause = failed(name, **request)
    assert error in ("InvalidDataError", "InputNotFoundError"), cause  # without a header, an object without rows is an empty one
    assert "on_no_rows" in cause
    output = scored(name, **request, on_no_rows="succeed")["output"]
    assert output["rows"] == 0
    if data := read(output["output_s3_uri"]):  # a format without a header has nothing to write
        assert len(FORMATS[kind].read(data)) == 0


@pytest.mark.thorough
@every_format
def test_a_truncated_object_is_refused(kind, failed, fields, put, places):
    known = FORMATS[kind]
    data = known.write(table(400))
    is_text = kind != "parquet" and known.suffix.count(".") == 1
    cut = data[: data.rindex(b'"') if is_text else len(data) * 2 // 3]  # in a quoted field, or in a stream
    uri = put(f"{places.data}truncated-{kind}{known.suffix}", cut)
    error, cause = failed(f"truncated-{kind}{known.suffix}", **fields | known.fields, data_s3_uri=uri)
    assert error == "InvalidDataError", cause
    assert uri in cause


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("kind", "content"),
    [(kind, other) for kind in FORMATS for other in ("csv", "parquet", "zip") if other not in (kind, kind.partition(".")[0])],
)
def test_an_object_of_another_format_is_refused(kind, content, failed, fields, put, places):
    known = FORMATS[kind]
    data = b"PK\x03\x04\x00zip" if content == "zip" else FORMATS[content].write(table(40))
    uri = put(f"{places.data}other-{kind}-{content}{known.suffix}", data)
    named = {"input_format": "parquet" if kind == "parquet" else "jsonl" if "jsonl" in kind else "csv"}
    error, cause = failed(f"other-{kind}-{content}{known.suffix}", **fields | known.fields | named, data_s3_uri=uri)
    assert error in ("InvalidDataError", "InvalidRequestError"), cause
    assert uri in cause


@pytest.mark.thorough
@every_format
def test_bad_rows(kind, scored, failed, request_of, read):
    known = FORMATS[kind]
    if known.has_bad_texts:
        frame = table(ROWS)
        request, written = request_of(kind, [spoil(frame, BAD)], "bad")
    else:  # what the model refuses
        frame = table(ROWS)
        frame.loc[BAD, "x"] = np.nan
        request, written = request_of(kind, [frame], "bad")
    request |= {"column_types": {"x": "number"}} if known.has_bad_texts else {}
    error, cause = failed(f"bad-{kind}{known.suffix}", **request)
    assert error in ("InvalidDataError", "ModelError"), cause
    output = scored(f"bad-{kind}{known.suffix}", **request, on_bad_row="quarantine", chunk_size_mb=0.03)["output"]
    assert (output["rows"], output["rejected_rows"]) == (ROWS, len(BAD))
    rejected = pd.read_csv(io.BytesIO(read(output["rejected_s3_uri"])))
    assert rejected["row"].tolist()[:1] == [BAD[0] + 1]
    data = read(output["output_s3_uri"])
    found = known.read(data)
    assert np.flatnonzero(found[PREDICTION].isna()).tolist() == BAD
    good = frame.drop(BAD)
    np.testing.assert_allclose(found[PREDICTION].drop(BAD), good["x"] + good["y"], atol=1e-9)
    assert known.keeps(written, data)


@pytest.mark.thorough
@every_format
def test_a_lost_chunk_is_tolerated_or_run_again(kind, aws, scored, failed, request_of, read, proxy, places):
    frames = [table(2000, 1), table(2000, 2), table(2000, 3)]
    request, written = request_of(kind, frames, "lost")
    size = {"chunk_size_mb": max(map(len, written)) / 1e6}
    name, lost = f"lost-{kind}{FORMATS[kind].suffix}", f"lost-{kind}/part-1"
    with proxy.rules(Rule("403", operation="GetObject", key=lost, times=None)):
        error, cause = failed(name, **request, **size)
        assert lost in cause, (error, cause)
        tolerant = scored(f"tolerant-{name}", **request, **size, tolerated_failure_percentage=50)["output"]
    assert (tolerant["complete"], tolerant["failed_chunks"]) == (False, 1)
    assert_scored(kind, read(tolerant["output_s3_uri"]), frames[::2], written[::2])
    execution = scored(name, **request, **size)
    assert_scored(kind, read(execution["output"]["output_s3_uri"]), frames, written)
    again = scored(name, **request, **size)
    assert again["output"] == execution["output"]
    assert "Predict Chunks" not in states_entered(aws, again)


@pytest.mark.thorough
@every_format
def test_a_dry_run_says_what_was_recognised(kind, scored, request_of, uris):
    request, written = request_of(kind, [table(ROWS)], "dry")
    name = f"dry-{kind}{FORMATS[kind].suffix}"
    execution = scored(name, **request, dry_run=True)
    plan = execution["output"]
    assert plan["input_bytes"] <= sum(map(len, written))
    assert plan["estimate"]["rows"] == pytest.approx(ROWS, rel=0.1)
    assert plan["input_format"] == ("parquet" if kind == "parquet" else "jsonl" if "jsonl" in kind else "csv")
