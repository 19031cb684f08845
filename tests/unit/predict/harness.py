"""What the handler's tests share: events, small models, and a way to score bytes without S3."""

import json

import numpy as np
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import prediction_handler as handler
import stored_model

BUCKET = "handler-tests"
MODEL, DATA, OUTPUT = (f"s3://{BUCKET}/{key}" for key in ("models/m.joblib", "data/in.csv", "out/predictions.csv"))


class FirstColumn:
    """A model of somebody's own: only `predict`, which gives back its first feature."""

    def predict(self, features):
        return np.asarray(features)[:, 0]


def make_event(**fields):
    event = {
        "model_s3_uri": MODEL,
        "data_s3_uri": DATA,
        "output_s3_uri": OUTPUT,
        "prediction_column_name": "prediction",
        "feature_columns": ["x1", "x2"],
    }
    return {**event, **fields}


def invoke(**fields):
    """Invoke directly; returns status and decoded body."""
    response = handler.lambda_handler(make_event(**fields), None)
    assert set(response) == {"statusCode", "body"}
    return response["statusCode"], json.loads(response["body"])


def linear(columns=("x1", "x2"), weights=(2.0, -1.0)):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(50, len(columns))), columns=list(columns))
    return LinearRegression().fit(frame, frame.to_numpy() @ np.array(weights))


def stored(estimator):
    """An estimator as it is read again after it was stored as numbers."""
    return stored_model.read(stored_model.written(stored_model.Stored(estimator, {}, ()))).estimator


def bits(answer):
    """An array to the bit, or several."""
    if isinstance(answer, list):
        return [bits(one) for one in answer]
    return answer.dtype.str, answer.shape, answer.tolist() if answer.dtype == object else answer.tobytes()


def score_locally(data, folder, block_bytes=4_000_000, model=None, **fields):
    """Score bytes as a file of one feature `x1`; returns the part's facts and bytes."""
    (folder / "in.csv").write_bytes(data)
    options = {"feature_columns": ["x1"], "prediction_column_name": "p", **fields}
    original, handler.BLOCK_BYTES = handler.BLOCK_BYTES, block_bytes
    try:
        facts = handler.score_file(folder / "in.csv", folder / "part.csv", model or FirstColumn(), **options)
    finally:
        handler.BLOCK_BYTES = original
    return facts, (folder / "part.csv").read_bytes()


def last_fields(output):
    """Return the predictions of an output as they are written, if none of them is quoted."""
    return [line.rpartition(",")[2] for line in output.decode().splitlines()[1:]]


def frame(rows=500, seed=0):
    generator = np.random.default_rng(seed)
    data = pd.DataFrame(generator.normal(size=(rows, 3)), columns=["a", "b", "c"])
    data["flag"] = generator.choice([True, False], rows)
    data["count"] = generator.integers(0, 9, rows)
    data["city"] = generator.choice(["Zürich", "New York, NY", "08", "NA?"], rows)
    data.loc[::7, "b"] = np.nan
    return data


def mixed_pipeline(final):
    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    return make_pipeline(
        ColumnTransformer(
            [("numbers", numbers, ["a", "b", "c", "count"]), ("text", OneHotEncoder(handle_unknown="ignore"), ["city"])]
        ),
        final,
    )
