"""Runs on the package's libraries and nothing else: writes a CSV file, fits a model of each family, and predicts with scikit-learn.

Started by tools/smoke.py as `python -S -s -P smoke_models.py DIRECTORY`; imports nothing of the project.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import pyarrow as pa
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

ROWS, FIT_ROWS, NUMBERS, SEED = 20_000, 4_000, 20, 7
CITIES = ("Bern", "Kraków", "New York", "São Paulo", "Zürich")
NOTES = ("007", 'said "maybe", then "yes"', "line one\nline two", "1.10")
MODELS = ("ridge", "columns", "histgb", "forest")
"""The families of the benchmark: benchmarks/cases.py."""


def estimator(name: str, numbers: list[str]) -> object:
    """Return a model of a family, not yet fitted."""
    if name == "ridge":
        return make_pipeline(StandardScaler(), Ridge())
    if name == "columns":
        steps = [("city", OneHotEncoder(handle_unknown="ignore"), ["city"]), ("numbers", StandardScaler(), numbers)]
        return make_pipeline(ColumnTransformer(steps), Ridge())
    if name == "histgb":
        return HistGradientBoostingRegressor(random_state=SEED)
    # One thread, as the handler has it: with more the trees are added up in another order.
    return RandomForestRegressor(n_estimators=100, max_depth=10, max_features="sqrt", n_jobs=1, random_state=SEED)


def strangers(own: list[str]) -> list[str]:
    """Return files of loaded modules that neither the package, nor the runtime, nor Python itself brought."""
    files = [str(module.__file__) for module in list(sys.modules.values()) if getattr(module, "__file__", None)]
    known = (*own, __file__)
    return [
        file
        for file in files
        if not file.startswith(known)
        and ("site-packages" in file or "dist-packages" in file or not file.startswith((sys.base_prefix, sys.exec_prefix)))
    ]


def main() -> None:
    """Take the directory to write to."""
    directory = Path(sys.argv[1])
    random = np.random.default_rng(SEED)
    numbers = [f"x{position:02d}" for position in range(NUMBERS)]
    text = [[f"{value:.7f}" for value in row] for row in random.normal(size=(ROWS, NUMBERS))]
    X = np.array(text, dtype=float)  # noqa: N806  # scikit-learn's name; as a reader finds them
    cities = random.choice(CITIES, ROWS)
    y = X @ random.normal(size=NUMBERS) + (cities == "Bern") + np.sin(X[:, 0])
    table = pa.table({"city": cities.tolist(), **{name: X[:, position] for position, name in enumerate(numbers)}})
    quoted = [note.replace('"', '""') for note in NOTES]
    records = [",".join(["id", "city", *numbers, "note"])]
    records += [",".join([f"{row:07d}", cities[row], *text[row], f'"{quoted[row % len(quoted)]}"']) for row in range(ROWS)]
    models = {}
    for name in MODELS:
        features, data = (["city", *numbers], table) if name == "columns" else (numbers, X)
        model = estimator(name, numbers).fit(data[:FIT_ROWS], y[:FIT_ROWS])  # type: ignore[attr-defined]
        joblib.dump(model, directory / f"{name}.joblib")
        models[name] = {"features": features, "predictions": model.predict(data).tolist()}
    if found := strangers([entry for entry in sys.path if "python3" not in entry and not entry.endswith(".zip")]):
        sys.exit(f"modules that are not the package's: {found}")
    (directory / "facts.json").write_text(json.dumps({"records": records, "models": models}))


if __name__ == "__main__":
    main()
