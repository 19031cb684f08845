"""The models of the differential table: families of estimators as people combine them, each with the columns it is fitted on.

A model is fitted on what `pandas.read_csv` makes of the training file, in the project's environment, and scored by the handler
there and in the package.
"""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.calibration import CalibratedClassifierCV
from sklearn.cluster import Birch, KMeans, MeanShift, MiniBatchKMeans
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.covariance import EllipticEnvelope
from sklearn.cross_decomposition import PLSRegression
from sklearn.decomposition import PCA, FastICA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    AdaBoostClassifier,
    AdaBoostRegressor,
    BaggingClassifier,
    BaggingRegressor,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    IsolationForest,
    RandomForestClassifier,
    RandomForestRegressor,
    RandomTreesEmbedding,
    StackingClassifier,
    StackingRegressor,
    VotingClassifier,
    VotingRegressor,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401  # so that the next import finds it
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfVectorizer
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, VarianceThreshold, f_regression
from sklearn.frozen import FrozenEstimator
from sklearn.gaussian_process import GaussianProcessClassifier, GaussianProcessRegressor
from sklearn.impute import IterativeImputer, KNNImputer, MissingIndicator, SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.kernel_approximation import Nystroem, RBFSampler
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import (
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    Perceptron,
    PoissonRegressor,
    RANSACRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV, RandomizedSearchCV, TunedThresholdClassifierCV
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier, OutputCodeClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier, MultiOutputRegressor, RegressorChain
from sklearn.naive_bayes import BernoulliNB, CategoricalNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor, LocalOutlierFactor, NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline, make_union
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    SplineTransformer,
    StandardScaler,
    TargetEncoder,
)
from sklearn.semi_supervised import SelfTrainingClassifier
from sklearn.svm import SVC, SVR, LinearSVC, OneClassSVM
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from differential import files, own_steps

if TYPE_CHECKING:
    from collections.abc import Callable

PLAIN = ["age", "height", "rank"]
"""Columns of numbers that lack none in the training file."""
HOLES = ["age", "height", "dose", "visits"]
"""Columns of numbers of which some lack values."""
TEXTS = ["city", "plan"]
MIXED = ["age", "dose", "city", "job"]
EVERYTHING = ["age", "height", "dose", "visits", "paid", "smoker", "city", "plan", "job", "code"]

SCORES = ("predict", "predict_proba", "decision_function")
"""Methods; those that a fitted model lacks are left out."""


@dataclass(frozen=True)
class Model:
    """An estimator that is not fitted yet, and how a person would fit it."""

    name: str
    family: str
    make: Callable[[], Any]
    features: list[str]
    target: str
    read: dict[str, Any] = field(default_factory=dict)
    """What `pandas.read_csv` is told, in training and in scoring."""
    as_array: bool = False
    """Whether it is fitted on an array, so that it knows no names."""
    as_series: bool = False
    """Whether it is fitted on a Series of texts, and scores one."""
    needs: str | None = None
    """A module that may be absent here."""


MODELS: dict[str, Model] = {}


def add(family: str, name: str, make: Callable[[], Any], features: list[str], target: str = "number", **options: Any) -> None:
    if name in MODELS:
        raise ValueError(f"two models are called {name}")
    MODELS[name] = Model(name, family, make, features, target, **options)


def targets() -> dict[str, Any]:
    """Return what there is to predict, by name: one element or row for each row of the training file."""
    frame = training_frame()
    number = frame["age"] * 0.3 + np.sin(frame["height"]) * 5 - frame["rank"] / 7 + (frame["plan"] == "pro") * 4
    number += frame["dose"].fillna(50) / 9 + (frame["job"] == "cook") * 3
    thirds = np.digitize(number, np.quantile(number, [1 / 3, 2 / 3]))
    word = np.array(["low", "mid, or so", 'high "er"'], dtype=object)[thirds]
    return {
        "number": number.to_numpy(),
        "count": np.maximum(number, 0).round().to_numpy(),
        "two numbers": np.column_stack([number, -number / 3]),
        "class": thirds,
        "word": word,
        "yes": thirds > 0,
        "sign": np.where(thirds > 0, 1, -1),
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
    target = targets()[model.target]
    estimator = model.make()
    return estimator.fit(features) if target is None else estimator.fit(features, target)


def is_here(model: Model) -> bool:
    return model.needs is None or find_spec(model.needs) is not None


# --- pieces that come back ------------------------------------------------------------------------------------------------------


def one_hot(**options: Any) -> OneHotEncoder:
    return OneHotEncoder(**{"handle_unknown": "ignore", "sparse_output": False, **options})


def ordinal(**options: Any) -> OrdinalEncoder:
    return OrdinalEncoder(**{"handle_unknown": "use_encoded_value", "unknown_value": -1, **options})


def ridge_after(*steps: Any) -> Pipeline:
    return make_pipeline(*steps, Ridge())


def classes_after(*steps: Any) -> Pipeline:
    return make_pipeline(*steps, LogisticRegression(max_iter=300))


def mixed(final: Any) -> Pipeline:
    """Build what most tutorials build: numbers filled in and scaled, texts filled in and one-hot."""
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot())
    return make_pipeline(ColumnTransformer([("numbers", numbers, ["age", "dose"]), ("texts", texts, ["city", "job"])]), final)


def texts_only(final: Any) -> Pipeline:
    return make_pipeline(ColumnTransformer([("texts", one_hot(), TEXTS)], remainder="drop"), final)


def logistic() -> LogisticRegression:
    return LogisticRegression(max_iter=300)


def scaled(final: Any) -> Pipeline:
    return make_pipeline(StandardScaler(), final)


# --- numbers --------------------------------------------------------------------------------------------------------------------

