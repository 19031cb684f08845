"""The embedded AWS, once for all integration tests, and the flights in it.

IAM is enforced, and Step Functions does not wait before its retries. With `--aws`: a stack that is deployed, instead.
"""

import json
import uuid
from pathlib import Path

import jsonschema
import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from batch_predict.local.aws import LocalAws, local_aws
from batch_predict.local.flights import write_flights
from support import executions
from support.deployed_stack import Places, delete_all, find_stack
from support.flights_data import FEATURES, NUMBERS, ROWS, TEXTS
from support.places import dumped, split_uri
from support.s3_proxy import behind, s3_proxy

REPORT_SCHEMA = json.loads((Path(__file__).parents[2] / "functions/workflow/report.schema.json").read_text())


@pytest.fixture(scope="session")
def aws(pytestconfig):
    """The project's own stack."""
    if pytestconfig.getoption("aws"):
        yield find_stack(pytestconfig.getoption("stack"))
        return
    with local_aws(enforce_iam=True, wait_scale=0) as running:
        yield running


@pytest.fixture(scope="session")
def places(aws):
    """Where tests put models and data and want output; on AWS under a prefix of this session's own, of which nothing stays."""
    if isinstance(aws, LocalAws):
        yield Places.of(aws.outputs)
        return
    places = Places.of(aws.outputs, f"test-{uuid.uuid4()}/")
    yield places
    for uri in (places.models, places.data, places.output):
        delete_all(aws.client("s3"), uri)


@pytest.fixture(scope="session")
def canary_stack():
    """The directory of the smallest stack that local_aws() takes."""
    return Path(__file__).with_name("canary_stack")


@pytest.fixture(scope="session")
def canary_aws(canary_stack):
    """The canary stack, on an emulator of its own."""
    with local_aws(enforce_iam=True, wait_scale=0, directory=canary_stack) as running:
        yield running


@pytest.fixture(scope="session")
def run_execution():
    return executions.run_execution


@pytest.fixture
def scored(aws, run_execution, places):
    """Run a request whose output has this name, and which must succeed; return its execution."""

    def scored(name, **fields):
        execution = run_execution(aws, {"output_s3_uri": f"{places.output}{name}", **fields})
        assert execution["status"] == "SUCCEEDED", (execution["error"], execution["cause"])
        return execution

    return scored


@pytest.fixture
def failed(aws, run_execution, places, uris):
    """Run a request whose output has this name, and which must fail and publish nothing; return its error and cause."""

    def failed(name, **fields):
        output_uri = f"{places.output}{name}"
        before = [uri for uri in uris(output_uri) if uri == output_uri]
        execution = run_execution(aws, {"output_s3_uri": output_uri, **fields})
        assert execution["status"] == "FAILED"
        assert [uri for uri in uris(output_uri) if uri == output_uri] == before
        assert "stackTrace" not in execution["cause"]
        return execution["error"], execution["cause"]

    return failed


@pytest.fixture
def report_of(read):
    """Read the report of an execution that has succeeded."""

    def report_of(execution):
        report = json.loads(read(execution["output"]["report_s3_uri"]))
        jsonschema.validate(report, REPORT_SCHEMA)
        return report

    return report_of


@pytest.fixture(scope="session")
def flights(tmp_path_factory):
    """The year's first rows, as pandas reads them."""
    return pd.read_csv(write_flights(tmp_path_factory.mktemp("flights"), ROWS))


@pytest.fixture(scope="session")
def flights_csv(flights):
    """As somebody else's program wrote it: text fields quoted, some with commas and line breaks, CRLF."""
    extra = flights.assign(remark=np.where(np.arange(len(flights)) % 50 == 0, 'late, "very"\r\nlate', "0042"))
    return extra.to_csv(index=False, lineterminator="\r\n").encode()


@pytest.fixture(scope="session")
def model(flights):
    known = flights.dropna(subset=["arr_delay"])
    columns = ColumnTransformer(
        [
            ("numbers", SimpleImputer(), NUMBERS),
            ("texts", OneHotEncoder(handle_unknown="ignore", sparse_output=False, max_categories=30), TEXTS),
        ]
    )
    return make_pipeline(columns, HistGradientBoostingRegressor(max_iter=20)).fit(known[FEATURES], known["arr_delay"])


@pytest.fixture(scope="session")
def put(aws):
    """Write bytes, a text or a model at a URI; return the URI."""
    s3 = aws.client("s3")

    def put(uri, body):
        bucket, key = split_uri(uri)
        s3.put_object(Bucket=bucket, Key=key, Body=dumped(body))
        return uri

    return put


@pytest.fixture(scope="session")
def stored(places, put, model, flights_csv):
    """Model and data in S3; returns the request's fields for them."""
    return {
        "model_s3_uri": put(f"{places.models}arrival_delay.joblib", model),
        "data_s3_uri": put(f"{places.data}flights/2013.csv", flights_csv),
        "prediction_column_name": "predicted_arr_delay",
        "feature_columns": FEATURES,
    }


@pytest.fixture
def proxy(aws):
    """Put a proxy between the prediction function and S3 for one test."""
    with s3_proxy(aws.endpoint_url) as proxy, behind(proxy, aws, "PredictChunkFunction"):
        yield proxy


@pytest.fixture
def read(aws):
    s3 = aws.client("s3")

    def read(uri):
        bucket, key = split_uri(uri)
        return s3.get_object(Bucket=bucket, Key=key)["Body"].read()

    return read


@pytest.fixture
def uris(aws):
    """List the objects whose URIs begin so."""
    pages = aws.client("s3").get_paginator("list_objects_v2")

    def uris(start):
        bucket, prefix = split_uri(start)
        listed = [item for page in pages.paginate(Bucket=bucket, Prefix=prefix) for item in page.get("Contents", ())]
        return [f"s3://{bucket}/{item['Key']}" for item in listed]

    return uris
