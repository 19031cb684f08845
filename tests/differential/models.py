"""The models of the differential table: estimators as people combine them, each with the columns it is fitted on.

The handler looks into a model to decide what its columns are and whether it is given arrays, DataFrames or texts. There is a model
for each way in which a column comes to the step that decides: of numbers every estimator of scikit-learn that can be fitted on
three columns, of texts and of mixed columns one for each kind of step, of selection and of wrapper.

A model is fitted on what `pandas.read_csv` makes of the training file, in the project's environment, and scored by the handler
there and in the package.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import Any

import lightgbm
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import KMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.decomposition import PCA
from sklearn.ensemble import (
    BaggingClassifier,
    BaggingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import SelectFromModel, VarianceThreshold
from sklearn.frozen import FrozenEstimator
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LinearRegression, LogisticRegression, RANSACRegressor, Ridge, SGDClassifier
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import CategoricalNB, MultinomialNB
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    MinMaxScaler,
    OneHotEncoder,
    OrdinalEncoder,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators

from differential import files, own_steps

has_xgboost = find_spec("xgboost") is not None  # there are no wheels for macOS
if has_xgboost:
    import xgboost

PLAIN = ["age", "height", "rank"]
"""Columns of numbers that lack none in the training file."""
HOLES = ["age", "height", "dose", "visits"]
"""Columns of numbers of which some lack values."""
TEXTS = ["city", "plan"]
JOBS = ["city", "job"]
"""Columns of texts of which one lacks values."""
MIXED = ["age", "dose", "city", "job"]
EVERYTHING = ["age", "height", "dose", "visits", "paid", "smoker", "city", "plan", "job", "code"]

SCORES = ("predict", "predict_proba", "decision_function")
"""Methods; those that a fitted model lacks are left out."""
CATEGORIES = {"dtype": {"city": "category", "job": "category"}}


@dataclass(frozen=True)
class Model:
    """An estimator that is not fitted yet, and how a person would fit it."""

    name: str
    family: str
    estimator: Any
    features: list[str]
    target: str
    read: dict[str, Any] = field(default_factory=dict)
    """What `pandas.read_csv` is told, in training and in scoring."""
    as_array: bool = False
    """Whether it is fitted on an array, so that it knows no names."""
    as_series: bool = False
    """Whether it is fitted on a Series of texts, and scores one."""


MODELS: dict[str, Model] = {}


def add(family: str, name: str, estimator: Any, features: list[str], target: str = "number", **options: Any) -> None:
    if name in MODELS:
        raise ValueError(f"two models are called {name}")
    MODELS[name] = Model(name, family, estimator, features, target, **options)


@cache
def targets() -> dict[str, Any]:
    """Return what there is to predict, by name: one element or row for each row of the training file."""
    frame = training_frame()
    number = frame["age"] * 0.3 + np.sin(frame["height"]) * 5 - frame["rank"] / 7 + (frame["plan"] == "pro") * 4
    number += frame["dose"].fillna(50) / 9 + (frame["job"] == "cook") * 3
    thirds = np.digitize(number, np.quantile(number, [1 / 3, 2 / 3]))
    word = np.array(["low", "mid, or so", 'high "er"'], dtype=object)[thirds]
    return {
        "number": number.to_numpy(),
        "two numbers": np.column_stack([number, -number / 3]),
        "class": thirds,
        "word": word,
        "yes": thirds > 0,
        "half labelled": np.where(np.arange(len(thirds)) % 3 == 0, -1, (thirds > 0).astype(int)),
        "two words": np.column_stack([word, np.where(thirds > 1, "yes", "no")]),
        "tags": np.column_stack([thirds > 0, thirds > 1, number > number.mean()]).astype(int),
        "none": None,
    }


@cache
def training_file() -> bytes:
    columns = files.training()
    return "".join(files.written(columns, list(columns))).encode()


def training_frame(**read: Any) -> pd.DataFrame:
    return pd.read_csv(io.BytesIO(training_file()), **read)


def fit(model: Model) -> Any:
    """Fit a model as a person would."""
    frame = training_frame(**model.read)[model.features]
    features: Any = frame[model.features[0]] if model.as_series else frame.to_numpy() if model.as_array else frame
    return clone(model.estimator).fit(features, targets()[model.target])


# --- pieces that come back ------------------------------------------------------------------------------------------------------


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(**{"handle_unknown": "ignore", "sparse_output": False, **options})


def ridge_after(*steps: Any) -> Pipeline:
    return make_pipeline(*steps, Ridge())


def scaled(final: Any) -> Pipeline:
    return make_pipeline(StandardScaler(), final)


def encoded(final: Any) -> Pipeline:
    return make_pipeline(ColumnTransformer([("texts", one_hot(), TEXTS)]), final)


def mixed(final: Any) -> Pipeline:
    """Build what most tutorials build: numbers filled in and scaled, texts filled in and one-hot."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot())
    return make_pipeline(ColumnTransformer([("numbers", numbers, ["age", "dose"]), ("texts", texts, JOBS)]), final)


ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2)
TARGET = TargetEncoder(cv=2, random_state=0)
LOGISTIC = LogisticRegression(max_iter=300)
TREES = HistGradientBoostingRegressor(max_iter=9)
FOREST = RandomForestRegressor(8, random_state=0)