for _array in (False, True):
    _suffix = ", fitted on an array" if _array else ""
    add("linear", f"Ridge{_suffix}", Ridge, PLAIN, as_array=_array)
    add("linear", f"LogisticRegression{_suffix}", lambda: scaled(logistic()), PLAIN, "word", as_array=_array)
    add("boosting", f"HistGB{_suffix}", lambda: HistGradientBoostingRegressor(max_iter=12), HOLES, as_array=_array)
    add("forests", f"RandomForest{_suffix}", lambda: RandomForestRegressor(8, random_state=0), PLAIN, as_array=_array)

add("linear", "LinearRegression", LinearRegression, PLAIN)
add("linear", "LinearRegression of one column", LinearRegression, ["age"])
add("linear", "LinearRegression of large integers", LinearRegression, ["serial", "age"])
add("linear", "LinearRegression of two numbers", LinearRegression, PLAIN, "two numbers")
add("linear", "LinearRegression of booleans", LinearRegression, ["paid", "age"])
add("linear", "Lasso", lambda: Lasso(0.1), PLAIN)
add("linear", "ElasticNet", lambda: scaled(ElasticNet(0.1)), PLAIN)
add("linear", "HuberRegressor", lambda: scaled(HuberRegressor()), PLAIN)
add("linear", "PoissonRegressor", lambda: scaled(PoissonRegressor()), PLAIN, "count")
add("linear", "SGDRegressor", lambda: scaled(SGDRegressor(random_state=0)), PLAIN)
add("linear", "RANSACRegressor", lambda: RANSACRegressor(random_state=0), PLAIN)
add("linear", "LogisticRegression of booleans", lambda: scaled(logistic()), PLAIN, "yes")
add("linear", "LogisticRegression of integers", lambda: scaled(logistic()), PLAIN, "class")
add("linear", "RidgeClassifier", RidgeClassifier, PLAIN, "word")
add("linear", "SGDClassifier", lambda: scaled(SGDClassifier(random_state=0)), PLAIN, "word")
add("linear", "Perceptron", lambda: scaled(Perceptron(random_state=0)), PLAIN, "yes")
add("linear", "LinearDiscriminantAnalysis", LinearDiscriminantAnalysis, PLAIN, "word")
add("linear", "QuadraticDiscriminantAnalysis", QuadraticDiscriminantAnalysis, PLAIN, "class")
add("linear", "PLSRegression", lambda: PLSRegression(2), PLAIN)
add("linear", "IsotonicRegression", lambda: IsotonicRegression(out_of_bounds="clip"), ["height"])
add("linear", "KernelRidge", lambda: scaled(KernelRidge(kernel="rbf")), PLAIN)

add("trees", "DecisionTreeRegressor", lambda: DecisionTreeRegressor(max_depth=5, random_state=0), PLAIN)
add("trees", "DecisionTreeRegressor with missing values", lambda: DecisionTreeRegressor(max_depth=5, random_state=0), HOLES)
add("trees", "DecisionTreeClassifier", lambda: DecisionTreeClassifier(max_depth=4, random_state=0), PLAIN, "word")
add("trees", "DecisionTreeClassifier of two words", lambda: DecisionTreeClassifier(max_depth=4, random_state=0), PLAIN, "two words")
add("forests", "RandomForestRegressor with missing values", lambda: RandomForestRegressor(8, random_state=0), HOLES)
add("forests", "RandomForestRegressor of two numbers", lambda: RandomForestRegressor(8, random_state=0), PLAIN, "two numbers")
add("forests", "RandomForestClassifier", lambda: RandomForestClassifier(8, random_state=0), PLAIN, "word")
add("forests", "RandomForestClassifier of two words", lambda: RandomForestClassifier(8, random_state=0), PLAIN, "two words")
add("forests", "RandomForestClassifier of tags", lambda: RandomForestClassifier(8, random_state=0), PLAIN, "tags")
add("forests", "ExtraTreesRegressor", lambda: ExtraTreesRegressor(8, random_state=0), PLAIN)
add("forests", "ExtraTreesClassifier", lambda: ExtraTreesClassifier(8, random_state=0), PLAIN, "yes")
add("forests", "RandomTreesEmbedding and Ridge", lambda: ridge_after(RandomTreesEmbedding(4, random_state=0)), PLAIN)
add("boosting", "GradientBoostingRegressor", lambda: GradientBoostingRegressor(n_estimators=10, random_state=0), PLAIN)
add("boosting", "GradientBoostingClassifier", lambda: GradientBoostingClassifier(n_estimators=6, random_state=0), PLAIN, "word")
add("boosting", "AdaBoostRegressor", lambda: AdaBoostRegressor(n_estimators=6, random_state=0), PLAIN)
add("boosting", "AdaBoostClassifier", lambda: AdaBoostClassifier(n_estimators=6, random_state=0), PLAIN, "word")
add("boosting", "HistGB classes", lambda: HistGradientBoostingClassifier(max_iter=6), HOLES, "word")
add("boosting", "HistGB yes or no", lambda: HistGradientBoostingClassifier(max_iter=6), HOLES, "yes")
add("boosting", "HistGB Poisson", lambda: HistGradientBoostingRegressor(loss="poisson", max_iter=6), HOLES, "count")
add(
    "boosting",
    "HistGB of booleans with missing values",
    lambda: HistGradientBoostingRegressor(max_iter=9),
    ["smoker", "paid", "age"],
)
add("boosting", "HistGB of large integers", lambda: HistGradientBoostingRegressor(max_iter=9), ["serial", "age"])

