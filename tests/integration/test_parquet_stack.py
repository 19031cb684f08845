"""Parquet through the whole workflow on the embedded AWS, under its own roles."""

import io

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from support.histories import states_entered
from support.parquet_files import parquet

pytestmark = pytest.mark.thorough  # test_formats.py has one run of Parquet for `make test`

ROWS = 1000


def rows(first, count=ROWS):
    """Columns of several types, of which x, y and kind are features."""
    numbers = np.arange(first, first + count)
    return pd.DataFrame(
        {
            "id": [f"row {number}" for number in numbers],
            "x": numbers / 7,
            "when": pd.Timestamp("2026-01-01", tz="Europe/Berlin") + pd.to_timedelta(numbers, unit="h"),
            "y": numbers,
            "kind": pd.Categorical.from_codes(numbers % 3, ["a", "b", "c"]),
            "maybe": pd.array(numbers, "Int64"),
        }
    )


@pytest.fixture(scope="module")
def frames(put, places):
    """Two objects of several row groups."""
    found = [rows(0), rows(ROWS, 300)]
    for number, frame in enumerate(found):
        data = parquet(pa.Table.from_pandas(frame), 250, compression="zstd", write_page_index=True)
        put(f"{places.data}parquet/{number}.parquet", data)
    return found


@pytest.fixture(scope="module")
def model():
    frame = rows(0)
    return LinearRegression().fit(frame[["x", "y"]], frame["x"] * 3 + frame["y"])


@pytest.fixture(scope="module")
def fields(put, places, model, frames):
    return {
        "model_s3_uri": put(f"{places.models}parquet.joblib", model),
        "data_s3_uri": f"{places.data}parquet/",
        "prediction_column_name": "p",
        "chunk_size_mb": 0.001,
    }


def predicted(model, frames, **options):
    whole = pd.concat(frames, ignore_index=True)
    return whole.assign(p=model.predict(whole[list(model.feature_names_in_)]), **options)


def test_the_output_is_the_input_and_the_predictions(aws, scored, fields, model, frames, read, report_of, uris):
    execution = scored("all.parquet", **fields)

    output = execution["output"]
    data = read(output["output_s3_uri"])
    expected = predicted(model, frames)
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(data)), expected)
    assert pl.read_parquet(io.BytesIO(data)).filter(pl.col("p") > 1e6).height == (expected["p"] > 1e6).sum()
    first = read(f"{fields['data_s3_uri']}0.parquet")
    footer_bytes = int.from_bytes(first[-8:-4], "little")
    assert data.startswith(first[: -8 - footer_bytes])
    report = report_of(execution)
    assert (report["request"]["input_format"], report["plan"]["boundaries"], output["chunks"]) == ("parquet", "exact", 6)
    assert report["timeline"]["row_groups"][:2] == [[0, 1], [1, 2]]
    assert 0 < report["bytes"]["read"] < 0.5 * report["plan"]["input_bytes"]
    assert uris(f"{output['output_s3_uri']}.work/") == []
    assert scored("all.parquet", **fields)["output"] == output


@pytest.mark.thorough
def test_rows_that_cannot_be_scored_are_kept_aside_and_named(scored, failed, fields, model, frames, put, places, read):
    frame = rows(0).assign(x=lambda frame: frame["x"].where(frame["y"] != 700))
    put(f"{places.data}bad/1.parquet", parquet(pa.Table.from_pandas(frame), 250))
    request = fields | {"data_s3_uri": f"{places.data}bad/1.parquet"}

    error, cause = failed("bad.parquet", **request)
    assert error == "InvalidDataError"
    assert "1.parquet row group 2, row 701, no value in 'x'" in cause
    output = scored("bad.parquet", **request, on_bad_row="quarantine")["output"]

    found = pd.read_parquet(io.BytesIO(read(output["output_s3_uri"])))
    assert found["p"].isna().tolist() == (frame["y"] == 700).tolist()
    pd.testing.assert_frame_equal(found.drop(columns="p"), frame)
    rejected = pd.read_csv(io.BytesIO(read(output["rejected_s3_uri"])))
    assert rejected[["row", "row_group"]].to_numpy().tolist() == [[701, 2]]