# --- numbers --------------------------------------------------------------------------------------------------------------------

SWEPT = {"classifier": "word", "regressor": "number", "cluster": "none", "transformer": "number"}
"""Kinds of scikit-learn's estimators, and what they predict. Each estimator is a model here, each transformer comes before a Ridge;
those that cannot be fitted on plain numbers are left out by `fit_all`."""


def sweep(kind: str) -> None:
    for name, make in all_estimators(type_filter=kind):
        try:
            with warnings.catch_warnings(action="ignore"):  # some are deprecated
                estimator = make()
        except TypeError:  # it wraps others, and comes below
            continue
        given = estimator.get_params()
        estimator.set_params(**{name: value for name, value in {"random_state": 0, "n_estimators": 8}.items() if name in given})
        if kind != "transformer":
            add(kind, name, estimator, PLAIN, SWEPT[kind])
        elif name != "DictionaryLearning":  # it takes 20 seconds
            add(kind, f"{name} and Ridge", ridge_after(estimator), PLAIN)


for _kind in SWEPT:
    sweep(_kind)

add("numbers", "Ridge, fitted on an array", Ridge(), PLAIN, as_array=True)
add("numbers", "LogisticRegression, fitted on an array", scaled(LOGISTIC), PLAIN, "word", as_array=True)
add("numbers", "HistGB, fitted on an array", TREES, HOLES, as_array=True)
add("numbers", "LinearRegression of one column", LinearRegression(), ["age"])
add("numbers", "LinearRegression of large integers", LinearRegression(), ["serial", "age"])
add("numbers", "LinearRegression of booleans", LinearRegression(), ["paid", "age"])
add("numbers", "LinearRegression of two numbers", LinearRegression(), PLAIN, "two numbers")
add("numbers", "LogisticRegression of booleans", scaled(LOGISTIC), PLAIN, "yes")
add("numbers", "LogisticRegression of integers", scaled(LOGISTIC), PLAIN, "class")
add("numbers", "SVC one against one", scaled(SVC(decision_function_shape="ovo")), PLAIN, "word")
add("numbers", "MultinomialNB of scaled numbers", make_pipeline(MinMaxScaler(clip=True), MultinomialNB()), PLAIN, "word")
add("numbers", "IsotonicRegression of one column", IsotonicRegression(out_of_bounds="clip"), ["height"])
add("numbers", "GaussianMixture", GaussianMixture(2, random_state=0), PLAIN, "none")
add("numbers", "IsolationForest", IsolationForest(n_estimators=8, random_state=0), PLAIN, "none")
add("numbers", "LocalOutlierFactor", LocalOutlierFactor(novelty=True), PLAIN, "none")
add("numbers", "OneClassSVM", scaled(OneClassSVM()), PLAIN, "none")
add("numbers", "EllipticEnvelope", EllipticEnvelope(random_state=0), PLAIN, "none")
add("numbers", "SplineTransformer that extrapolates nothing", ridge_after(SplineTransformer(extrapolation="error")), PLAIN)
add("numbers", "FunctionTransformer(np.log1p)", ridge_after(FunctionTransformer(np.log1p)), ["age", "height"])
add("numbers", "SelectFromModel", ridge_after(SelectFromModel(Ridge())), PLAIN)
add("numbers", "Pipeline with a cut-out step", Pipeline([("scale", None), ("ridge", Ridge())]), PLAIN)
add("numbers", "FeatureUnion of numbers", ridge_after(make_union(PCA(2), StandardScaler(), "passthrough")), PLAIN)