add("kernels", "SVR", lambda: scaled(SVR()), PLAIN)
add("kernels", "SVC", lambda: scaled(SVC()), PLAIN, "word")
add("kernels", "SVC one against one", lambda: scaled(SVC(decision_function_shape="ovo")), PLAIN, "word")
add("kernels", "LinearSVC", lambda: scaled(LinearSVC(random_state=0)), PLAIN, "word")
add("kernels", "GaussianProcessRegressor", lambda: scaled(GaussianProcessRegressor(alpha=0.1)), PLAIN)
add("kernels", "GaussianProcessClassifier", lambda: scaled(GaussianProcessClassifier()), PLAIN, "yes")
add("kernels", "Nystroem and Ridge", lambda: ridge_after(StandardScaler(), Nystroem(n_components=20, random_state=0)), PLAIN)
add("kernels", "RBFSampler and SGD", lambda: make_pipeline(StandardScaler(), RBFSampler(random_state=0), Ridge()), PLAIN)
add("neighbours", "KNeighborsRegressor", lambda: scaled(KNeighborsRegressor()), PLAIN)
add("neighbours", "KNeighborsClassifier", lambda: scaled(KNeighborsClassifier()), PLAIN, "word")
add("neighbours", "NearestCentroid", NearestCentroid, PLAIN, "word")
add("naive Bayes", "GaussianNB", GaussianNB, PLAIN, "word")
add("naive Bayes", "BernoulliNB", BernoulliNB, PLAIN, "class")
add("naive Bayes", "MultinomialNB", lambda: make_pipeline(MinMaxScaler(clip=True), MultinomialNB()), PLAIN, "word")
add("naive Bayes", "CategoricalNB", lambda: make_pipeline(OrdinalEncoder(), CategoricalNB(min_categories=10)), TEXTS, "word")
add("networks", "MLPRegressor", lambda: scaled(MLPRegressor(hidden_layer_sizes=(6,), max_iter=30, random_state=0)), PLAIN)
add("networks", "MLPClassifier", lambda: scaled(MLPClassifier(hidden_layer_sizes=(6,), max_iter=30, random_state=0)), PLAIN, "word")
add("dummies", "DummyRegressor", DummyRegressor, EVERYTHING)
add("dummies", "DummyClassifier", lambda: DummyClassifier(strategy="most_frequent"), EVERYTHING, "word")

add("clusters", "KMeans", lambda: KMeans(3, n_init=1, random_state=0), PLAIN, "none")
add("clusters", "MiniBatchKMeans", lambda: MiniBatchKMeans(3, n_init=1, random_state=0), PLAIN, "none")
add("clusters", "Birch", lambda: Birch(n_clusters=3), PLAIN, "none")
add("clusters", "MeanShift", MeanShift, ["age"], "none")
add("clusters", "KMeans over mixed columns", lambda: mixed(KMeans(3, n_init=1, random_state=0)), MIXED, "none")
add("mixtures", "GaussianMixture", lambda: GaussianMixture(2, random_state=0), PLAIN, "none")
add("mixtures", "BayesianGaussianMixture", lambda: BayesianGaussianMixture(n_components=2, random_state=0), PLAIN, "none")
add("outliers", "IsolationForest", lambda: IsolationForest(n_estimators=8, random_state=0), PLAIN, "none")
add("outliers", "LocalOutlierFactor", lambda: LocalOutlierFactor(novelty=True), PLAIN, "none")
add("outliers", "OneClassSVM", lambda: scaled(OneClassSVM()), PLAIN, "none")
add("outliers", "EllipticEnvelope", lambda: EllipticEnvelope(random_state=0), PLAIN, "none")

# --- missing numbers ------------------------------------------------------------------------------------------------------------

for _strategy in ("mean", "median", "most_frequent", "constant"):
    add(
        "imputers",
        f"SimpleImputer({_strategy}) of numbers",
        lambda strategy=_strategy: ridge_after(SimpleImputer(strategy=strategy, fill_value=0 if strategy == "constant" else None)),
        HOLES,
    )
add("imputers", "SimpleImputer with indicator", lambda: ridge_after(SimpleImputer(add_indicator=True)), HOLES)
add("imputers", "SimpleImputer keeps empty columns", lambda: ridge_after(SimpleImputer(keep_empty_features=True)), HOLES)
add("imputers", "SimpleImputer of booleans", lambda: ridge_after(SimpleImputer(strategy="most_frequent")), ["smoker", "paid"])
add("imputers", "SimpleImputer of integers", lambda: ridge_after(SimpleImputer(strategy="most_frequent")), ["age", "rank"])
add("imputers", "KNNImputer", lambda: ridge_after(KNNImputer(n_neighbors=3)), HOLES)
add("imputers", "IterativeImputer", lambda: ridge_after(IterativeImputer(max_iter=3, random_state=0)), HOLES)
add("imputers", "MissingIndicator of numbers", lambda: ridge_after(MissingIndicator(features="all")), HOLES)
add(
    "imputers",
    "MissingIndicator beside values",
    lambda: ridge_after(make_union(SimpleImputer(), MissingIndicator(features="all"))),
    HOLES,
)
add("imputers", "MissingIndicator of texts", lambda: ridge_after(MissingIndicator(features="all")), ["job", "code"])
add(
    "imputers",
    "MissingIndicator beside a one-hot encoder",
    lambda: ridge_after(
        make_union(
            make_pipeline(SimpleImputer(strategy="constant", fill_value="none"), one_hot()), MissingIndicator(features="all")
        )
    ),
    ["code", "job"],
)

# --- texts ----------------------------------------------------------------------------------------------------------------------

for _name, _options in {
    "OneHotEncoder": {},
    "OneHotEncoder(error)": {"handle_unknown": "error"},
    "OneHotEncoder(warn)": {"handle_unknown": "warn"},
    "OneHotEncoder(sparse)": {"sparse_output": True},
    "OneHotEncoder(drop=first)": {"drop": "first"},
    "OneHotEncoder(drop=if_binary)": {"drop": "if_binary"},
    "OneHotEncoder(min_frequency)": {"min_frequency": 30, "handle_unknown": "infrequent_if_exist"},
    "OneHotEncoder(max_categories)": {"max_categories": 2, "handle_unknown": "infrequent_if_exist"},
}.items():
    add("encoders", f"{_name} of texts", lambda options=_options: ridge_after(one_hot(**options)), ["city", "job"])
