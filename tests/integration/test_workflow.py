"""The whole workflow on real input: the flights of New York 2013, through the deployed state machine."""

import gzip
import io
import json

import numpy as np
import pandas as pd
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from support.flights_data import FEATURES, ROWS
from support.histories import child_histories, failures, states_entered
from support.s3_proxy import Rule

pytestmark = pytest.mark.aws


def split_predictions(output):
    """Take the last field off each record: returns the input's bytes and the predictions (which are numbers, never quoted)."""
    pieces, predictions = [], []
    position, quotes, start = 0, 0, 0
    while (end := output.find(b"\r\n", position)) >= 0:
        quotes += output.count(b'"', position, end)
        position = end + 2
        if quotes % 2 == 0:
            record, _, prediction = output[start:end].rpartition(b",")
            pieces.append(record)
            predictions.append(prediction)
            start = position
    assert start == len(output)
    return b"\r\n".join(pieces) + b"\r\n", predictions


def test_every_row_is_scored_in_order_and_no_input_byte_changes(scored, stored, model, flights_csv, read, uris, report_of):
    execution = scored("whole.csv", **stored, chunk_size_mb=0.6)

    result = execution["output"]
    assert (result["rows"], result["complete"], result["failed_chunks"]) == (ROWS, True, 0)
    assert result["chunks"] >= 5
    records, predictions = split_predictions(read(result["output_s3_uri"]))
    assert predictions[0] == b"predicted_arr_delay"
    assert records == flights_csv
    expected = model.predict(pd.read_csv(io.BytesIO(flights_csv))[FEATURES])
    np.testing.assert_array_equal(np.array([float(value) for value in predictions[1:]]), expected)
    assert report_of(execution)["rows"] == {"read": ROWS, "predicted": ROWS, "rejected": 0}
    assert uris(result["output_s3_uri"]) == [result["output_s3_uri"], result["report_s3_uri"]]


def test_an_unload_without_a_header_is_scored_as_it_is_written(
    scored, failed, stored, flights, model, read, places, put, report_of
):
    """Its delimiter, its decimal commas and its encoding are the output's: an object in several chunks, and one that gzip has."""
    rows = flights.iloc[:20_000].assign(remark='spät | "sehr" spät')
    objects = [
        part.to_csv(index=False, header=False, sep="|", decimal=",").encode("cp1252") for part in (rows[:19_000], rows[19_000:])
    ]
    put(f"{places.data}unloaded/0000_part_00", objects[0])
    put(f"{places.data}unloaded/0001_part_00.gz", gzip.compress(objects[1]))
    request = stored | {"data_s3_uri": f"{places.data}unloaded/"}
    csv = {"delimiter": "|", "decimal": ",", "encoding": "cp1252", "header": False, "column_names": list(rows)}

    error, cause = failed("unloaded.csv", **request)
    assert (error, 'csv: {"delimiter": "|"}' in cause or "cp1252" in cause) == ("InvalidDataError", True)
    execution = scored("unloaded.csv", **request, csv=csv, chunk_size_mb=0.5)

    assert execution["output"]["chunks"] >= 4
    written = read(execution["output"]["output_s3_uri"])
    assert b"".join(line.rpartition(b"|")[0] + b"\n" for line in written.splitlines()) == b"".join(objects)
    found = pd.read_csv(io.BytesIO(written), sep="|", decimal=",", encoding="cp1252", header=None, names=[*rows, "prediction"])
    np.testing.assert_array_equal(found["prediction"], model.predict(rows[FEATURES]))
    assert report_of(execution)["rows"]["predicted"] == 20_000


def test_an_existing_output_is_kept_unless_overwrite(scored, failed, stored, read, places, put):
    output_uri = put(f"{places.output}exists.csv", b"mine")

    error, cause = failed("exists.csv", **stored)
    assert error == "OutputExistsError"
    assert output_uri in cause
    assert read(output_uri) == b"mine"

    scored("exists.csv", **stored, overwrite=True)
    assert len(read(output_uri)) > len(b"mine")


def test_throttling_is_retried_by_the_state_machine(aws, scored, stored, proxy, read, flights_csv):
    """S3 answers SlowDown on one chunk until botocore gives up, twice."""
    plan = scored("throttled.csv", **stored, chunk_size_mb=1, dry_run=True)["output"]
    chunks = json.loads(read(f"s3://{plan['bucket']}/{plan['plan_key']}"))
    start = chunks[2]["byte_range"][0]
    botocore_attempts = 5

    rule = Rule("throttle", operation="GetObject", range=f"^bytes={start}-", times=2 * botocore_attempts)
    with proxy.rules(rule) as (throttled,):
        execution = scored("throttled.csv", **stored, chunk_size_mb=1)

    assert throttled.injected == 2 * botocore_attempts
    histories = child_histories(aws, execution)
    assert failures(histories[2]) == ["TransientS3Error", "TransientS3Error"]
    assert [failures(events) for index, events in histories.items() if index != 2] == [[]] * (len(chunks) - 1)
    assert split_predictions(read(execution["output"]["output_s3_uri"]))[0] == flights_csv


