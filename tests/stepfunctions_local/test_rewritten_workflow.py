"""The workflow by the rewritten definition, on the emulator's engine and on Step Functions Local if there is one."""

import io
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from support.s3_proxy import Rule

ROWS = 1500  # more than Probe Model reads, so that a bad row can be beyond it
BAD_ROW = 1400
BODY_ATTEMPTS = 5  # of the prediction function, which does not wait between them


RECORDS = [f'{number:06},"a ""note"",\nof two lines",{number}' for number in range(ROWS)]
BAD_RECORDS = [*RECORDS[:BAD_ROW], f"{BAD_ROW},,two", *RECORDS[BAD_ROW + 1 :]]
SCORED = [f"{record},{2.0 * number!r}" for number, record in enumerate(RECORDS)]
"""What the model itself makes of the good rows: twice their x."""


def csv(header, records):
    return "\n".join([header, *records, ""]).encode()


@pytest.fixture(scope="package")
def stored(aws):
    """Model and data in S3, good and bad; returns the request's fields for a run of two chunks."""
    model = LinearRegression().fit(pd.DataFrame({"x": [0.0, 1.0]}), np.array([0.0, 2.0]))
    model.coef_, model.intercept_ = np.array([2.0]), 0.0  # exact
    buffer = io.BytesIO()
    joblib.dump(model, buffer)
    put = partial(aws.client("s3").put_object, Bucket=aws.bucket)
    put(Key="models/double.joblib", Body=buffer.getvalue())
    put(Key="data/good.csv", Body=csv("id,note,x", RECORDS))
    put(Key="data/bad.csv", Body=csv("id,note,x", BAD_RECORDS))
    return {
        "model_s3_uri": f"s3://{aws.bucket}/models/double.joblib",
        "data_s3_uri": f"s3://{aws.bucket}/data/good.csv",
        "output_s3_uri": f"s3://{aws.bucket}/output/{{execution_name}}.csv",
        "prediction_column_name": "prediction",
        "chunk_size_mb": 0.03,
    }


def published(aws, ended):
    assert (ended.error, ended.last_state, ended.output["chunks"], ended.output["rows"]) == (None, "Published", 2, ROWS)
    key = ended.output["output_s3_uri"].removeprefix(f"s3://{aws.bucket}/")
    return aws.client("s3").get_object(Bucket=aws.bucket, Key=key)["Body"].read()


def test_all_rows_are_scored(workflow, aws, stored):
    ended = workflow.run(stored)
    assert ended.failures == []
    assert published(aws, ended) == csv("id,note,x,prediction", SCORED)


def test_a_transient_error_is_retried(workflow, aws, stored, proxy):
    """The answers to the second chunk break midway until its function gives up, twice."""
    rule = Rule("cut", "PredictChunkFunction", "GetObject", "data/good.csv", range="^bytes=[1-9]", times=2 * BODY_ATTEMPTS)
    with proxy.rules(rule):
        ended = workflow.run(stored)
    assert ended.failures == ["TransientS3Error", "TransientS3Error"]
    assert published(aws, ended) == csv("id,note,x,prediction", SCORED)


def test_bad_data_is_not_retried(workflow, aws, stored):
    ended = workflow.run({**stored, "data_s3_uri": f"s3://{aws.bucket}/data/bad.csv"})
    assert (ended.error, ended.last_state, ended.failures) == ("InvalidDataError", "Prediction Failed", ["InvalidDataError"])
    assert "column 'x': a text of 3 character(s) is not a number" in ended.document["explanation"]["cause"]


def test_a_wrong_request_is_rejected(workflow, stored):
    ended = workflow.run({**stored, "chunk_size": 64, "feature_columns": []})
    assert (ended.error, ended.last_state) == ("InvalidRequestError", "Request Rejected")
    assert "chunk_size" in ended.document["rejection"]["details"]["errorMessage"]