for _name, _options in {
    "OrdinalEncoder": {},
    "OrdinalEncoder(error)": {"handle_unknown": "error", "unknown_value": None},
    "OrdinalEncoder(missing=-2)": {"encoded_missing_value": -2},
    "OrdinalEncoder(min_frequency)": {"min_frequency": 30, "encoded_missing_value": -2},
}.items():
    add(
        "encoders",
        f"{_name} of texts",
        lambda options=_options: make_pipeline(ordinal(**options), HistGradientBoostingRegressor(max_iter=9)),
        ["city", "job"],
    )
add("encoders", "OrdinalEncoder of texts, Ridge", lambda: ridge_after(ordinal(encoded_missing_value=-2)), ["city", "job"])
add("encoders", "TargetEncoder", lambda: ridge_after(TargetEncoder(cv=2, random_state=0)), ["city", "job"])
add("encoders", "TargetEncoder of classes", lambda: classes_after(TargetEncoder(cv=2, random_state=0)), ["city", "job"], "word")
add("encoders", "TargetEncoder of codes", lambda: ridge_after(TargetEncoder(cv=2, random_state=0)), ["code", "zip"])
add("encoders", "OneHotEncoder of booleans", lambda: ridge_after(one_hot()), ["paid"])
add("encoders", "OneHotEncoder of booleans with missing values", lambda: ridge_after(one_hot()), ["smoker"])
add("encoders", "OneHotEncoder of integers", lambda: ridge_after(one_hot()), ["rank", "zip"])
add("encoders", "OneHotEncoder of integers with missing values", lambda: ridge_after(one_hot()), ["visits"])
add("encoders", "OneHotEncoder of everything", lambda: ridge_after(one_hot()), EVERYTHING)
add("encoders", "OrdinalEncoder of everything", lambda: ridge_after(ordinal(encoded_missing_value=-2)), EVERYTHING)
add("encoders", "OneHotEncoder of codes", lambda: ridge_after(one_hot()), ["code"])
add(
    "encoders",
    "OneHotEncoder of ids read as text",
    lambda: ridge_after(one_hot()),
    ["zip", "code"],
    read={"dtype": {"zip": str, "code": str}},
)
add("encoders", "OneHotEncoder of NA and None", lambda: ridge_after(one_hot()), ["country", "job"], read={"keep_default_na": False})
add("encoders", "OrdinalEncoder of NA and None", lambda: ridge_after(ordinal()), ["country"], read={"keep_default_na": False})
add(
    "encoders",
    "TargetEncoder of NA and None",
    lambda: ridge_after(TargetEncoder(cv=2, random_state=0)),
    ["country"],
    read={"keep_default_na": False},
)
for _fill in ("most_frequent", "constant"):
    add(
        "encoders",
        f"SimpleImputer({_fill}) and OneHotEncoder",
        lambda fill=_fill: ridge_after(SimpleImputer(strategy=fill, fill_value="none" if fill == "constant" else None), one_hot()),
        ["city", "job"],
    )
add(
    "encoders",
    "SimpleImputer(constant) and OrdinalEncoder",
    lambda: make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), ordinal(), RandomForestRegressor(8, random_state=0)),
    ["job", "code"],
)
add(
    "encoders",
    "SimpleImputer with indicator of texts",
    lambda: ridge_after(SimpleImputer(strategy="most_frequent", add_indicator=True), one_hot()),
    ["city", "job"],
)

# --- shapes of numbers ----------------------------------------------------------------------------------------------------------

for _step in (
    lambda: KBinsDiscretizer(4, encode="onehot-dense"),
    lambda: KBinsDiscretizer(4, encode="ordinal", strategy="uniform"),
    lambda: PolynomialFeatures(2),
    SplineTransformer,
    lambda: SplineTransformer(extrapolation="error"),
    RobustScaler,
    PowerTransformer,
    lambda: QuantileTransformer(n_quantiles=20),
    Normalizer,
    lambda: Binarizer(threshold=40),
    lambda: PCA(2),
    lambda: FastICA(2, random_state=0),
    lambda: TruncatedSVD(2, random_state=0),
    lambda: SelectKBest(f_regression, k=2),
    lambda: RFE(LinearRegression(), n_features_to_select=2),
    lambda: SelectFromModel(Lasso(0.1)),
    VarianceThreshold,
    lambda: FunctionTransformer(np.abs, feature_names_out="one-to-one"),
    FunctionTransformer,
):
    add("shapes", f"{_step()!r} and Ridge".replace("\n", " "), lambda step=_step: ridge_after(step()), PLAIN)
add("shapes", "FunctionTransformer(np.log1p) and Ridge", lambda: ridge_after(FunctionTransformer(np.log1p)), ["age", "height"])
add(
    "shapes",
    "VarianceThreshold of missing values",
    lambda: make_pipeline(VarianceThreshold(), HistGradientBoostingRegressor(max_iter=9)),
    HOLES,
)

# --- column transformers --------------------------------------------------------------------------------------------------------

