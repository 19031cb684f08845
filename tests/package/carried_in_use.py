"""Runs in the package's interpreter (test_carried.py): what the handler can do there with the libraries that it unpacks."""
# ruff: noqa: PLC0415  # what is imported when is the point

import importlib.metadata
import importlib.util
import io
import sys

import prediction_handler as handler

LIBRARIES = ("pandas", "lightgbm", "xgboost")


def main() -> None:
    import numpy as np
    import pyarrow as pa
    from sklearn.ensemble import HistGradientBoostingClassifier

    handler._make_importable("sklearn.pipeline")
    numbers, labels = np.random.default_rng(0).normal(size=(200, 3)), np.arange(200) % 2
    histgb = HistGradientBoostingClassifier(max_iter=5).fit(numbers, labels)
    assert pa.array([np.float64(1), None]).null_count == 1
    assert not pa.lib._pandas_api.have_pandas  # Arrow has looked for pandas, and found none
    assert not set(LIBRARIES) & set(sys.modules)
    assert all(importlib.util.find_spec(name) is None for name in LIBRARIES)

    handler._make_importable("pandas.core.frame")
    import pandas as pd

    assert importlib.metadata.version("pandas") == pd.__version__
    assert importlib.util.find_spec("lightgbm") is None
    frame = pd.read_csv(io.StringIO("city,flag,n\n" + "Bern,True,1\n,False,2\nKraków,True,\nNA,False,9007199254740993\n" * 50))
    assert [str(dtype) for dtype in frame.dtypes] == ["str", "bool", "float64"]
    assert type(frame["city"].array).__name__ == "ArrowStringArray"
    assert pa.table({"b": [True, None]}).to_pandas()["b"].tolist() == [True, None]
    assert pa.array(frame["n"]).null_count == 50  # a Series, whose NaN is null to Arrow

    handler._make_importable("lightgbm.sklearn")
    handler._make_importable("xgboost")
    import lightgbm
    import xgboost

    features, flags = frame.astype({"city": "category"}), frame["flag"].astype(int)
    y = np.where(flags, "yes", "no")
    for threads in (1, 2):
        model = lightgbm.LGBMClassifier(n_estimators=5, min_child_samples=1, n_jobs=threads, verbose=-1).fit(features, y)
        assert model.booster_.pandas_categorical == [["Bern", "Kraków"]]
        assert model.predict(features).tolist() == y.tolist()
        boosted = xgboost.XGBClassifier(n_estimators=5, n_jobs=threads, enable_categorical=True).fit(
            features, frame["flag"].astype(int)
        )
        assert boosted.fit(features, flags).predict(features).tolist() == flags.tolist()
        assert set(histgb.predict(numbers).tolist()) == {0, 1}  # scikit-learn's OpenMP, beside LightGBM's and XGBoost's


if __name__ == "__main__":
    main()
