"""Write the data and fit the models, once, into a cache folder. Run as a process of its own: the measuring one stays small."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import joblib
import numpy as np
import polars as pl
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from benchmarks.cases import DATASETS, Dataset

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 3
BATCH_ROWS = 50_000
FIT_ROWS = 20_000

CITIES = ("Amsterdam", "Bern", "Chicago", "Kraków", "Lagos", "Lima", "New York", "Osaka", "São Paulo", "Vienna", "Zürich")
NOTES = ("ok", "late delivery", "call back", "no answer", "paid in full", "see contract", "returned once")
QUOTED_NOTES = ('said "maybe", then "yes"', "first floor, left", "line one\nline two", 'size 5"', "Mon, Tue,\nWed")


def dataset(spec: Dataset, path: Path) -> None:
    """Write a dataset's file."""
    with path.open("wb") as file:
        for number, frame in enumerate(batches(spec)):
            if spec.ending == ".jsonl":
                frame.write_ndjson(file)
            else:
                frame.write_csv(file, include_header=number == 0, float_precision=spec.decimals)


def file_of_size(n_bytes: int, path: Path) -> None:
    """Write a file of (nearly) so many bytes, in the shape of dataset *a*."""
    with path.open("wb") as file:
        for number, frame in enumerate(batches(DATASETS["a"], endless=True)):
            text = frame.write_csv(include_header=number == 0, float_precision=DATASETS["a"].decimals).encode()
            missing = n_bytes - file.tell()
            file.write(text if len(text) <= missing else text[: text.rindex(b"\n", 0, missing) + 1])
            if len(text) > missing:
                return


def batches(spec: Dataset, *, endless: bool = False) -> Iterator[pl.DataFrame]:
    """Yield a dataset's rows; the first ones are the same at every scale."""
    number = 0
    while endless or number * BATCH_ROWS < spec.rows:
        batch = _batch(spec, number)
        yield batch if endless else batch.head(spec.rows - number * BATCH_ROWS)
        number += 1


def _batch(spec: Dataset, number: int) -> pl.DataFrame:
    rng = np.random.default_rng([SEED, spec.numbers, number])
    numbers = rng.standard_normal((BATCH_ROWS, spec.numbers)).round(spec.decimals)
    frame = pl.DataFrame(numbers, schema=spec.number_columns)
    if not spec.has_text:
        return frame
    ids = np.arange(number * BATCH_ROWS, (number + 1) * BATCH_ROWS)
    city, note = rng.choice(CITIES, BATCH_ROWS), rng.choice(NOTES, BATCH_ROWS).astype(object)
    if spec.is_quoted:
        # All in the notes: as many as are 1 % of the fields.
        is_quoted = rng.random(BATCH_ROWS) < 0.01 * (spec.numbers + 3)
        note[is_quoted] = rng.choice(QUOTED_NOTES, int(is_quoted.sum()))
    return frame.select(pl.Series("id", ids), pl.Series("city", city), pl.all(), pl.Series("note", note.astype(str)))


def model(name: str, spec: Dataset, path: Path) -> None:
    """Fit a model on a dataset's first rows, as a DataFrame, which is how models are usually fitted, and dump it."""
    frame = next(batches(spec)).head(FIT_ROWS).to_pandas()
    features = frame[spec.features(name)]
    x = frame[spec.number_columns].to_numpy()
    rng = np.random.default_rng(SEED)
    target = x @ rng.standard_normal(spec.numbers) + np.sin(3 * x[:, 0]) * x[:, 1] + rng.standard_normal(len(x))
    joblib.dump(_estimator(name, spec).fit(features, target), path)


def _estimator(name: str, spec: Dataset) -> Any:
    if name == "ridge":
        return make_pipeline(StandardScaler(), Ridge())
    if name == "columns":
        steps = [("city", OneHotEncoder(handle_unknown="ignore"), ["city"]), ("numbers", StandardScaler(), spec.number_columns)]
        return make_pipeline(ColumnTransformer(steps), Ridge())
    if name == "histgb":
        return HistGradientBoostingRegressor(random_state=SEED)
    # All cores, also when predicting: the other contestants have no threads of their own around the model.
    return RandomForestRegressor(n_estimators=100, max_depth=10, max_features="sqrt", n_jobs=-1, random_state=SEED)


def main() -> None:
    """Make one file: `dataset NAME ROWS PATH`, `bytes N PATH` or `model NAME DATASET PATH`."""
    what, *words, target = sys.argv[1:]
    path = Path(target)
    partial = path.with_name(f"{path.name}.partial")
    if what == "dataset":
        full = DATASETS[words[0]]
        dataset(full.scaled(int(words[1]) / full.rows), partial)
    elif what == "bytes":
        file_of_size(int(words[0]), partial)
    else:
        model(words[0], DATASETS[words[1]], partial)
    partial.replace(path)  # whoever finds the file finds it whole


if __name__ == "__main__":
    main()