add("columns", "ColumnTransformer, the usual", lambda: mixed(Ridge()), MIXED)
add("columns", "ColumnTransformer, the usual, classes", lambda: mixed(logistic()), MIXED, "word")
add("columns", "ColumnTransformer, the usual, forest", lambda: mixed(RandomForestClassifier(8, random_state=0)), MIXED, "yes")
add(
    "columns",
    "ColumnTransformer by positions",
    lambda: ridge_after(ColumnTransformer([("n", SimpleImputer(), [0, 1]), ("t", one_hot(), [2, -1])])),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer by slices",
    lambda: ridge_after(ColumnTransformer([("n", SimpleImputer(), slice(0, 2)), ("t", one_hot(), slice("city", "job"))])),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer by masks",
    lambda: ridge_after(
        ColumnTransformer([("n", SimpleImputer(), [True, True, False, False]), ("t", one_hot(), [False, False, True, True])])
    ),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer by types",
    lambda: ridge_after(
        make_column_transformer(
            (SimpleImputer(), make_column_selector(dtype_include="number")),
            (one_hot(), make_column_selector(dtype_exclude="number")),
        )
    ),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer by a function",
    lambda: ridge_after(ColumnTransformer([("n", SimpleImputer(), own_steps.is_number)])),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer passes numbers through",
    lambda: ridge_after(ColumnTransformer([("t", one_hot(), ["city"]), ("n", "passthrough", ["age", "rank"])])),
    ["age", "rank", "city"],
)
add(
    "columns",
    "ColumnTransformer passes a boolean through",
    lambda: ridge_after(ColumnTransformer([("t", one_hot(), ["city"]), ("b", "passthrough", ["paid"])])),
    ["paid", "city"],
)
add(
    "columns",
    "ColumnTransformer passes booleans with missing values through",
    lambda: make_pipeline(
        ColumnTransformer([("t", ordinal(), ["city"]), ("b", "passthrough", ["smoker", "paid"])]),
        HistGradientBoostingRegressor(max_iter=9),
    ),
    ["paid", "smoker", "city"],
)
add(
    "columns",
    "ColumnTransformer passes the rest through",
    lambda: ridge_after(ColumnTransformer([("t", one_hot(), ["city"])], remainder="passthrough")),
    ["age", "paid", "height", "city"],
)
add(
    "columns",
    "ColumnTransformer passes the rest to trees",
    lambda: make_pipeline(
        ColumnTransformer([("t", ordinal(), ["city", "job"])], remainder="passthrough"), HistGradientBoostingRegressor(max_iter=9)
    ),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer passes texts to an encoder",
    lambda: ridge_after(ColumnTransformer([("t", "passthrough", ["city", "job"])]), one_hot()),
    ["city", "job"],
)
add(
    "columns",
    "ColumnTransformer passes codes to an encoder",
    lambda: ridge_after(ColumnTransformer([("t", "passthrough", ["code", "zip"])]), one_hot()),
    ["zip", "code"],
)
add(
    "columns",
    "ColumnTransformer passes all to a one-hot encoder",
    lambda: ridge_after(ColumnTransformer([("t", "passthrough", ["paid", "visits", "city"])]), one_hot()),
    ["visits", "paid", "city"],
)
add(
    "columns",
    "ColumnTransformer drops the rest",
    lambda: ridge_after(ColumnTransformer([("n", SimpleImputer(), ["age", "dose"]), ("d", "drop", ["city"])])),
    MIXED,
)
add(
    "columns",
    "ColumnTransformer scales the rest",
    lambda: ridge_after(
        ColumnTransformer([("t", one_hot(), ["city"])], remainder=make_pipeline(SimpleImputer(), StandardScaler()))
    ),
    ["age", "dose", "city"],
)
add(
    "columns",
    "ColumnTransformer with short names, DataFrames between steps",
    lambda: ridge_after(
        ColumnTransformer([("t", one_hot(), ["city", "job"])], remainder="passthrough", verbose_feature_names_out=False)
    ).set_output(transform="pandas"),
    ["age", "paid", "city", "job"],
)
add(
    "columns",
    "ColumnTransformer within one",
    lambda: ridge_after(
        ColumnTransformer(
            [
                ("all", ColumnTransformer([("t", one_hot(), ["city"]), ("n", SimpleImputer(), ["dose"])]), ["city", "dose"]),
                ("a", "passthrough", ["age"]),
            ]
        )
    ),
    ["age", "dose", "city"],
)
add(
    "columns",
    "ColumnTransformer, one column by two steps",
    lambda: ridge_after(ColumnTransformer([("o", one_hot(), ["rank"]), ("s", StandardScaler(), ["rank"])])),
    ["rank"],
)
add("columns", "ColumnTransformer in another order than the file", lambda: mixed(Ridge()), ["job", "city", "dose", "age"])
add(
    "columns",
    "Pipeline that starts with passthrough",
    lambda: Pipeline([("none", "passthrough"), ("encode", one_hot()), ("ridge", Ridge())]),
    ["city", "code"],
)
add("columns", "Pipeline with a cut-out step", lambda: Pipeline([("scale", None), ("ridge", Ridge())]), PLAIN)
add(
    "columns",
    "Pipeline within a Pipeline",
    lambda: make_pipeline(make_pipeline(make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot())), Ridge()),
    ["city", "job"],
)
add(
    "columns",
    "FeatureUnion of numbers",
    lambda: ridge_after(FeatureUnion([("p", PCA(2)), ("s", StandardScaler()), ("n", "passthrough")])),
    PLAIN,
)
add(
    "columns",
    "FeatureUnion of encoders",
    lambda: ridge_after(FeatureUnion([("o", one_hot()), ("n", ordinal(encoded_missing_value=-2)), ("d", "drop")])),
    ["city", "job"],
)
add(
    "columns",
    "FeatureUnion passes texts through",
    lambda: ridge_after(make_union("passthrough", "passthrough"), one_hot()),
    ["city", "code"],
)
add(
    "columns",
    "DataFrames between steps",
    lambda: make_pipeline(SimpleImputer(), StandardScaler(), Ridge()).set_output(transform="pandas"),
    HOLES,
)
add(
    "columns",
    "DataFrames between steps of texts",
    lambda: make_pipeline(SimpleImputer(strategy="most_frequent"), one_hot(), Ridge()).set_output(transform="pandas"),
    ["city", "job"],
)