add("trees", "HistGB", TREES, HOLES)
add("trees", "HistGB of booleans with missing values", TREES, ["smoker", "paid", "age"])
add("trees", "HistGB of large integers", TREES, ["serial", "age"])
add("trees", "HistGB yes or no", HistGradientBoostingClassifier(max_iter=6), HOLES, "yes")
add("trees", "DecisionTreeClassifier of two words", DecisionTreeClassifier(max_depth=4, random_state=0), PLAIN, "two words")
add("trees", "RandomForestRegressor with missing values", FOREST, HOLES)
add("trees", "RandomForestRegressor of two numbers", FOREST, PLAIN, "two numbers")
add("trees", "RandomForestClassifier of tags", RandomForestClassifier(8, random_state=0), PLAIN, "tags")
for _name, _categories, _features, _read in (
    ("names", JOBS, MIXED, {}),
    ("positions", [2, 3], MIXED, {}),
    ("the dtype", "from_dtype", MIXED, CATEGORIES),
    ("integers", ["visits"], ["age", "visits"], {}),
):
    _boosting = HistGradientBoostingRegressor(categorical_features=_categories, max_iter=9)
    add("trees", f"HistGB with categories by {_name}", _boosting, _features, read=_read)

# --- missing values -------------------------------------------------------------------------------------------------------------

MOST_FREQUENT = SimpleImputer(strategy="most_frequent")
A_WORD = SimpleImputer(strategy="constant", fill_value="None")  # which is spelled like a missing value
LACKING = MissingIndicator(features="all")
add("imputers", "SimpleImputer(mean) of numbers", ridge_after(SimpleImputer()), HOLES)
add("imputers", "SimpleImputer(most_frequent) of numbers", ridge_after(MOST_FREQUENT), HOLES)
add("imputers", "SimpleImputer(constant) of numbers", ridge_after(SimpleImputer(strategy="constant", fill_value=0)), HOLES)
add("imputers", "SimpleImputer with indicator", ridge_after(SimpleImputer(add_indicator=True)), HOLES)
add("imputers", "SimpleImputer of booleans", ridge_after(MOST_FREQUENT), ["smoker", "paid"])
add("imputers", "SimpleImputer of integers", ridge_after(MOST_FREQUENT), ["age", "rank"])
add("imputers", "KNNImputer", ridge_after(KNNImputer(n_neighbors=3)), HOLES)
add("imputers", "VarianceThreshold of missing values", make_pipeline(VarianceThreshold(), TREES), HOLES)
add("imputers", "MissingIndicator beside values", ridge_after(make_union(SimpleImputer(), LACKING)), HOLES)
add("imputers", "MissingIndicator of texts", ridge_after(LACKING), ["job", "code"])
_filled = make_pipeline(A_WORD, one_hot())
add("imputers", "MissingIndicator beside a one-hot encoder", ridge_after(make_union(_filled, LACKING)), ["code", "job"])
add("imputers", "SimpleImputer(most_frequent) and OneHotEncoder", ridge_after(MOST_FREQUENT, one_hot()), JOBS)
add("imputers", "SimpleImputer(constant) and OneHotEncoder", ridge_after(A_WORD, one_hot()), JOBS)
add("imputers", "SimpleImputer(constant) and OrdinalEncoder", make_pipeline(A_WORD, ORDINAL, FOREST), ["job", "code"])
_indicating = SimpleImputer(strategy="most_frequent", add_indicator=True)
add("imputers", "SimpleImputer with indicator of texts", ridge_after(_indicating, one_hot()), JOBS)

# --- encoders -------------------------------------------------------------------------------------------------------------------

AS_THEY_ARE: dict[str, Any] = {"keep_default_na": False}
for _name, _options in {
    "OneHotEncoder": {},
    "OneHotEncoder(error)": {"handle_unknown": "error"},
    "OneHotEncoder(sparse)": {"sparse_output": True},
    "OneHotEncoder(min_frequency)": {"min_frequency": 30, "handle_unknown": "infrequent_if_exist"},
}.items():
    add("encoders", f"{_name} of texts", ridge_after(one_hot(**_options)), JOBS)