@pytest.mark.thorough
def test_a_row_group_of_rejected_rows_has_the_type_of_the_others(scored, fields, put, places, read):
    frame = rows(0, 500).assign(x=lambda frame: frame["x"].where(frame["y"] < 250))
    put(f"{places.data}nulls/1.parquet", parquet(pa.Table.from_pandas(frame), 250))
    output = scored("nulls.parquet", **fields | {"data_s3_uri": f"{places.data}nulls/"}, on_bad_row="quarantine")["output"]
    found = pq.read_table(io.BytesIO(read(output["output_s3_uri"])))
    assert (found.schema.field("p").type, found["p"].null_count, output["rejected_rows"]) == (pa.float64(), 250, 250)


@pytest.mark.thorough
def test_some_columns_and_probabilities(scored, fields, put, places, frames, read):
    frame = rows(0)
    classifier = make_pipeline(
        make_column_transformer((OneHotEncoder(), ["kind"]), remainder="passthrough"), LogisticRegression()
    ).fit(frame[["kind", "x"]], np.where(frame["x"] > 50, "yes", "no"))
    model_uri = put(f"{places.models}kinds.joblib", classifier)
    request = fields | {"model_s3_uri": model_uri, "output_columns": ["when", "id"], "prediction_method": "predict_proba"}

    found = pd.read_parquet(io.BytesIO(read(scored("kinds.parquet", **request)["output"]["output_s3_uri"])))

    whole = pd.concat(frames, ignore_index=True)
    assert list(found) == ["id", "when", "p_no", "p_yes"]
    pd.testing.assert_frame_equal(found[["id", "when"]], whole[["id", "when"]])
    np.testing.assert_allclose(found[["p_no", "p_yes"]], classifier.predict_proba(whole[["kind", "x"]]))


@pytest.mark.thorough
def test_a_day_without_rows_is_a_file_without_rows(aws, scored, fields, put, places, read):
    put(f"{places.data}empty/1.parquet", parquet(pa.Table.from_pandas(rows(0, 0))))
    request = fields | {"on_no_rows": "succeed"}
    for folder, columns in (("empty/", 7), ("nothing-at-all/", 0)):
        output = scored(f"{folder.strip('/')}.parquet", **request | {"data_s3_uri": f"{places.data}{folder}"})["output"]
        found = pq.read_table(io.BytesIO(read(output["output_s3_uri"])))
        assert (found.num_rows, found.num_columns) == (0, columns)


@pytest.mark.thorough
def test_a_run_whose_output_was_lost_finds_its_parts(aws, scored, fields, put, places):
    frame = rows(0)
    data = parquet(pa.Table.from_pandas(frame[["x", "y"]]), 250, compression="none", use_dictionary=False)
    put(f"{places.data}resumed/1.parquet", data)
    request = fields | {"data_s3_uri": f"{places.data}resumed/", "keep_work": True}
    first = scored("resumed.parquet", **request)
    bucket, _, key = first["output"]["output_s3_uri"].removeprefix("s3://").partition("/")
    for name in (key, f"{key}.report.json"):
        aws.client("s3").delete_object(Bucket=bucket, Key=name)
    again = scored("resumed.parquet", **request)
    assert again["output"]["etag"] == first["output"]["etag"]
    assert "Predict Chunks" not in states_entered(aws, again)


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda frame: parquet(pa.Table.from_pandas(frame.astype({"y": "float64"}))), "the column y is optional DOUBLE in"),
        (lambda frame: parquet(pa.Table.from_pandas(frame))[:-4], "is not Parquet, or it is truncated"),
    ],
    ids=["another schema", "truncated"],
)
def test_what_does_not_fit_ends_the_run_by_name(failed, fields, put, places, change, reason):
    put(f"{places.data}wrong/1.parquet", parquet(pa.Table.from_pandas(rows(0))))
    put(f"{places.data}wrong/2.parquet", change(rows(0)))
    error, cause = failed("wrong.parquet", **fields | {"data_s3_uri": f"{places.data}wrong/"})
    assert error == "InvalidDataError"
    assert reason in cause


@pytest.mark.thorough
def test_a_dry_run_writes_nothing(scored, fields, uris):
    planned = scored("planned.parquet", **fields, dry_run=True)["output"]
    assert (planned["estimate"]["rows"], planned["chunks"]) == (1300, 6)
    assert "s3" in planned["estimate"]["dollars"]