add(
    "boosting",
    "HistGB with categories by names",
    lambda: HistGradientBoostingRegressor(categorical_features=["city", "job"], max_iter=9),
    MIXED,
)
add(
    "boosting",
    "HistGB with categories by positions",
    lambda: HistGradientBoostingClassifier(categorical_features=[2, 3], max_iter=6),
    MIXED,
    "word",
)
add(
    "boosting",
    "HistGB with categories of integers",
    lambda: HistGradientBoostingRegressor(categorical_features=["visits"], max_iter=9),
    ["age", "visits"],
)
add(
    "boosting",
    "HistGB with categories from the dtype",
    lambda: HistGradientBoostingRegressor(categorical_features="from_dtype", max_iter=9),
    MIXED,
    read={"dtype": {"city": "category", "job": "category"}},
)
add(
    "boosting",
    "HistGB after an OrdinalEncoder",
    lambda: make_pipeline(
        make_column_transformer((ordinal(), ["city", "job"]), remainder="passthrough", verbose_feature_names_out=False).set_output(
            transform="pandas"
        ),
        HistGradientBoostingRegressor(categorical_features=["city", "job"], max_iter=9),
    ),
    MIXED,
)

# --- texts in words -------------------------------------------------------------------------------------------------------------

add("words", "TfidfVectorizer of a column", lambda: ridge_after(ColumnTransformer([("w", TfidfVectorizer(), "note")])), ["note"])
add(
    "words",
    "CountVectorizer beside numbers",
    lambda: ridge_after(ColumnTransformer([("w", CountVectorizer(), "note"), ("n", StandardScaler(), ["age"])])),
    ["age", "note"],
)
add(
    "words",
    "HashingVectorizer of a column",
    lambda: ridge_after(ColumnTransformer([("w", HashingVectorizer(n_features=64), "note")])),
    ["note"],
)
add(
    "words",
    "CountVectorizer of characters of codes",
    lambda: ridge_after(ColumnTransformer([("w", CountVectorizer(analyzer="char"), "code")])),
    ["code"],
)
add(
    "words",
    "CountVectorizer by position",
    lambda: ridge_after(ColumnTransformer([("w", CountVectorizer(), 1)], remainder="passthrough")),
    ["age", "note"],
)
add(
    "words",
    "TfidfVectorizer and SVD",
    lambda: ridge_after(ColumnTransformer([("w", make_pipeline(TfidfVectorizer(), TruncatedSVD(3, random_state=0)), "note")])),
    ["note"],
)
add("words", "texts to a classifier", lambda: classes_after(TfidfVectorizer()), ["note"], "word", as_series=True)
add("words", "texts to naive Bayes", lambda: make_pipeline(CountVectorizer(), MultinomialNB()), ["note"], "yes", as_series=True)
add(
    "words",
    "texts hashed to SGD",
    lambda: make_pipeline(HashingVectorizer(n_features=64), SGDClassifier(random_state=0)),
    ["note"],
    "word",
    as_series=True,
)
add(
    "words",
    "texts to a union of vectorizers",
    lambda: classes_after(make_union(CountVectorizer(), TfidfVectorizer(analyzer="char"))),
    ["note"],
    "word",
    as_series=True,
)
add(
    "words",
    "texts to calibrated classes",
    lambda: CalibratedClassifierCV(make_pipeline(TfidfVectorizer(), LinearSVC()), cv=2),
    ["note"],
    "yes",
    as_series=True,
)
add(
    "words",
    "texts in a grid search",
    lambda: GridSearchCV(make_pipeline(TfidfVectorizer(), logistic()), {"logisticregression__C": [1.0]}, cv=2),
    ["note"],
    "word",
    as_series=True,
)
add(
    "words",
    "texts to one against the rest",
    lambda: make_pipeline(TfidfVectorizer(), OneVsRestClassifier(LinearSVC())),
    ["note"],
    "word",
    as_series=True,
)
add(
    "words",
    "texts by a column's function",
    lambda: ridge_after(FunctionTransformer(own_steps.first_column), TfidfVectorizer()),
    ["note"],
)
add(
    "words",
    "texts with a tokenizer of one's own",
    lambda: ridge_after(ColumnTransformer([("w", TfidfVectorizer(tokenizer=own_steps.words, token_pattern=None), "note")])),
    ["note"],
)

# --- estimators around others ---------------------------------------------------------------------------------------------------

AROUND: dict[str, tuple[Callable[[Any], Any], str]] = {
    "GridSearchCV": (lambda inner: GridSearchCV(inner, {}, cv=2), "word"),
    "RandomizedSearchCV": (lambda inner: RandomizedSearchCV(inner, {"verbose": [False]}, n_iter=1, cv=2), "word"),
    "CalibratedClassifierCV": (lambda inner: CalibratedClassifierCV(inner, cv=2), "word"),
    "CalibratedClassifierCV without ensemble": (lambda inner: CalibratedClassifierCV(inner, cv=2, ensemble=False), "yes"),
    "OneVsRestClassifier": (OneVsRestClassifier, "word"),
    "OneVsRestClassifier of tags": (OneVsRestClassifier, "tags"),
    "OneVsOneClassifier": (OneVsOneClassifier, "word"),
    "OutputCodeClassifier": (lambda inner: OutputCodeClassifier(inner, random_state=0), "word"),
    "MultiOutputClassifier": (MultiOutputClassifier, "two words"),
    "ClassifierChain": (ClassifierChain, "tags"),
    "BaggingClassifier": (lambda inner: BaggingClassifier(inner, 3, random_state=0), "word"),
    "VotingClassifier": (lambda inner: VotingClassifier([("a", inner), ("b", inner)], voting="soft"), "word"),
    "StackingClassifier": (lambda inner: StackingClassifier([("a", inner)], logistic(), cv=2), "word"),
    "SelfTrainingClassifier": (SelfTrainingClassifier, "half labelled"),
    "TunedThresholdClassifierCV": (lambda inner: TunedThresholdClassifierCV(inner, cv=2), "yes"),
    "FixedThresholdClassifier": (lambda inner: FixedThresholdClassifier(inner, threshold=0.4), "yes"),
}
AROUND_NUMBERS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "MultiOutputRegressor": (MultiOutputRegressor, "two numbers"),
    "RegressorChain": (RegressorChain, "two numbers"),
    "BaggingRegressor": (lambda inner: BaggingRegressor(inner, 3, random_state=0), "number"),
    "VotingRegressor": (lambda inner: VotingRegressor([("a", inner), ("b", inner)]), "number"),
    "StackingRegressor": (lambda inner: StackingRegressor([("a", inner)], Ridge(), cv=2), "number"),
    "StackingRegressor with passthrough": (
        lambda inner: StackingRegressor([("a", inner)], HistGradientBoostingRegressor(max_iter=5), cv=2, passthrough=True),
        "number",
    ),
    "TransformedTargetRegressor": (lambda inner: TransformedTargetRegressor(inner, func=np.cbrt, inverse_func=np.square), "number"),
    "RANSACRegressor": (lambda inner: RANSACRegressor(inner, random_state=0, min_samples=40), "number"),
}
NUMBERS_ONLY = {
    *("OneVsOneClassifier", "ClassifierChain", "RegressorChain", "SelfTrainingClassifier", "RANSACRegressor"),
    *("BaggingClassifier", "BaggingRegressor", "StackingRegressor with passthrough"),
}
"""What takes no DataFrame of texts, or makes an array of it, which names no columns."""
for _name, (_around, _target) in AROUND.items():
    add("around", f"{_name} over numbers", lambda around=_around: around(scaled(logistic())), PLAIN, _target)
    if _name not in NUMBERS_ONLY:
        add("around", f"{_name} over texts", lambda around=_around: around(texts_only(logistic())), TEXTS, _target)