def test_bad_rows_are_kept_aside_with_object_row_and_reason(scored, stored, flights, model, read, places, put):
    """Quarantine: the output has every row, the list says which have no prediction and why."""
    rows = flights.iloc[:20_000].astype({"dep_time": object})
    bad = [7, 12_345, 19_999]
    rows.loc[rows.index[bad], "dep_time"] = "zwoelf"
    data = rows.to_csv(index=False).encode()
    uri = put(f"{places.data}some-bad.csv", data)

    output = scored("some-bad.csv", **stored | {"data_s3_uri": uri}, chunk_size_mb=0.5, on_bad_row="quarantine")["output"]

    assert output["chunks"] >= 3
    assert (output["rows"], output["rejected_rows"]) == (20_000, 3)
    rejected = pd.read_csv(io.BytesIO(read(output["rejected_s3_uri"])))
    assert rejected["row"].tolist() == [row + 1 for row in bad]
    assert rejected["data_s3_uri"].unique().tolist() == [uri]
    assert all(data[byte:].startswith(b"2013,") and b"zwoelf" in data[byte : byte + 40] for byte in rejected["byte"])
    assert rejected["reason"].unique().tolist() == ["column 'dep_time': 'zwoelf' is not a number"]
    scores = pd.read_csv(io.BytesIO(read(output["output_s3_uri"])))["predicted_arr_delay"]
    assert np.flatnonzero(scores.isna()).tolist() == bad
    good = flights.iloc[:20_000].drop(flights.index[bad])
    np.testing.assert_array_equal(scores.drop(bad), model.predict(good[FEATURES]))


def test_a_classifier_writes_what_it_is_asked_for(scored, stored, flights, read, places, put, report_of):
    rows = flights.iloc[:20_000].astype({"dep_time": object})
    rows.loc[rows.index[[7, 12_345]], "dep_time"] = "zwoelf"
    good = flights.iloc[:20_000].drop(flights.index[[7, 12_345]])
    features = ["dep_time", "dep_delay", "distance"]
    classifier = make_pipeline(SimpleImputer(), StandardScaler(), LogisticRegression())
    classifier.fit(good[features], np.digitize(good["dep_delay"].fillna(0), [0, 15]).astype(str))
    fields = {
        "data_s3_uri": put(f"{places.data}asked.csv", rows.to_csv(index=False).encode()),
        "model_s3_uri": put(f"{places.models}delayed.joblib", classifier),
        "prediction_column_name": "late",
        "feature_columns": features,
        "predictions": ["label", "probability", {"probabilities": {"classes": ["2"]}}, {"top_k": 2}, {"threshold": {"2": 0.3}}],
    }

    execution = scored("asked.csv", **stored | fields, chunk_size_mb=0.5, on_bad_row="quarantine")

    output = pd.read_csv(io.BytesIO(read(execution["output"]["output_s3_uri"])), dtype=object).loc[:, "late":]
    names = ["late", "late_probability", "late_probability_2"]
    names += ["late_top_1", "late_top_1_probability", "late_top_2", "late_top_2_probability", "late_by_threshold"]
    assert [*output.columns] == names
    assert np.flatnonzero(output.isna().all(axis=1)).tolist() == [7, 12_345]
    output, shares = output.drop([7, 12_345]), classifier.predict_proba(good[features])
    assert output["late"].tolist() == output["late_top_1"].tolist() == classifier.predict(good[features]).tolist()
    np.testing.assert_allclose(output["late_probability"].astype(float), shares.max(axis=1), rtol=1e-12)
    np.testing.assert_allclose(output["late_probability_2"].astype(float), shares[:, 2], rtol=1e-12)
    np.testing.assert_allclose(output["late_top_2_probability"].astype(float), np.sort(shares)[:, 1], rtol=1e-12)
    reached = np.where(shares[:, 2] >= 0.3, "2", shares[:, :2].argmax(axis=1).astype(str))
    assert output["late_by_threshold"].tolist() == reached.tolist()
    found = report_of(execution)["statistics"]["predictions"]
    assert [*found] == names
    assert found["late"]["classes"] == output["late"].value_counts().to_dict()


@pytest.mark.parametrize(
    ("field", "content", "error", "says"),
    [
        ("data_s3_uri", b"PK\x03\x04\x00zip", "InvalidDataError", "zip archive"),
        ("data_s3_uri", b"month,dep_time\n1,2\n", "InvalidRequestError", "dep_delay"),
        ("model_s3_uri", b"not a model", "ModelError", "joblib"),
    ],
)
def test_an_object_that_cannot_be_used_is_one_clear_sentence(failed, stored, places, put, field, content, error, says):
    uri = put(f"{places.models if field == 'model_s3_uri' else places.data}unusable", content)
    name, cause = failed("unusable.csv", **stored | {field: uri})
    assert name == error
    assert says in cause
    assert uri in cause


def test_several_mistakes_are_named_at_once(failed, stored):
    error, cause = failed("mistaken.csv", **stored | {"output_s3_uri": "nowhere"}, overwrit=True, chunk_size_mb=-1)
    assert error == "InvalidRequestError"
    assert all(problem in cause for problem in ("output_s3_uri", "overwrit", "chunk_size_mb"))


def test_a_bucket_that_is_not_there_is_named(failed, stored):
    error, cause = failed("elsewhere.csv", **stored | {"output_s3_uri": "s3://no-such-bucket-here/out.csv"})
    assert error == "InvalidRequestError"
    assert "s3://no-such-bucket-here/out.csv" in cause


@pytest.mark.parametrize("request_", [["s3://b/k"], "s3://b/k", 7, None, True, {}], ids=str)
def test_an_input_that_is_no_request_is_refused_by_name(aws, run_execution, request_):
    """Whatever JSON StartExecution takes: a Catch has to write its failure into a document."""
    execution = run_execution(aws, request_)

    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidRequestError")
    assert "model_s3_uri is missing" in execution["cause"] if request_ == {} else "must be an object" in execution["cause"]
    assert states_entered(aws, execution)[-1] == "Request Rejected"