add("encoders", "OneHotEncoder of booleans", ridge_after(one_hot()), ["paid"])
add("encoders", "OneHotEncoder of booleans with missing values", ridge_after(one_hot()), ["smoker"])
add("encoders", "OneHotEncoder of integers", ridge_after(one_hot()), ["rank", "zip"])
add("encoders", "OneHotEncoder of integers with missing values", ridge_after(one_hot()), ["visits"])
add("encoders", "OneHotEncoder of everything", ridge_after(one_hot()), EVERYTHING)
add(
    "encoders",
    "OneHotEncoder of ids read as text",
    ridge_after(one_hot()),
    ["zip", "code"],
    read={"dtype": {"zip": str, "code": str}},
)
add("encoders", "OneHotEncoder of NA and None", ridge_after(one_hot()), ["country", "job"], read=AS_THEY_ARE)
add("encoders", "OrdinalEncoder of texts", make_pipeline(ORDINAL, TREES), JOBS)
add("encoders", "OrdinalEncoder of everything", ridge_after(ORDINAL), EVERYTHING)
add(
    "encoders", "OrdinalEncoder and CategoricalNB", make_pipeline(OrdinalEncoder(), CategoricalNB(min_categories=10)), TEXTS, "word"
)
add("encoders", "TargetEncoder of texts", ridge_after(TARGET), JOBS)
add("encoders", "TargetEncoder of classes", make_pipeline(TARGET, LOGISTIC), JOBS, "word")
add("encoders", "TargetEncoder of codes", ridge_after(TARGET), ["code", "zip"])
add("encoders", "TargetEncoder of NA and None", ridge_after(TARGET), ["country"], read=AS_THEY_ARE)

# --- columns that are selected --------------------------------------------------------------------------------------------------

add("columns", "ColumnTransformer, the usual", mixed(Ridge()), MIXED)
add("columns", "ColumnTransformer, the usual, clusters", mixed(KMeans(3, n_init=1, random_state=0)), MIXED, "none")
add("columns", "ColumnTransformer in another order than the file", mixed(Ridge()), ["job", "city", "dose", "age"])
for _name, _numbers, _texts in (
    ("positions", [0, 1], [2, -1]),
    ("slices", slice(0, 2), slice("city", "job")),
    ("masks", [True, True, False, False], [False, False, True, True]),
    ("types", make_column_selector(dtype_include="number"), make_column_selector(dtype_exclude="number")),
    ("a function", own_steps.is_number, []),
):
    _selected = make_column_transformer((SimpleImputer(), _numbers), (one_hot(), _texts))
    add("columns", f"ColumnTransformer by {_name}", ridge_after(_selected), MIXED)


def city_and(*parts: Any, encoder: Any = None, columns: Any = ("city",), **options: Any) -> ColumnTransformer:
    return make_column_transformer((encoder or one_hot(), list(columns)), *parts, **options)


