"""The whole workflow on real input: the flights of New York 2013, through the deployed state machine."""

import io
import json

import numpy as np
import pandas as pd
import pytest

from support.flights_data import FEATURES, ROWS
from support.histories import child_histories, failures
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


def test_every_row_is_scored_in_order_and_no_input_byte_changes(aws, run_execution, stored, model, flights_csv, read, uris, places):
    output_uri = f"{places.output}whole.csv"

    execution = run_execution(aws, {**stored, "output_s3_uri": output_uri, "chunk_size_mb": 0.6})

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    result = execution["output"]
    assert (result["rows"], result["complete"], result["failed_chunks"]) == (ROWS, True, 0)
    assert result["chunks"] >= 5
    records, predictions = split_predictions(read(output_uri))
    assert predictions[0] == b"predicted_arr_delay"
    assert records == flights_csv
    expected = model.predict(pd.read_csv(io.BytesIO(flights_csv))[FEATURES])
    np.testing.assert_array_equal(np.array([float(value) for value in predictions[1:]]), expected)

    report = json.loads(read(result["report_s3_uri"]))
    assert report["rows"] == {"read": ROWS, "predicted": ROWS, "rejected": 0}
    assert uris(output_uri) == [output_uri, f"{output_uri}.report.json"]


def test_an_existing_output_is_kept_unless_overwrite(aws, run_execution, stored, read, places, put):
    output_uri = f"{places.output}exists.csv"
    put(output_uri, b"mine")

    refused = run_execution(aws, {**stored, "output_s3_uri": output_uri})
    assert (refused["status"], refused["error"]) == ("FAILED", "OutputExistsError")
    assert output_uri in refused["cause"]
    assert read(output_uri) == b"mine"

    assert run_execution(aws, {**stored, "output_s3_uri": output_uri, "overwrite": True})["status"] == "SUCCEEDED"
    assert len(read(output_uri)) > len(b"mine")


def test_a_prefix_is_scored_in_natural_order(aws, run_execution, stored, model, flights, read, places, put):
    for part in (1, 2, 10):
        rows = flights.iloc[part * 100 : part * 100 + 50]
        put(f"{places.data}parts/part-{part}.csv", rows.to_csv(index=False).encode())
    put(f"{places.data}parts/_SUCCESS", b"")
    output_uri = f"{places.output}parts.csv"

    execution = run_execution(aws, {**stored, "data_s3_uri": f"{places.data}parts/", "output_s3_uri": output_uri})

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    scored = pd.read_csv(io.BytesIO(read(output_uri)))
    expected = pd.concat([flights.iloc[part * 100 : part * 100 + 50] for part in (1, 2, 10)], ignore_index=True)
    assert scored["tailnum"].fillna("").tolist() == expected["tailnum"].fillna("").tolist()
    assert scored["time_hour"].tolist() == expected["time_hour"].tolist()
    np.testing.assert_array_equal(scored["predicted_arr_delay"], model.predict(expected[FEATURES]))


# --- the ways of starting: StartExecution is above -----------------------------------------------------------------------------


def test_a_chunk_is_invoked_directly(aws, stored, flights_csv, model, read, places):
    cut = flights_csv.index(b"\r\n", 200_000)
    while flights_csv.count(b'"', 0, cut) % 2:
        cut = flights_csv.index(b"\r\n", cut + 2)
    event = {**stored, "byte_range": [0, cut + 2], "output_s3_uri": f"{places.output}chunk.csv"}

    answer = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event))

    response = json.loads(answer["Payload"].read())
    assert response["statusCode"] == 200, response
    records, predictions = split_predictions(read(event["output_s3_uri"]))
    assert records == flights_csv[: cut + 2]
    expected = model.predict(pd.read_csv(io.BytesIO(records))[FEATURES])
    np.testing.assert_array_equal(np.array([float(value) for value in predictions[1:]]), expected)


# --- faults -----------------------------------------------------------------------------------------------------------------------


def test_throttling_is_retried_by_the_state_machine(aws, run_execution, stored, proxy, read, flights_csv, places):
    """S3 answers SlowDown on one chunk until botocore gives up, twice."""
    plan = run_execution(aws, {**stored, "output_s3_uri": f"{places.output}throttled.csv", "chunk_size_mb": 1, "dry_run": True})
    chunks = json.loads(read(f"s3://{plan['output']['bucket']}/{plan['output']['plan_key']}"))
    start = chunks[2]["byte_range"][0]
    botocore_attempts = 5

    rule = Rule("throttle", operation="GetObject", range=f"^bytes={start}-", times=2 * botocore_attempts)
    output_uri = f"{places.output}throttled.csv"
    with proxy.rules(rule) as (throttled,):
        execution = run_execution(aws, {**stored, "output_s3_uri": output_uri, "chunk_size_mb": 1})

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert throttled.injected == 2 * botocore_attempts
    histories = child_histories(aws, execution)
    assert failures(histories[2]) == ["TransientS3Error", "TransientS3Error"]
    assert [failures(events) for index, events in histories.items() if index != 2] == [[]] * (len(chunks) - 1)
    assert split_predictions(read(output_uri))[0] == flights_csv