add(
    "around",
    "BaggingClassifier over encoded texts",
    lambda: BaggingClassifier(make_pipeline(one_hot(), logistic()), 3, random_state=0),
    TEXTS,
    "word",
)
add(
    "around",
    "BaggingRegressor over encoded texts",
    lambda: BaggingRegressor(make_pipeline(one_hot(), Ridge()), 3, random_state=0),
    ["city", "code"],
)
add("around", "ClassifierChain over encoded texts", lambda: make_pipeline(one_hot(), ClassifierChain(logistic())), TEXTS, "tags")
for _name, (_around, _target) in AROUND_NUMBERS.items():
    add("around", f"{_name} over numbers", lambda around=_around: around(scaled(Ridge())), PLAIN, _target)
    if _name not in NUMBERS_ONLY:
        add("around", f"{_name} over texts", lambda around=_around: around(texts_only(Ridge())), TEXTS, _target)
add("around", "RegressorChain over encoded texts", lambda: make_pipeline(one_hot(), RegressorChain(Ridge())), TEXTS, "two numbers")
add(
    "around",
    "AdaBoostRegressor over codes",
    lambda: make_pipeline(one_hot(), AdaBoostRegressor(Ridge(), n_estimators=3, random_state=0)),
    ["code"],
)
add("around", "CalibratedClassifierCV over missing texts", lambda: CalibratedClassifierCV(mixed(logistic()), cv=2), MIXED, "word")
add(
    "around",
    "BaggingRegressor over missing values",
    lambda: BaggingRegressor(make_pipeline(SimpleImputer(), Ridge()), 3, random_state=0),
    HOLES,
)
add(
    "around",
    "VotingRegressor of pipelines over different columns",
    lambda: VotingRegressor(
        [
            ("t", ridge_after(ColumnTransformer([("t", one_hot(), ["city", "job"])]))),
            ("n", ridge_after(ColumnTransformer([("n", SimpleImputer(), ["age", "dose"])]))),
        ]
    ),
    MIXED,
)
add(
    "around",
    "a search around a vote of pipelines",
    lambda: GridSearchCV(VotingClassifier([("a", texts_only(logistic()))]), {"voting": ["soft"]}, cv=2),
    TEXTS,
    "word",
)


def _frozen(around: Callable[[Any], Any], inner: Any, features: list[str], target: str) -> Any:
    """Wrap an estimator that is fitted already."""
    fitted = inner.fit(training_frame()[features], targets()[target])
    return around(FrozenEstimator(fitted))


add(
    "around",
    "CalibratedClassifierCV of a frozen one over texts",
    lambda: _frozen(CalibratedClassifierCV, texts_only(logistic()), TEXTS, "word"),
    TEXTS,
    "word",
)
add("around", "FrozenEstimator over texts", lambda: _frozen(lambda inner: inner, mixed(logistic()), MIXED, "word"), MIXED, "word")
add(
    "around",
    "FixedThresholdClassifier of a frozen one",
    lambda: _frozen(FixedThresholdClassifier, scaled(logistic()), PLAIN, "yes"),
    PLAIN,
    "yes",
)

# --- other libraries ------------------------------------------------------------------------------------------------------------


def _lightgbm(kind: str, **options: Any) -> Any:
    import lightgbm  # noqa: PLC0415  # may be absent

    return getattr(lightgbm, kind)(**{"n_estimators": 8, "min_child_samples": 5, "verbose": -1, "n_jobs": 1, **options})


def _xgboost(kind: str, **options: Any) -> Any:
    import xgboost  # noqa: PLC0415  # may be absent

    return getattr(xgboost, kind)(**{"n_estimators": 8, "n_jobs": 1, **options})