_passed = city_and(("passthrough", ["age", "rank"]))
add("columns", "ColumnTransformer passes numbers through", ridge_after(_passed), ["age", "rank", "city"])
_passed = city_and(("passthrough", ["smoker", "paid"]), encoder=ORDINAL)
add(
    "columns",
    "ColumnTransformer passes booleans with missing values through",
    make_pipeline(_passed, TREES),
    ["paid", "smoker", "city"],
)
_passed = city_and(remainder="passthrough")
add("columns", "ColumnTransformer passes the rest through", ridge_after(_passed), ["age", "paid", "height", "city"])
_passed = city_and(encoder=ORDINAL, columns=JOBS, remainder="passthrough")
add("columns", "ColumnTransformer passes the rest to trees", make_pipeline(_passed, TREES), MIXED)
_passed = make_column_transformer(("passthrough", ["code", "zip"]))
add("columns", "ColumnTransformer passes codes to an encoder", ridge_after(_passed, one_hot()), ["zip", "code"])
_passed = make_column_transformer(("passthrough", ["paid", "visits", "city"]))
add("columns", "ColumnTransformer passes all to a one-hot encoder", ridge_after(_passed, one_hot()), ["visits", "paid", "city"])
_dropped = make_column_transformer((SimpleImputer(), ["age", "dose"]), ("drop", ["city"]))
add("columns", "ColumnTransformer drops the rest", ridge_after(_dropped), MIXED)
_rest = make_pipeline(SimpleImputer(), StandardScaler())
add("columns", "ColumnTransformer scales the rest", ridge_after(city_and(remainder=_rest)), ["age", "dose", "city"])
_short = city_and(columns=JOBS, remainder="passthrough", verbose_feature_names_out=False)
_short = ridge_after(_short).set_output(transform="pandas")
add("columns", "ColumnTransformer with short names, DataFrames between steps", _short, ["age", "paid", "city", "job"])
_within = make_column_transformer((city_and((SimpleImputer(), ["dose"])), ["city", "dose"]), ("passthrough", ["age"]))
add("columns", "ColumnTransformer within one", ridge_after(_within), ["age", "dose", "city"])
_twice = make_column_transformer((one_hot(), ["rank"]), (StandardScaler(), ["rank"]))
add("columns", "ColumnTransformer, one column by two steps", ridge_after(_twice), ["rank"])
_named = city_and(encoder=ORDINAL, columns=JOBS, remainder="passthrough", verbose_feature_names_out=False)
_boosting = HistGradientBoostingRegressor(categorical_features=JOBS, max_iter=9)
add("columns", "HistGB after an OrdinalEncoder", make_pipeline(_named.set_output(transform="pandas"), _boosting), MIXED)
_idle = Pipeline([("none", "passthrough"), ("encode", one_hot()), ("ridge", Ridge())])
add("columns", "Pipeline that starts with passthrough", _idle, ["city", "code"])
add("columns", "Pipeline within a Pipeline", ridge_after(make_pipeline(make_pipeline(MOST_FREQUENT, one_hot()))), JOBS)
_union = FeatureUnion([("o", one_hot()), ("n", ORDINAL), ("d", "drop")])
add("columns", "FeatureUnion of encoders", ridge_after(_union), JOBS)
add(
    "columns",
    "FeatureUnion passes texts through",
    ridge_after(make_union("passthrough", "passthrough"), one_hot()),
    ["city", "code"],
)
_frames = ridge_after(MOST_FREQUENT, one_hot()).set_output(transform="pandas")
add("columns", "DataFrames between steps of texts", _frames, JOBS)
add(
    "columns",
    "FunctionTransformer before an encoder of codes",
    ridge_after(FunctionTransformer(), one_hot()),
    ["code", "zip", "smoker"],
)

# --- texts in words -------------------------------------------------------------------------------------------------------------

HASHING = HashingVectorizer(n_features=64)
for _name, _vectorizer, _column in (
    ("TfidfVectorizer of a column", TfidfVectorizer(), "note"),
    ("HashingVectorizer of a column", HASHING, "note"),
    ("CountVectorizer of characters of codes", CountVectorizer(analyzer="char"), "code"),
    ("TfidfVectorizer with a tokenizer of one's own", TfidfVectorizer(tokenizer=own_steps.words, token_pattern=None), "note"),
):
    add("words", _name, ridge_after(make_column_transformer((_vectorizer, _column))), [_column])
_beside = make_column_transformer((CountVectorizer(), "note"), (StandardScaler(), ["age"]))
add("words", "CountVectorizer beside numbers", ridge_after(_beside), ["age", "note"])
_by_position = make_column_transformer((CountVectorizer(), 1), remainder="passthrough")
add("words", "CountVectorizer by position", ridge_after(_by_position), ["age", "note"])
add("words", "texts by a column's function", ridge_after(FunctionTransformer(own_steps.first_column), TfidfVectorizer()), ["note"])
for _name, _estimator, _target in (
    ("a classifier", make_pipeline(TfidfVectorizer(), LOGISTIC), "word"),
    ("a hashing classifier", make_pipeline(HASHING, SGDClassifier(random_state=0)), "word"),
    ("a union of vectorizers", make_pipeline(make_union(CountVectorizer(), TfidfVectorizer(analyzer="char")), LOGISTIC), "word"),
    ("calibrated classes", CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2), "yes"),
    ("a grid search", GridSearchCV(make_pipeline(TfidfVectorizer(), LOGISTIC), {}, cv=2), "word"),
):
    add("words", f"texts to {_name}", _estimator, ["note"], _target, as_series=True)

# --- estimators around others ---------------------------------------------------------------------------------------------------