def test_bad_text_in_one_chunk_names_row_and_column_but_no_value(aws, run_execution, stored, flights_csv, uris, places, put):
    header, _, records = flights_csv.partition(b"\r\n")
    lines = records.split(b"\r\n")
    bad = b"2013,1,1,zwoelf,515,2.0,830,819,11.0,UA,1545,N14228,EWR,IAH,227.0,1400,5,15,2013-01-01T10:00:00Z,0042"
    assert bad.count(b",") == header.count(b",")
    middle = next(i for i in range(40_000, 41_000) if lines[i].startswith(b"2013,"))
    lines.insert(middle, bad)
    uri, output_uri = f"{places.data}bad.csv", f"{places.output}bad.csv"
    put(uri, header + b"\r\n" + b"\r\n".join(lines))

    execution = run_execution(aws, {**stored, "data_s3_uri": uri, "output_s3_uri": output_uri, "chunk_size_mb": 1})

    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidDataError")
    position = (header + b"\r\n" + b"\r\n".join(lines[:middle])).count(b"") + 1
    assert f"byte {position}" in execution["cause"]
    assert "column 'dep_time': a text of 6 character(s) is not a number" in execution["cause"]
    assert output_uri not in uris(output_uri)


# --- bad rows ---------------------------------------------------------------------------------------------------------------------


def test_bad_rows_are_kept_aside_with_object_row_and_reason(aws, run_execution, stored, flights, model, read, places, put):
    """Quarantine: the output has every row, the list says which have no prediction and why."""
    rows = flights.iloc[:20_000].astype({"dep_time": object})
    bad = [7, 12_345, 19_999]
    rows.loc[rows.index[bad], "dep_time"] = "zwoelf"
    data = rows.to_csv(index=False).encode()
    uri, output_uri = f"{places.data}some-bad.csv", f"{places.output}some-bad.csv"
    put(uri, data)

    execution = run_execution(
        aws, {**stored, "data_s3_uri": uri, "output_s3_uri": output_uri, "chunk_size_mb": 0.5, "on_bad_row": "quarantine"}
    )

    assert execution["status"] == "SUCCEEDED", execution.get("cause")
    assert execution["output"]["chunks"] >= 3
    assert (execution["output"]["rows"], execution["output"]["rejected_rows"]) == (20_000, 3)
    rejected = pd.read_csv(io.BytesIO(read(execution["output"]["rejected_s3_uri"])))
    assert rejected["row"].tolist() == [row + 1 for row in bad]
    assert rejected["data_s3_uri"].unique().tolist() == [uri]
    assert all(data[byte:].startswith(b"2013,") and b"zwoelf" in data[byte : byte + 40] for byte in rejected["byte"])
    assert rejected["reason"].unique().tolist() == ["column 'dep_time': 'zwoelf' is not a number"]
    scored = pd.read_csv(io.BytesIO(read(output_uri)))["predicted_arr_delay"]
    assert np.flatnonzero(scored.isna()).tolist() == bad
    good = flights.iloc[:20_000].drop(flights.index[bad])
    np.testing.assert_array_equal(scored.drop(bad), model.predict(good[FEATURES]))


# --- what is wrong before anything is scored ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "error", "says"),
    [
        (b"PK\x03\x04\x00zip", "InvalidDataError", "zip archive"),
        (b"month,dep_time\n1,2\n", "InvalidRequestError", "dep_delay"),
    ],
)
def test_data_that_cannot_be_scored_is_one_clear_sentence(aws, run_execution, stored, uris, data, error, says, places, put):
    uri, output_uri = f"{places.data}unusable.csv", f"{places.output}unusable.csv"
    put(uri, data)

    execution = run_execution(aws, {**stored, "data_s3_uri": uri, "output_s3_uri": output_uri})

    assert (execution["status"], execution["error"]) == ("FAILED", error)
    assert says in execution["cause"]
    assert uri in execution["cause"]
    assert "stackTrace" not in execution["cause"]
    assert uris(output_uri) == []


def test_several_mistakes_are_named_at_once(aws, run_execution, stored):
    execution = run_execution(aws, {**stored, "output_s3_uri": "nowhere", "overwrit": True, "chunk_size_mb": -1})
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidRequestError")
    for problem in ("output_s3_uri", "overwrit", "chunk_size_mb"):
        assert problem in execution["cause"]


def test_a_bucket_that_is_not_there_is_named(aws, run_execution, stored):
    execution = run_execution(aws, {**stored, "output_s3_uri": "s3://no-such-bucket-here/out.csv"})
    assert (execution["status"], execution["error"]) == ("FAILED", "InvalidRequestError")
    assert "s3://no-such-bucket-here/out.csv" in execution["cause"]


def test_a_model_that_is_none_ends_the_run_at_the_probe(aws, run_execution, stored, uris, places, put):
    model_uri, output_uri = f"{places.models}none.joblib", f"{places.output}none.csv"
    put(model_uri, b"not a model")
    execution = run_execution(aws, {**stored, "model_s3_uri": model_uri, "output_s3_uri": output_uri})
    assert (execution["status"], execution["error"]) == ("FAILED", "ModelError")
    assert model_uri in execution["cause"]
    assert "joblib" in execution["cause"]
    assert uris(output_uri) == []