CATEGORIES = {"dtype": {"city": "category", "job": "category"}}
add("LightGBM", "LGBMRegressor", lambda: _lightgbm("LGBMRegressor"), HOLES, needs="lightgbm")
add("LightGBM", "LGBMClassifier", lambda: _lightgbm("LGBMClassifier"), HOLES, "word", needs="lightgbm")
add("LightGBM", "LGBMClassifier yes or no", lambda: _lightgbm("LGBMClassifier"), ["age", "paid", "dose"], "yes", needs="lightgbm")
add("LightGBM", "LGBMRegressor of categories", lambda: _lightgbm("LGBMRegressor"), MIXED, read=CATEGORIES, needs="lightgbm")
add("LightGBM", "LGBMRegressor over mixed columns", lambda: mixed(_lightgbm("LGBMRegressor")), MIXED, needs="lightgbm")
add(
    "LightGBM",
    "LGBMClassifier calibrated",
    lambda: CalibratedClassifierCV(_lightgbm("LGBMClassifier"), cv=2),
    HOLES,
    "word",
    needs="lightgbm",
)
add("XGBoost", "XGBRegressor", lambda: _xgboost("XGBRegressor"), HOLES, needs="xgboost")
add("XGBoost", "XGBClassifier", lambda: _xgboost("XGBClassifier"), HOLES, "class", needs="xgboost")
add("XGBoost", "XGBClassifier yes or no", lambda: _xgboost("XGBClassifier"), ["age", "paid", "dose"], "yes", needs="xgboost")
add(
    "XGBoost",
    "XGBRegressor of categories",
    lambda: _xgboost("XGBRegressor", enable_categorical=True),
    MIXED,
    read=CATEGORIES,
    needs="xgboost",
)
add("XGBoost", "XGBRegressor over mixed columns", lambda: mixed(_xgboost("XGBRegressor")), MIXED, needs="xgboost")

# --- somebody's own -------------------------------------------------------------------------------------------------------------

add(
    "own",
    "astype(str) and OneHotEncoder",
    lambda: ridge_after(FunctionTransformer(own_steps.as_text), one_hot()),
    ["rank", "code", "zip"],
)
add(
    "own", "astype(str) of all kinds of columns", lambda: ridge_after(FunctionTransformer(own_steps.as_text), one_hot()), EVERYTHING
)
add(
    "own",
    "astype(str) of some columns",
    lambda: ridge_after(
        ColumnTransformer(
            [("c", make_pipeline(FunctionTransformer(own_steps.as_text), one_hot()), ["visits", "smoker"])], remainder="drop"
        )
    ),
    ["visits", "smoker", "age"],
)
add("own", "lower case and OneHotEncoder", lambda: ridge_after(FunctionTransformer(own_steps.lowered), one_hot()), ["city", "code"])
add("own", "lengths of texts", lambda: ridge_after(FunctionTransformer(own_steps.lengths)), ["city", "code"])
add("own", "parts of dates", lambda: ridge_after(FunctionTransformer(own_steps.date_parts)), ["day"])
add(
    "own",
    "identity before OneHotEncoder",
    lambda: ridge_after(FunctionTransformer(own_steps.identity), one_hot()),
    ["code", "smoker", "visits"],
)
add(
    "columns",
    "FunctionTransformer before an encoder of codes",
    lambda: ridge_after(FunctionTransformer(), one_hot()),
    ["code", "zip", "smoker"],
)
add("own", "a column made of two", lambda: ridge_after(own_steps.Ratio()), PLAIN)
add("own", "an estimator of one's own", own_steps.Echo, PLAIN)
add("own", "an estimator that tells types", own_steps.Types, EVERYTHING)
add("own", "an estimator that tells types of numbers", own_steps.Types, ["age", "height", "dose", "visits", "serial"])
add("own", "an estimator that tells types of codes", own_steps.Types, ["zip", "code", "country", "smoker"])
add(
    "own",
    "a search around steps of one's own",
    lambda: GridSearchCV(ridge_after(FunctionTransformer(own_steps.as_text), one_hot()), {}, cv=2),
    ["rank", "code"],
)

IN_SMALL_TABLE = (
    *("Ridge", "Ridge, fitted on an array", "LinearRegression of large integers", "LogisticRegression", "HistGB", "RandomForest"),
    *("DecisionTreeClassifier of two words", "SVC one against one", "KMeans", "IsolationForest", "DummyClassifier"),
    *("HistGB of booleans with missing values", "HistGB with categories by names", "SimpleImputer with indicator"),
    *("SimpleImputer(mean) of numbers", "MissingIndicator beside a one-hot encoder", "OneHotEncoder of texts"),
    *("OrdinalEncoder(missing=-2) of texts", "TargetEncoder of codes", "OneHotEncoder of booleans with missing values"),
    *("OneHotEncoder of integers with missing values", "OneHotEncoder of ids read as text", "OneHotEncoder of NA and None"),
    *("SimpleImputer(most_frequent) and OneHotEncoder", "OneHotEncoder of everything", "ColumnTransformer, the usual"),
    *("ColumnTransformer by slices", "ColumnTransformer passes the rest to trees", "ColumnTransformer passes codes to an encoder"),
    *("ColumnTransformer with short names, DataFrames between steps", "FeatureUnion of encoders", "TfidfVectorizer of a column"),
    *(
        "texts to a classifier",
        "texts to calibrated classes",
        "CalibratedClassifierCV over texts",
        "OneVsRestClassifier over texts",
    ),
    *("MultiOutputClassifier over texts", "VotingRegressor over texts", "StackingRegressor with passthrough over numbers"),
    *("CalibratedClassifierCV of a frozen one over texts", "LGBMRegressor", "XGBRegressor", "astype(str) of all kinds of columns"),
    *("lower case and OneHotEncoder", "an estimator that tells types", "FunctionTransformer before an encoder of codes"),
)
"""Those that `make test-thorough` scores in the package; `make smoke` has them all."""

FEW = (
    *("Ridge", "Ridge, fitted on an array", "LinearRegression of large integers", "LogisticRegression", "HistGB"),
    *("DecisionTreeClassifier of two words", "HistGB of booleans with missing values", "RandomForestRegressor of two numbers"),
    *("SimpleImputer(mean) of numbers", "OneHotEncoder of booleans with missing values", "TargetEncoder of codes"),
    *("OneHotEncoder of integers with missing values", "OneHotEncoder of NA and None", "ColumnTransformer, the usual"),
    *("ColumnTransformer passes codes to an encoder", "FeatureUnion of encoders", "texts to a classifier"),
    *("CalibratedClassifierCV over texts", "LGBMRegressor", "XGBRegressor", "an estimator that tells types"),
    "FunctionTransformer before an encoder of codes",
)
"""Those of `make test`: one for each way in which the handler decides what a model is given."""