_texts, _numbers = encoded(LOGISTIC), scaled(LOGISTIC)
for _around, _features, _target in (
    (GridSearchCV(_texts, {}, cv=2), TEXTS, "word"),
    (RandomizedSearchCV(_texts, {"verbose": [False]}, n_iter=1, cv=2), TEXTS, "word"),
    (CalibratedClassifierCV(_texts, cv=2), TEXTS, "word"),
    (OneVsRestClassifier(_texts), TEXTS, "word"),
    (OneVsOneClassifier(_numbers), PLAIN, "word"),
    (OutputCodeClassifier(_texts, random_state=0), TEXTS, "word"),
    (MultiOutputClassifier(_texts), TEXTS, "two words"),
    (ClassifierChain(_numbers), PLAIN, "tags"),
    (BaggingClassifier(make_pipeline(one_hot(), LOGISTIC), 3, random_state=0), TEXTS, "word"),
    (VotingClassifier([("a", _texts), ("b", _texts)], voting="soft"), TEXTS, "word"),
    (StackingClassifier([("a", _texts)], LOGISTIC, cv=2), TEXTS, "word"),
    (SelfTrainingClassifier(_numbers), PLAIN, "half labelled"),
    (TunedThresholdClassifierCV(_texts, cv=2), TEXTS, "yes"),
    (FixedThresholdClassifier(_texts, threshold=0.4), TEXTS, "yes"),
    (MultiOutputRegressor(encoded(Ridge())), TEXTS, "two numbers"),
    (RegressorChain(scaled(Ridge())), PLAIN, "two numbers"),
    (BaggingRegressor(make_pipeline(SimpleImputer(), Ridge()), 3, random_state=0), HOLES, "number"),
    (StackingRegressor([("a", scaled(Ridge()))], TREES, cv=2, passthrough=True), PLAIN, "number"),
    (TransformedTargetRegressor(encoded(Ridge()), func=np.cbrt, inverse_func=np.square), TEXTS, "number"),
    (RANSACRegressor(scaled(Ridge()), random_state=0, min_samples=40), PLAIN, "number"),
):
    add("around", f"{type(_around).__name__} around a pipeline", _around, _features, _target)
add("around", "CalibratedClassifierCV without ensemble", CalibratedClassifierCV(_texts, cv=2, ensemble=False), TEXTS, "yes")
add("around", "CalibratedClassifierCV over missing texts", CalibratedClassifierCV(mixed(LOGISTIC), cv=2), MIXED, "word")
add("around", "OneVsRestClassifier of tags", OneVsRestClassifier(_texts), TEXTS, "tags")
add("around", "BaggingRegressor over encoded texts", BaggingRegressor(ridge_after(one_hot()), 3, random_state=0), ["city", "code"])
_vote = [
    ("t", ridge_after(make_column_transformer((one_hot(), JOBS)))),
    ("n", ridge_after(make_column_transformer((SimpleImputer(), ["age", "dose"])))),
]
add("around", "VotingRegressor of pipelines over different columns", VotingRegressor(_vote), MIXED)
_search = GridSearchCV(VotingClassifier([("a", _texts)]), {"voting": ["soft"]}, cv=2)
add("around", "a search around a vote of pipelines", _search, TEXTS, "word")
_frozen = FrozenEstimator(clone(_texts).fit(training_frame()[TEXTS], targets()["word"]))
add("around", "FrozenEstimator over texts", _frozen, TEXTS, "word")
add("around", "CalibratedClassifierCV of a frozen one over texts", CalibratedClassifierCV(_frozen), TEXTS, "word")

# --- other libraries ------------------------------------------------------------------------------------------------------------


def add_boosters(family: str, regressor: Any, classifier: Any, options: dict[str, Any], of_categories: dict[str, Any]) -> None:
    options = {"n_estimators": 8, "n_jobs": 1, **options}
    add(family, regressor.__name__, regressor(**options), HOLES)
    add(family, classifier.__name__, classifier(**options), HOLES, "class")
    add(family, f"{classifier.__name__} yes or no", classifier(**options), ["age", "paid", "dose"], "yes")
    add(family, f"{regressor.__name__} of categories", regressor(**options, **of_categories), MIXED, read=CATEGORIES)
    add(family, f"{regressor.__name__} over mixed columns", mixed(regressor(**options)), MIXED)


add_boosters("LightGBM", lightgbm.LGBMRegressor, lightgbm.LGBMClassifier, {"min_child_samples": 5, "verbose": -1}, {})
if has_xgboost:
    add_boosters("XGBoost", xgboost.XGBRegressor, xgboost.XGBClassifier, {}, {"enable_categorical": True})

# --- somebody's own -------------------------------------------------------------------------------------------------------------

