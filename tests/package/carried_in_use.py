"""Runs in the package's interpreter (test_carried.py): what the handler can do there with the libraries that it unpacks."""
# ruff: noqa: PLC0415  # what is imported when is the point

import importlib.metadata
import importlib.util
import io
import sys
import time

import prediction_handler as handler

LIBRARIES = ("pandas", "lightgbm", "xgboost")


def main() -> None:  # noqa: PLR0915  # one story: a container that needs nothing at first, and then one library after another
    import numpy as np
    import pyarrow as pa
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    random = np.random.default_rng(0)
    handler._make_importable("sklearn.pipeline")
    handler._make_importable("__main__")
    numbers, labels = random.normal(size=(200, 3)), np.arange(200) % 2
    histgb = HistGradientBoostingClassifier(max_iter=5).fit(numbers, labels)
    assert pa.array([np.float64(1), None]).null_count == 1
    assert not pa.lib._pandas_api.have_pandas  # Arrow has looked for pandas, and found none
    assert all(importlib.util.find_spec(name) is None for name in LIBRARIES)
    assert not set(LIBRARIES) & set(sys.modules)

    started = time.perf_counter()
    folder = handler._unpacked("pandas", handler._carried_libraries()["pandas"])
    unpacking = time.perf_counter() - started
    assert str(folder) not in sys.path
    handler._make_importable("pandas.core.frame")
    import pandas as pd

    assert sys.path[-1] == str(folder)
    assert pd.__file__.startswith(str(folder))
    assert importlib.metadata.version("pandas") == pd.__version__
    assert importlib.util.find_spec("lightgbm") is None

    rows = "Bern,True,1,2026-01-01\n,False,2,\nKraków,True,,2026-03-01\nNA,False,9007199254740993,2026-04-01\n" * 50
    frame = pd.read_csv(io.StringIO(f"city,flag,n,when\n{rows}"))
    assert [str(dtype) for dtype in frame.dtypes] == ["str", "bool", "float64", "str"]
    assert type(frame["city"].array).__name__ == "ArrowStringArray"
    assert frame["city"].isna().sum() == 100
    assert frame["city"].str.upper().tolist()[2] == "KRAKÓW"
    assert frame["city"].astype("category").cat.categories.tolist() == ["Bern", "Kraków"]
    assert frame.sort_values("n").head(2)["n"].tolist() == [1, 1]
    assert frame.merge(frame.drop_duplicates("city"), on="city").shape[0] == 200
    assert frame["city"].value_counts()["Bern"] == 50
    assert pd.to_datetime(frame["when"]).dt.tz_localize("Europe/Zurich").dt.year.dropna().unique().tolist() == [2026]
    table = pa.table({"city": ["Bern", None], "n": pa.array([1, None], pa.int64()), "b": [True, None]})
    assert table.to_pandas()["n"].isna().tolist() == [False, True]
    assert [str(dtype) for dtype in table.to_pandas().dtypes] == ["str", "float64", "object"]
    assert pa.array(frame["n"]).null_count == 50  # a Series, whose NaN is null to Arrow
    assert pa.table(frame).num_rows == 200

    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = ColumnTransformer(
        [
            ("city", make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), encoder), ["city"]),
            ("n", SimpleImputer(), ["n"]),
            ("flag", "passthrough", ["flag"]),
        ]
    ).set_output(transform="pandas")
    transformed = columns.fit_transform(frame)
    assert isinstance(transformed, pd.DataFrame)
    names = ["city__city_Bern", "city__city_Kraków", "city__city_none"]
    assert [name for name in transformed.columns if name.startswith("city__")] == names
    y = np.where(frame["flag"], "yes", "no")
    assert make_pipeline(columns, StandardScaler(), LogisticRegression()).fit(frame, y).predict(frame).tolist() == y.tolist()
    words = ColumnTransformer([("flag", "passthrough", ["flag"]), ("when", CountVectorizer(), "when")])
    assert words.fit_transform(frame.fillna({"when": "never"})).shape == (200, 6)

    handler._make_importable("lightgbm.sklearn")
    handler._make_importable("xgboost")
    import lightgbm
    import xgboost

    features = pd.DataFrame({"city": frame["city"].astype("category"), "n": frame["n"], "flag": frame["flag"]})
    for threads in (1, 2):
        model = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=1, n_jobs=threads, verbose=-1).fit(features, y)
        assert model.booster_.pandas_categorical == [["Bern", "Kraków"]]
        assert model.predict(features).tolist() == y.tolist()
        boosted = xgboost.XGBClassifier(n_estimators=5, n_jobs=threads, enable_categorical=True).fit(
            features, frame["flag"].astype(int)
        )
        assert boosted.predict(features).tolist() == frame["flag"].astype(int).tolist()
        assert set(histgb.predict(numbers).tolist()) == {0, 1}  # scikit-learn's OpenMP, beside LightGBM's and XGBoost's

    print(unpacking)


if __name__ == "__main__":
    main()
