"""Runs beside libraries that this environment lacks (test_bundles_from_others.py): fits models, saves them, and compares.

fitted_by_others.py save FOLDER     writes models, their rows as CSV, and what they predict, as JSON
fitted_by_others.py compare FOLDER  loads each by its loader, and prints what differs
"""

import json
import sys
import warnings
from pathlib import Path

import catboost
import numpy as np
import onnxruntime
import pandas as pd
import skl2onnx
import skops.io
from lightgbm import LGBMClassifier
from onnx import TensorProto, helper
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import IsolationForest, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from batch_predict.bundle.loaders import catboost_model, onnx_graph, skops_file

RANDOM = np.random.default_rng(0)
ROWS = 200
NUMBERS = pd.DataFrame(RANDOM.normal(size=(ROWS, 3)).astype(np.float32), columns=["a", "b", "c"])
MIXED = pd.DataFrame(
    {"city": RANDOM.choice(["Bern", "Lima"], ROWS), "a": NUMBERS["a"], "b": NUMBERS["b"], "n": RANDOM.integers(0, 9, ROWS)}
)
TARGET = NUMBERS["a"] + NUMBERS["b"] ** 2
IS_LARGE = np.where(TARGET > 1, "yes", "no")
GRADES = np.digitize(TARGET, [0, 1]) * 5 - 3  # -3, 2 and 7


def encoded():
    columns = ColumnTransformer([("city", OneHotEncoder(), ["city"]), ("rest", StandardScaler(), ["a", "b", "n"])])
    return make_pipeline(columns, LogisticRegression())


def graphs():
    """Yield names, graphs, their rows, and the models that they were made of."""
    array = NUMBERS.to_numpy()
    logistic = make_pipeline(StandardScaler(), LogisticRegression()).fit(array, IS_LARGE)
    forest = RandomForestClassifier(5, max_depth=4, random_state=0).fit(array, GRADES)
    for name, zipmap in (("dicts", True), ("matrix", False), ("columns", "columns")):
        yield f"logistic-{name}", skl2onnx.to_onnx(logistic, array[:1], options={"zipmap": zipmap}), NUMBERS, logistic
        if zipmap != "columns":
            yield f"forest-{name}", skl2onnx.to_onnx(forest, array[:1], options={"zipmap": zipmap}), NUMBERS, forest
    linear = LinearRegression().fit(array, TARGET)
    yield "linear", skl2onnx.to_onnx(linear, array[:1]), NUMBERS, linear
    yield "doubles", skl2onnx.to_onnx(linear, array[:1].astype(np.float64)), NUMBERS, linear
    two = LinearRegression().fit(array, np.column_stack([TARGET, -TARGET]))
    yield "two-outputs", skl2onnx.to_onnx(two, array[:1]), NUMBERS, two
    outliers = IsolationForest(n_estimators=5, random_state=0).fit(array)
    yield "outliers", skl2onnx.to_onnx(outliers, array[:1], target_opset={"": 15, "ai.onnx.ml": 3}), NUMBERS, outliers
    types = {"city": StringTensorType, "a": FloatTensorType, "b": FloatTensorType, "n": Int64TensorType}
    pipeline = encoded().fit(MIXED, IS_LARGE)
    yield "inputs", skl2onnx.to_onnx(pipeline, initial_types=[(n, kind([None, 1])) for n, kind in types.items()]), MIXED, pipeline


def boosted():
    """Yield names, models of CatBoost, and their rows."""
    options = {"iterations": 4, "depth": 3, "verbose": 0, "thread_count": 1, "allow_writing_files": False}
    categories = ["city", "n"]
    yield "regressor", catboost.CatBoostRegressor(**options, cat_features=categories).fit(MIXED, TARGET), MIXED
    yield "binary", catboost.CatBoostClassifier(**options, cat_features=categories).fit(MIXED, IS_LARGE), MIXED
    yield "grades", catboost.CatBoostClassifier(**options).fit(NUMBERS, GRADES), NUMBERS
    yield "unnamed", catboost.CatBoostRegressor(**options).fit(NUMBERS.to_numpy(), TARGET), NUMBERS


