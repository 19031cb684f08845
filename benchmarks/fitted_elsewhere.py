"""Fit a pipeline in the environment that runs this, which needs nothing of ours, and dump it."""

import sys

import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

FIT_ROWS = 20_000


def main(data: str, model: str) -> None:
    frame = pd.read_csv(data, nrows=FIT_ROWS)
    numbers = [name for name in frame if name.startswith("x")]
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer([("city", one_hot, ["city"]), ("numbers", StandardScaler(), numbers)])
    estimator = make_pipeline(columns, Ridge()).fit(frame[["city", *numbers]], frame[numbers].sum(axis=1))
    joblib.dump(estimator, model)


if __name__ == "__main__":
    main(*sys.argv[1:])
