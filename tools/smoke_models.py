"""Runs on the package's libraries and nothing else: writes a CSV file, fits a model of each family by pandas, and predicts.

Started by tools/smoke.py as `python -S -s -P smoke_models.py DIRECTORY`; imports nothing of the project. What the package must
answer is `model.predict(pandas.read_csv(file)[columns])`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import lightgbm
import numpy as np
import pandas as pd
import xgboost
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

ROWS, FIT_ROWS, NUMBERS, SEED = 20_000, 4_000, 20, 7
CITIES = ("Bern", "Kraków", "New York", "São Paulo", "Zürich")
WORDS = ("delayed", "early", "full", "late", "quiet", "rerouted")
NOTES = ("007", 'said "maybe", then "yes"', "line one\nline two", "1.10")
X = [f"x{position:02d}" for position in range(NUMBERS)]
"""Columns of numbers, without a missing value."""


class Family(NamedTuple):
    """A model, not yet fitted, and the columns that it knows."""

    estimator: Any
    columns: list[str]
    target: str = "number"


def families() -> dict[str, Family]:
    """Return a model of each family; the first four are those of the benchmark (benchmarks/cases.py).

    One thread, as the handler has it: with more, a forest's trees are added up in another order.
    """
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = ("numbers", StandardScaler(), X)
    imputed = make_pipeline(SimpleImputer(strategy="constant", fill_value="unknown"), one_hot)
    median = ("median", SimpleImputer(strategy="median", add_indicator=True), ["income"])
    framed = clone(ColumnTransformer([("city", one_hot, ["city"]), numbers, median])).set_output(
        transform="pandas"
    )  # not its steps
    as_category = FunctionTransformer(pd.DataFrame.astype, kw_args={"dtype": {"city": "category"}})
    return {
        "ridge": Family(make_pipeline(StandardScaler(), Ridge()), X),
        "columns": Family(make_pipeline(ColumnTransformer([("city", one_hot, ["city"]), numbers]), Ridge()), ["city", *X]),
        "histgb": Family(HistGradientBoostingRegressor(random_state=SEED), X),
        "forest": Family(
            RandomForestRegressor(n_estimators=100, max_depth=10, max_features="sqrt", n_jobs=1, random_state=SEED), X
        ),
        "imputed": Family(
            make_pipeline(ColumnTransformer([("city", imputed, ["city"]), numbers, median]), Ridge()), ["city", "income", *X]
        ),
        "passthrough": Family(
            make_pipeline(ColumnTransformer([("member", "passthrough", ["member"]), numbers]), Ridge()), ["member", *X]
        ),
        "words": Family(make_pipeline(ColumnTransformer([("words", CountVectorizer(), "words"), numbers]), Ridge()), ["words", *X]),
        "framed": Family(make_pipeline(framed, Ridge()), ["city", "income", *X]),
        "lightgbm": Family(
            make_pipeline(as_category, lightgbm.LGBMClassifier(n_estimators=50, n_jobs=1, random_state=SEED, verbose=-1)),
            ["city", "member", "visits", "income", *X],
            "label",
        ),
        "xgboost": Family(xgboost.XGBRegressor(n_estimators=50, n_jobs=1, random_state=SEED), ["member", "visits", "income", *X]),
    }


def records(random: np.random.Generator) -> list[str]:
    """Return the lines of a CSV file, with quotes and line breaks in fields, and with missing texts and numbers."""
    numbers = [[f"{value:.7f}" for value in row] for row in random.normal(size=(ROWS, NUMBERS))]
    cities = random.choice([*CITIES, ""], ROWS)
    members = random.choice(["True", "False"], ROWS)
    visits = random.integers(0, 50, ROWS)
    incomes = [f"{value:.2f}" if value > 500 else "" for value in random.normal(3_000, 1_500, ROWS)]
    words = [" ".join(chosen) for chosen in random.choice(WORDS, (ROWS, 3))]
    quoted = [note.replace('"', '""') for note in NOTES]
    rows = (
        [f"{row:07d}", cities[row], members[row], str(visits[row]), incomes[row], words[row], *numbers[row], f'"{quoted[row % 4]}"']
        for row in range(ROWS)
    )
    return [",".join(fields) for fields in (["id", "city", "member", "visits", "income", "words", *X, "note"], *rows)]


def main() -> None:
    """Take the directory to write to."""
    directory = Path(sys.argv[1])
    random = np.random.default_rng(SEED)
    lines = records(random)
    path = directory / "smoke.csv"
    path.write_text("".join(f"{line}\n" for line in lines), newline="")
    frame = pd.read_csv(path)
    number = frame[X].to_numpy() @ random.normal(size=NUMBERS) + np.sin(frame["x00"]) + frame["visits"] / 10
    number += 2 * (frame["city"] == "Bern") + 3 * frame["city"].isna() + 4 * frame["member"] + frame["income"].fillna(0) / 1_000
    number += 2 * frame["words"].str.contains("late")
    targets = {"number": number, "label": pd.Series(np.where(number > number.median(), "above", "below"))}
    models = {}
    for name, family in families().items():
        features = frame[family.columns]
        model = family.estimator.fit(features[:FIT_ROWS], targets[family.target][:FIT_ROWS])
        joblib.dump(model, directory / f"{name}.joblib")
        models[name] = {"features": family.columns, "predictions": model.predict(features).tolist()}
    # Lambda has no OpenMP. Modules cannot be strangers: this Python has no site-packages.
    loaded = {line.split()[-1] for line in Path("/proc/self/maps").read_text().splitlines()}
    if strangers := [file for file in loaded if "libgomp" in file and not file.startswith(tuple(filter(None, sys.path)))]:
        sys.exit(f"OpenMP is not the package's: {strangers}")
    (directory / "facts.json").write_text(json.dumps({"records": lines, "models": models}))


if __name__ == "__main__":
    main()