def save(folder):
    predicted = {}
    for name, graph, rows, _ in graphs():
        (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        kind = np.float64 if session.get_inputs()[0].type == "tensor(double)" else np.float32
        given = {"X": rows.to_numpy(kind)} if rows is NUMBERS else {one: rows[[one]].to_numpy() for one in rows}
        predicted[name] = session.run(None, given)[0].tolist()
    for name, model, rows in boosted():
        model.save_model(folder / f"{name}.cbm")
        predicted[name] = model.predict(rows).tolist()
    pipeline = encoded().fit(MIXED, IS_LARGE)
    skops.io.dump(pipeline, folder / "pipeline.skops")
    trees = LGBMClassifier(n_estimators=3, verbose=-1, n_jobs=1).fit(NUMBERS, GRADES)
    skops.io.dump(trees, folder / "trees.skops")
    predicted |= {"pipeline": pipeline.predict(MIXED).tolist(), "trees": trees.predict(NUMBERS).tolist()}
    own = make_pipeline(FunctionTransformer(json.dumps), LinearRegression())
    skops.io.dump(own, folder / "function.skops")
    NUMBERS.to_csv(folder / "numbers.csv", index=False)
    MIXED.to_csv(folder / "mixed.csv", index=False)
    (folder / "predicted.json").write_text(json.dumps(predicted))


def compare(folder):
    """Yield what loaders answer otherwise than the libraries."""
    yield from compare_graphs(folder, json.loads((folder / "predicted.json").read_bytes()))
    yield from compare_inputs(onnx_graph.load(str(folder / "inputs.onnx")))
    yield from compare_pictures(folder / "pictures.onnx")
    yield from compare_boosted(folder)
    yield from compare_skops(folder)


def compare_graphs(folder, predicted):
    for name, _, rows, original in graphs():
        loaded = onnx_graph.load(str(folder / f"{name}.onnx"))
        if not np.array_equal(loaded.predict(rows), np.squeeze(predicted[name])):
            yield f"{name}: predict"
        if hasattr(loaded, "predict_proba") != hasattr(original, "predict_proba"):
            yield f"{name}: predict_proba {'is there' if hasattr(loaded, 'predict_proba') else 'is missing'}"
        elif hasattr(loaded, "predict_proba"):
            given = rows if rows is MIXED else rows.to_numpy()
            if not np.allclose(loaded.predict_proba(rows), original.predict_proba(given), rtol=1e-5, atol=1e-6):
                yield f"{name}: the probabilities"
            if loaded.classes_.tolist() != original.classes_.tolist():
                yield f"{name}: the classes {loaded.classes_}"
        if loaded.n_features_in_ != rows.shape[1]:
            yield f"{name}: the number of features"


def compare_inputs(inputs):
    if list(inputs.feature_names_in_) != list(MIXED) or inputs.column_types_ != ["text", "number", "number", "integer"]:
        yield "inputs: the columns"
    for column, value in (("city", np.nan), ("n", np.nan), ("n", 1.5)):
        changed = MIXED[:3].astype({"n": float})
        changed.loc[1, column] = value
        try:
            inputs.predict(changed)
        except ValueError:
            continue
        yield f"inputs: a {value} in {column} is taken"


def compare_pictures(path):
    """A graph of pictures is refused by what it takes."""
    given, put_out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 3, 8, 8]) for name in ("pixels", "same"))
    graph = helper.make_graph([helper.make_node("Identity", ["pixels"], ["same"])], "pictures", [given], [put_out])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    path.write_bytes(model.SerializeToString())
    try:
        onnx_graph.load(str(path))
        yield "pictures: they are taken"
    except ValueError as error:
        if "takes pixels, a tensor(float) of shape" not in str(error):
            yield f"pictures: {error}"


def compare_boosted(folder):
    for name, model, rows in boosted():
        loaded = catboost_model.load(str(folder / f"{name}.cbm"))
        if loaded.predict(rows).tolist() != np.squeeze(model.predict(rows)).tolist():
            yield f"{name}: predict"
        if hasattr(model, "predict_proba") and not np.array_equal(loaded.predict_proba(rows), model.predict_proba(rows)):
            yield f"{name}: predict_proba"
        if list(getattr(loaded, "feature_names_in_", [])) != ([] if name == "unnamed" else list(rows)):
            yield f"{name}: the names"


def compare_skops(folder):
    """Yield what is loaded of skops although nobody trusts it."""
    model, listed = folder / "trees.skops", folder / "trusted.json"
    listed.write_text(json.dumps(["collections.OrderedDict", "lightgbm.basic.Booster"]))
    try:
        skops_file.load(str(model))
        yield "trees: a type that is not in the list is loaded"
    except skops.io.exceptions.UntrustedTypesFoundException as error:
        if "lightgbm.sklearn.LGBMClassifier" not in str(error):
            yield f"trees: {error}"
    listed.write_text(json.dumps(skops.io.get_untrusted_types(file=model)))
    if skops_file.load(str(model)).predict(NUMBERS).tolist() != json.loads((folder / "predicted.json").read_bytes())["trees"]:
        yield "trees: predict"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1] == "save":
        save(Path(sys.argv[2]))
    else:
        print(json.dumps([*compare(Path(sys.argv[2]))]))
