"""Runs where a bundle is made of its models (test_packaged_bundles.py): fits pipelines that need its pandas, and predicts."""

import json
import sys

import joblib
import pandas as pd
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

MODELS = {"linear": LogisticRegression(), "trees": HistGradientBoostingClassifier(max_iter=20, random_state=0)}


def main(data, folder):
    frame = pd.read_csv(data)
    features, predicted = frame[["city", "x", "y"]], {}
    for name, last in MODELS.items():
        one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
        columns = ColumnTransformer([("city", one_hot, ["city"]), ("numbers", StandardScaler(), ["x", "y"])])
        model = make_pipeline(columns.set_output(transform="pandas"), last).fit(features, (frame.x + frame.y > 10).astype(int))
        joblib.dump(model, f"{folder}/{name}.joblib")
        predicted[name] = model.predict_proba(features)[:, 1].tolist()
    print(json.dumps(predicted))


if __name__ == "__main__":
    main(*sys.argv[1:])