AS_CODES = make_pipeline(FunctionTransformer(own_steps.as_text), one_hot())
"""It tells an integer from the same number as a float, and from a boolean."""
add("own", "astype(str) of codes", ridge_after(AS_CODES), ["rank", "code", "zip"])
add("own", "astype(str) of all kinds of columns", ridge_after(AS_CODES), EVERYTHING)
add("own", "astype(str) after a SimpleImputer", ridge_after(MOST_FREQUENT, AS_CODES), ["visits"])
add("own", "astype(str) after a constant", ridge_after(A_WORD, AS_CODES), ["smoker"])
_both = make_column_transformer((StandardScaler(), ["paid"]), (AS_CODES, ["paid"]))
add("own", "astype(str) of booleans that are numbers, too", ridge_after(_both), ["paid"])
_apart = make_column_transformer((AS_CODES, [0]), (StandardScaler(), [1]))
_put_out = make_column_transformer((StandardScaler(), ["age"]), ("passthrough", ["age"])).set_output(transform="pandas")
_by_name = make_column_transformer((AS_CODES, ["passthrough__age"]), remainder="passthrough")
_scaled_age = ridge_after(make_column_transformer((StandardScaler(), ["age"])))
_marked = make_column_transformer((MissingIndicator(missing_values=1, features="all"), ["rank"]), (StandardScaler(), ["age"]))
for _name, _estimator in {
    "after a selection": ridge_after(VarianceThreshold(), AS_CODES),
    "after a Binarizer": ridge_after(Binarizer(threshold=40), AS_CODES),
    "of a part of an array": ridge_after(MOST_FREQUENT, _apart),
    "in a bag": BaggingRegressor(ridge_after(_apart), 3, random_state=0),
    "in a RANSACRegressor": RANSACRegressor(ridge_after(AS_CODES), min_samples=40, random_state=0),
    "behind a stack": StackingRegressor([("a", _scaled_age)], ridge_after(AS_CODES), passthrough=True, cv=2),
    "by a name that is put out": ridge_after(_put_out, _by_name),
    "in a search": GridSearchCV(ridge_after(AS_CODES), {}, cv=2),
}.items():
    add("own", f"astype(str) of integers {_name}", _estimator, ["age", "rank"])
add("own", "astype(str) of integers, fitted on an array", ridge_after(_apart), ["age", "rank"], as_array=True)
add("own", "an integer for what is missing", ridge_after(_marked), ["age", "rank"])
for _name, _function, _features in (
    ("lower case", own_steps.lowered, ["city", "code"]),
    ("identity", own_steps.identity, ["code", "smoker", "visits"]),
):
    add("own", f"{_name} and OneHotEncoder", ridge_after(FunctionTransformer(_function), one_hot()), _features)
add("own", "lengths of texts", ridge_after(FunctionTransformer(own_steps.lengths)), ["city", "code"])
add("own", "parts of dates", ridge_after(FunctionTransformer(own_steps.date_parts)), ["day"])
add("own", "a column made of two", ridge_after(own_steps.Ratio()), PLAIN)
add("own", "an estimator of one's own", own_steps.Echo(), PLAIN)
add("own", "an estimator that tells types", own_steps.Tell(), EVERYTHING)
add("own", "an estimator that tells types of numbers", own_steps.Tell(), ["age", "height", "dose", "visits", "serial"])
add("own", "an estimator that tells types of codes", own_steps.Tell(), ["zip", "code", "country", "smoker"])

FEW = (
    *("Ridge", "Ridge, fitted on an array", "LinearRegression of large integers", "LogisticRegression of booleans", "HistGB"),
    *("DecisionTreeClassifier of two words", "HistGB of booleans with missing values", "RandomForestRegressor of two numbers"),
    *(
        "SimpleImputer(mean) of numbers",
        "SimpleImputer(most_frequent) and OneHotEncoder",
        "MissingIndicator beside a one-hot encoder",
    ),
    *("OneHotEncoder of booleans with missing values", "OneHotEncoder of integers with missing values", "TargetEncoder of codes"),
    *("OneHotEncoder of NA and None", "ColumnTransformer, the usual", "ColumnTransformer passes codes to an encoder"),
    *("FeatureUnion of encoders", "FunctionTransformer before an encoder of codes", "texts to a classifier"),
    *("CalibratedClassifierCV around a pipeline", "LGBMRegressor", *(["XGBRegressor"] if has_xgboost else [])),
    *(
        "an estimator that tells types",
        "an integer for what is missing",
        *(name for name in MODELS if name.startswith("astype(str)")),
    ),
)
"""Those of `make test`: one for each way in which the handler decides what a model is given."""
