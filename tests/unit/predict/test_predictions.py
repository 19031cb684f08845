"""What `predictions` asks of a classifier: each column beside what plain scikit-learn says."""

from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import DATA, MODEL, OUTPUT, frame, invoke, mixed_pipeline
from lightgbm import LGBMClassifier
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingClassifier, RandomForestClassifier, StackingClassifier, VotingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, SGDClassifier
from sklearn.model_selection import FixedThresholdClassifier, GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.svm import SVC, LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import all_estimators
from xgboost import XGBClassifier, XGBRFClassifier

import prediction_handler as handler

NAMES = ["x1", "x2", "x3"]
EVERYTHING = ["label", "probability", "probabilities", {"top_k": 2}, {"threshold": {"no": 0.9, "yes": 0.3}}]


def integers(rows=200, seed=0):
    """Features of few values, so that probabilities are often equal."""
    return pd.DataFrame(np.random.default_rng(seed).integers(0, 3, (rows, 3)).astype(float), columns=NAMES)


def fitted(model, labels=("maybe", "no", "yes"), seed=0):
    data = integers(seed=seed)
    return model.fit(data, np.random.default_rng(seed).choice(labels, len(data)))


@pytest.fixture
def scored(tmp_path):
    """Score a frame by a model; returns the prediction columns, and what else is known of the output."""

    def scored(model, data, **fields):
        data.to_csv(tmp_path / "in.csv", index=False)
        facts = handler.score_file(tmp_path / "in.csv", tmp_path / "out.csv", model, prediction_column_name="p", **fields)
        output = pd.read_csv(tmp_path / "out.csv", dtype={name: str for name in facts.prediction_columns if not _is_share(name)})
        assert [*output.columns] == [*data.columns, *facts.prediction_columns]
        return output[facts.prediction_columns], facts

    return scored


def _is_share(name):
    return "probability" in name


def by_hand(model, data):
    """What EVERYTHING is, row by row and without the handler."""
    shares, classes, labels = model.predict_proba(data), [*model.classes_], model.predict(data)
    limits = {"no": 0.9, "yes": 0.3}
    rows = []
    for row, label in zip(shares, labels, strict=True):
        share = dict(zip(classes, row, strict=True))
        ranked = sorted(classes, key=lambda one: -share[one])
        reached = [one for one in classes if one in limits and share[one] >= limits[one]]
        chosen = max(reached or [one for one in classes if one not in limits], key=lambda one: share[one] / limits.get(one, 1))
        tops = {
            f"p_top_{rank}{end}": value
            for rank, one in enumerate(ranked[:2], 1)
            for end, value in (("", one), ("_probability", share[one]))
        }
        each = {f"p_probability_{one}": share[one] for one in classes}
        rows.append({"p": label, "p_probability": share[label], **each, **tops, "p_by_threshold": chosen})
    return pd.DataFrame(rows)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        RandomForestClassifier(5, random_state=0),
        KNeighborsClassifier(4),
        SGDClassifier(loss="modified_huber", random_state=0),
        SVC(probability=True, random_state=0),
        make_pipeline(FunctionTransformer(), GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 2]})),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_every_column_is_what_scikit_learn_says(scored, model):
    model, data = fitted(model), integers(seed=1)
    output, facts = scored(model, data, predictions=EVERYTHING)
    pd.testing.assert_frame_equal(output, by_hand(model, data), check_dtype=False, rtol=1e-12)
    kinds = {name: found["kind"] for name, found in facts.statistics["predictions"].items()}
    assert kinds == {name: "number" if _is_share(name) else "class" for name in output.columns}
    assert facts.statistics["predictions"]["p"]["classes"] == output["p"].value_counts().to_dict()
    assert [*kinds] == facts.prediction_columns
    assert "percents" in facts.statistics["predictions"]["p_probability_no"]


def test_columns_come_in_the_order_of_the_request(scored):
    model, data = fitted(LogisticRegression(), ["n", "y"]), integers(9)
    output, _ = scored(model, data, predictions=[{"probabilities": {"classes": ["y"]}}, "label"])
    assert [*output.columns] == ["p_probability_y", "p"]
    output, _ = scored(model, data, predictions=["probabilities"])
    assert output.to_numpy() == pytest.approx(model.predict_proba(data), rel=1e-12)


@pytest.mark.parametrize("model", [LinearSVC(), LinearRegression(), RandomForestClassifier(3, random_state=0)])
def test_a_label_alone_is_what_predict_gives(scored, model):
    model = fitted(model, [0, 1, 2])
    data = integers(20)
    output, facts = scored(model, data, predictions=["label"])
    plain, same = scored(model, data)
    assert output.equals(plain)
    assert facts == same


# --- the label is what `predict` says -------------------------------------------------------------------------------------------


def symmetric():
    """Data between whose two classes a model cannot tell at (1, 1, 1)."""
    train = pd.DataFrame([[0.0] * 3, [2.0] * 3, [0.0] * 3, [2.0] * 3] * 15, columns=NAMES)
    return train, np.array(["no", "yes", "yes", "no"] * 15), pd.DataFrame([[1.0] * 3, [0.0] * 3, [2.0] * 3] * 10, columns=NAMES)


@pytest.fixture
def called(monkeypatch):
    """The model's methods as they are called."""
    methods, call = [], handler._call_model

    def noting(estimator, method, features):
        methods.append(method)
        return call(estimator, method, features)

    monkeypatch.setattr(handler, "_call_model", noting)
    return methods


@pytest.mark.parametrize(
    ("model", "calls"),
    [
        (RandomForestClassifier(4, random_state=0), ["predict_proba"]),
        (GradientBoostingClassifier(n_estimators=3), ["predict_proba", "predict"]),  # each probability is 0.5
        (FixedThresholdClassifier(LogisticRegression(), threshold=0.6), ["predict_proba", "predict"]),
        (make_pipeline(FunctionTransformer(), VotingClassifier([("a", GaussianNB())], voting="soft")), ["predict_proba"]),
        (StackingClassifier([("a", DecisionTreeClassifier())], DecisionTreeClassifier()), ["predict_proba"]),
        (CalibratedClassifierCV(LogisticRegression()), ["predict_proba"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_model_is_called_again_only_where_its_probabilities_do_not_tell_the_label(scored, called, model, calls):
    train, labels, data = symmetric()
    model.fit(train, labels)
    output, _ = scored(model, data, predictions=["label", "probability"])
    assert output["p"].tolist() == model.predict(data).tolist()
    assert called == calls
    called.clear()
    scored(model, data, predictions=["probabilities", {"top_k": 1}, {"threshold": 0.5}])
    assert called == ["predict_proba"]  # which say nothing of the label


def test_probabilities_that_are_clear_are_enough(scored, called):
    train, data = integers(), pd.DataFrame(np.eye(3), columns=NAMES)
    model = LogisticRegression().fit(train, train["x1"] > 1)
    scored(model, data, predictions=["label", "probability"])
    assert called == ["predict_proba"]


def _variants(name, make):
    inner = LogisticRegression()
    known = {
        "SVC": [make(probability=True)] if name == "SVC" else [],
        "NuSVC": [make(probability=True, nu=0.1)] if name == "NuSVC" else [],
        "SGDClassifier": [make(loss=loss) for loss in ("log_loss", "modified_huber")] if name == "SGDClassifier" else [],
        "KNeighborsClassifier": [make(weights=one) for one in ("uniform", "distance")] if name == "KNeighborsClassifier" else [],
    }
    if found := known.get(name):
        return found
    if name in ("VotingClassifier", "StackingClassifier"):
        return [make([("a", inner), ("b", DecisionTreeClassifier(max_depth=1))], **({"voting": "soft"} if name[0] == "V" else {}))]
    with suppress(TypeError):
        return [make()]
    return [make(inner)]


@pytest.mark.thorough
@pytest.mark.filterwarnings("ignore")
def test_no_classifier_of_scikit_learn_is_given_another_label():
    """Also where probabilities are equal, saturate, or are far from what was seen."""
    random = np.random.default_rng(0)
    train, labels, ties = symmetric()
    far = pd.DataFrame(np.abs(random.normal(size=(300, 3)) * 10.0 ** random.integers(-8, 4, (300, 1))), columns=NAMES)
    thirds = pd.DataFrame([[0.0] * 3, [1.0] * 3, [2.0] * 3] * 20, columns=NAMES)
    cases = [
        (train, labels, ties),
        (thirds, np.array(["a", "b", "c"] * 20), far),
        *[(integers(120), random.choice(of, 120), integers(300, 2)) for of in (["no", "yes"], ["a", "b", "c"])],
    ]
    boosted = [
        ("LGBMClassifier", lambda: LGBMClassifier(n_estimators=3, verbose=-1)),
        ("XGBClassifier", lambda: XGBClassifier(n_estimators=3)),
        ("XGBRFClassifier", lambda: XGBRFClassifier(n_estimators=3)),
    ]
    compared = set()
    for name, make in [*all_estimators(type_filter="classifier"), *boosted]:
        for known, target, data in cases:
            numbered = np.unique(target, return_inverse=True)[1]
            for model in _variants(name, make):
                try:
                    expected = model.fit(known, numbered if name.startswith("XGB") else target).predict(data)
                    model.predict_proba(data)
                except (ValueError, TypeError, AttributeError, IndexError, np.linalg.LinAlgError):
                    continue  # it does not take such data, or has no probabilities
                answers = handler._answers_of(model, "p", ["label", "probability"])
                label, _ = answers.columns(answers.call(data))
                assert label.values.tolist() == expected.tolist(), model
                compared.add(f"{type(model).__module__.partition('.')[0]}.{name}")
    assert compared >= handler._BY_LARGEST | handler._BUT_FOR_ROUNDING


class Own(ClassifierMixin, BaseEstimator):
    """A class of somebody's own: it says yes a third of the time, whatever is likelier; and changes the frame that it gets."""

    def fit(self, features, labels):
        self.feature_names_in_, self.classes_ = np.array(features.columns, object), np.unique(labels)
        return self

    def predict_proba(self, features):
        features["x1"] = features["x1"] + 1
        share = 1 / (1 + np.exp(-features["x1"].to_numpy()))
        return np.column_stack([share, 1 - share])

    def predict(self, features):
        return self.classes_[(features["x1"].to_numpy() % 3 == 0).astype(int)]


def test_a_model_of_ones_own_says_its_label_itself_of_the_features_as_they_came(scored):
    data = integers(30)
    model = Own().fit(data, ["no", "yes"] * 15)
    output, _ = scored(model, data, predictions=["probability", "label"])
    assert output["p"].tolist() == model.predict(data).tolist()
    shares = model.predict_proba(data.copy())
    assert output["p_probability"].to_numpy() == pytest.approx(np.where(output["p"] == "no", shares[:, 0], shares[:, 1]))


class Thresholded(Pipeline):
    """A pipeline that labels by a threshold of its own."""

    def predict(self, features):
        return self.classes_[(self.predict_proba(features)[:, 1] > 0.3).astype(int)]


def test_a_class_that_is_derived_of_scikit_learns_says_its_label_itself(scored):
    data = integers()
    model = fitted(Thresholded([("last", DecisionTreeClassifier(max_depth=1))]), ["no", "yes"])
    output, _ = scored(model, data, predictions=["label", "probability"])
    assert output["p"].tolist() == model.predict(data).tolist() != model.steps[0][1].predict(data).tolist()


# --- labels, thresholds, outputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("classes", "printed", "named"),
    [
        ([False, True], ["False", "True"], True),
        ([3, 7], ["3", "7"], 7.0),
        ([0.0, 1.0], ["0.0", "1.0"], 1),
        (['a "b"', "c,d"], ['a "b"', "c,d"], "c,d"),
        (np.array(["2026-01-01", "2026-01-02T03"], "M8[h]"), ["2026-01-01", "2026-01-02 03:00"], "2026-01-02 03:00"),
    ],
)
def test_labels_of_every_type_are_printed_as_by_predict_and_named_as_printed(scored, classes, printed, named):
    data = integers(40)
    target = np.array(classes)[(data["x1"] > 1).astype(int)]
    model = KNeighborsClassifier(1).fit(data, target)
    output, facts = scored(model, data, predictions=["label", {"probabilities": {"classes": [named]}}, {"threshold": 0.5}])
    plain, _ = scored(model, data)
    assert output["p"].tolist() == output["p_by_threshold"].tolist() == plain["p"].tolist()
    assert set(output["p"]) == {*printed}
    assert facts.prediction_columns == ["p", f"p_probability_{printed[1]}", "p_by_threshold"]


def places(shares, threshold):
    output = handler._output_of("p", np.array(["a", "b", "c"][: len(shares)]))
    ((_, labels),) = handler._by_threshold(output, np.array([shares]), None, threshold)
    return labels.values.tolist()[0]


@pytest.mark.parametrize(
    ("shares", "threshold", "label"),
    [
        ([0.7, 0.3], 0.3, "b"),  # is reached
        ([0.7, 0.3], 0.31, "a"),
        ([1.0, 0.0], 0, "b"),
        ([0.7, 0.3], {"a": 0.8}, "b"),
        ([0.7, 0.3], {"b": 0.3}, "b"),
        ([0.5, 0.3, 0.2], {"b": 0.3, "c": 0.1}, "c"),  # twice its threshold
        ([0.5, 0.3, 0.2], {"b": 0.4, "c": 0.3}, "a"),
        ([0.3, 0.4, 0.3], {"c": 0.5}, "b"),
        ([0.5, 0.3, 0.2], {"a": 0.9, "b": 0.4, "c": 0.9}, "b"),  # none is reached, and this is the closest
        ([np.nan, np.nan], 0.5, "a"),
    ],
)
def test_a_threshold_chooses_the_class(shares, threshold, label):
    assert places(shares, threshold) == label


def test_a_threshold_is_compared_as_scikit_learn_compares_it(scored):
    """Also in float32, in which XGBoost has its probabilities."""
    data = integers()
    model = XGBClassifier(n_estimators=3).fit(data, data["x1"] > 0)
    shortest = ((share, float(str(share))) for share in np.unique(model.predict_proba(data)[:, 1]))
    threshold = next(text for share, text in shortest if text > float(share))  # as it is read, it is the very probability
    output, _ = scored(model, data, predictions=[{"threshold": threshold}])
    expected = FixedThresholdClassifier(model, threshold=threshold, response_method="predict_proba").fit(data, data["x1"] > 0)
    assert output["p_by_threshold"].astype(int).tolist() == expected.predict(data).astype(int).tolist()


def test_a_single_class_needs_no_second(scored):
    data = integers(20)
    output, _ = scored(
        DecisionTreeClassifier().fit(data, ["only"] * 20), data, predictions=["label", "probability", "probabilities"]
    )
    assert output.drop_duplicates().to_numpy().tolist() == [["only", 1.0, 1.0]]


def test_each_of_several_outputs_is_written_as_a_model_by_itself(scored):
    data = integers()
    targets = np.column_stack([np.where(data["x1"] > 1, "yes", "no"), np.where(data["x2"] > 0, "yes", "no")])
    for model in (RandomForestClassifier(5, random_state=0), MultiOutputClassifier(LogisticRegression()), KNeighborsClassifier(3)):
        model.fit(data, targets)
        output, _ = scored(model, data, predictions=["label", {"probabilities": {"classes": ["yes"]}}, {"threshold": 0.9}])
        shares = [one[:, 1] for one in model.predict_proba(data)]
        assert output[["p_0", "p_1"]].to_numpy().tolist() == model.predict(data).tolist()
        assert output[["p_0_probability_yes", "p_1_probability_yes"]].to_numpy() == pytest.approx(np.column_stack(shares))
        by_threshold = np.where(np.column_stack(shares) >= 0.9, "yes", "no")
        assert output[["p_0_by_threshold", "p_1_by_threshold"]].to_numpy().tolist() == by_threshold.tolist()


@pytest.mark.parametrize(
    "model",
    [
        OneVsRestClassifier(LogisticRegression()),
        MLPClassifier((3,), max_iter=30, random_state=0),
        ClassifierChain(LogisticRegression()),
        XGBClassifier(n_estimators=3),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.filterwarnings("ignore")
def test_labels_of_which_a_row_has_several_are_outputs_of_0_and_1(scored, model):
    data = integers()
    model.fit(data, np.column_stack([data["x1"] > 1, data["x2"] > 0]).astype(int))
    output, _ = scored(model, data, predictions=["label", "probability", {"threshold": 0.9}])
    plain, _ = scored(model, data)
    shares = model.predict_proba(data)
    assert output[["p_0", "p_1"]].equals(plain)
    assert output[["p_0_probability", "p_1_probability"]].to_numpy() == pytest.approx(
        np.where(model.predict(data) == 1, shares, 1 - shares)
    )
    assert (output[["p_0_by_threshold", "p_1_by_threshold"]].astype(float).to_numpy() == 1).tolist() == (shares >= 0.9).tolist()


def test_names_are_distinct_whatever_the_labels_are_called():
    labels = np.random.default_rng(0).integers(0, 2, (60, 2))
    model = OneVsRestClassifier(LogisticRegression()).fit(integers(60), labels)
    model.label_binarizer_.classes_ = np.array(["a", "a_probability"])
    names = handler._answers_of(model, "p", ["label", "probability"]).names
    assert names == ["p_0", "p_1", "p_0_probability", "p_1_probability"]


# --- rows that are not predicted, data without rows -----------------------------------------------------------------------------


def test_rejected_rows_have_empty_predictions_in_every_column(put, get):
    put(MODEL, fitted(LogisticRegression(), ["no", "yes"]))
    put(DATA, "x1,x2,x3\n1,2,0\n1,,0\nx,2,1\n2,2,2\n")
    asked = {"predictions": ["label", "probability", {"top_k": 2}], "feature_columns": NAMES}
    assert invoke(on_bad_row="quarantine", **asked)[0] == 200
    first, *rows = get(OUTPUT).decode().splitlines()
    names = first.split(",")[3:]
    assert names[:3] == ["prediction", "prediction_probability", "prediction_top_1"]
    assert rows[1:3] == [f"1,,0{',' * 6}", f"x,2,1{',' * 6}"]
    assert all(rows[number].split(",")[3] in ("no", "yes") for number in (0, 3))
    put(DATA, "x1,x2,x3\n")
    assert invoke(on_no_rows="succeed", **asked)[0] == 200
    assert get(OUTPUT).decode() == f"x1,x2,x3,{','.join(names)}\n"


def test_rows_of_text_are_scored_by_several_workers_and_blocks(scored, monkeypatch):
    data = frame(3000)
    model = mixed_pipeline(LogisticRegression(max_iter=200)).fit(data, np.where(data["a"] > 0, "yes, surely", "no"))
    monkeypatch.setattr(handler, "BLOCK_BYTES", 20_000)
    output, facts = scored(model, data, predictions=["label", "probability"])
    assert output["p"].tolist() == model.predict(data).tolist()
    assert output["p_probability"].to_numpy() == pytest.approx(model.predict_proba(data).max(axis=1), rel=1e-12)
    assert sum(facts.statistics["predictions"]["p"]["classes"].values()) == 3000


@pytest.mark.parametrize(
    ("data", "options", "lines"),
    [
        (b"x;y\n0,5;1\n;1\n", {"csv": {"delimiter": ";", "decimal": ","}}, ["x;y;p;p_probability", '0,5;1;"a;b";0,75', ";1;;"]),
        (b"x,y\n0.5,1\n,1\n", {"output_columns": []}, ["p,p_probability", "a;b,0.75", ","]),
        (
            b'{"x":0.5}\n{"x":null}\n',
            {"input_format": "jsonl"},
            ['{"x":0.5,"p":"a;b","p_probability":0.75}', '{"x":null,"p":null,"p_probability":null}'],
        ),
        (
            b"x,y\n0.5,1\n,1\n",
            {"output_format": "jsonl"},
            ['{"x":0.5,"y":1,"p":"a;b","p_probability":0.75}', '{"x":null,"y":1,"p":null,"p_probability":null}'],
        ),
    ],
    ids=["dialect", "no columns", "JSON Lines", "CSV to JSON Lines"],
)
def test_labels_and_numbers_stand_in_every_format_as_one_prediction_does(tmp_path, data, options, lines):
    model = GaussianNB().fit(pd.DataFrame({"x": [0.0, 1.0, 0.0, 1.0]}), ["a;b", "a;b", "no", "no"])
    model.class_prior_ = np.array([0.75, 0.25])  # of all rows, whose features say nothing
    (tmp_path / "in").write_bytes(data)
    asked = {"prediction_column_name": "p", "predictions": ["label", "probability"], "on_bad_row": "quarantine"}
    handler.score_file(tmp_path / "in", tmp_path / "out", model, **asked, **options)
    assert (tmp_path / "out").read_text().splitlines() == lines


@pytest.mark.parametrize(("classes", "kind"), [(["no", "yes"], pa.string()), ([False, True], pa.bool_()), ([3, 7], pa.int64())])
def test_in_parquet_labels_have_their_type_also_without_rows(tmp_path, classes, kind):
    data = integers(20)
    model = fitted(LogisticRegression(), classes)
    options = {"predictions": ["label", "probability", {"threshold": 0.5}], "on_bad_row": "quarantine", "on_no_rows": "succeed"}
    bad = data.assign(x1=data["x1"].where(data.index != 3))
    for rows in (bad, data[:0]):
        rows.to_parquet(tmp_path / "in.parquet", row_group_size=7)
        facts = handler.score_file(tmp_path / "in.parquet", tmp_path / "out.parquet", model, prediction_column_name="p", **options)
        table = pq.read_table(tmp_path / "out.parquet").select(facts.prediction_columns)
        assert table.schema.types == [kind, pa.float64(), kind]
        expected = model.predict(rows.fillna(0)).tolist() if len(rows) else []
        assert table["p"].to_pylist() == [None if row == 3 else label for row, label in enumerate(expected)]


# --- what is refused ------------------------------------------------------------------------------------------------------------


def test_classes_may_be_a_plain_list(scored):
    data = integers(20)
    model = Own().fit(data, ["no", "yes"] * 10)
    model.classes_ = ["no", "yes"]
    output, _ = scored(model, data, predictions=["probabilities", {"threshold": {"yes": 0.0}}])
    assert [*output.columns] == ["p_probability_no", "p_probability_yes", "p_by_threshold"]
    assert set(output["p_by_threshold"]) == {"yes"}


class Nameless(Own):
    classes_ = None

    def fit(self, features, _):
        self.feature_names_in_ = np.array(features.columns, object)
        return self


class Beyond(Own):
    def predict(self, features):
        return np.full(len(features), "perhaps")


NO_SHARES = "gives no probabilities (it has no predict_proba), and predictions asks for"
OF_THREE = "and the model has the classes '0', '1', '2'"


@pytest.mark.parametrize(
    ("model", "predictions", "message"),
    [
        (LinearRegression(), ["probability"], f"a LinearRegression, {NO_SHARES} probability: leave predictions out"),
        (LinearSVC(), ["label", {"top_k": 1}], f"a LinearSVC, {NO_SHARES} top_k: leave predictions out"),
        (
            LogisticRegression(),
            [{"probabilities": {"classes": ["9"]}}],
            f"predictions names the class '9', {OF_THREE}: name one of these",
        ),
        (LogisticRegression(), [{"probabilities": {"classes": [1, "1"]}}], "predictions names the class '1' twice: leave one out"),
        (LogisticRegression(), [{"threshold": {"20": 0.5}}], f"predictions names the class '20', {OF_THREE}: did you mean '2'?"),
        (LogisticRegression(), [{"threshold": 0.5}], '3 classes: name the class that has it: {"threshold": {"0": 0.5}}'),
        (LogisticRegression(), [{"top_k": 4}], "predictions asks for top_k 4, and the model has 3 classes: lower top_k"),
        (Nameless(), ["probability"], "does not say of which classes its probabilities are (classes_)"),
        (Own(), ["probability"], "the model's predict_proba gave an array of shape (200, 2) for 3 classes"),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, (str, list)) else None,
)
def test_what_the_model_does_not_have_is_refused_by_name(scored, model, predictions, message):
    with pytest.raises((handler.ModelError, handler.InvalidRequestError)) as refused:
        scored(fitted(model, [0, 1, 2]), integers(), predictions=predictions)
    assert message in str(refused.value)


def test_a_label_that_is_no_class_is_not_written(scored):
    with pytest.raises(handler.ModelError, match="predicts a label that is not among its classes"):
        scored(fitted(Beyond(), ["no", "yes"]), integers(), predictions=["label", "probability"])


@pytest.mark.parametrize(
    "predictions",
    [
        [], "label", ["labels"], ["label", "label"], ["probabilities", {"probabilities": {"classes": ["a"]}}], [{"label": None}],
        [{"top_k": 0}], [{"top_k": True}], [{"top_k": 1001}], [{"threshold": 1.5}], [{"threshold": -0.1}], [{"threshold": True}],
        [{"threshold": {}}], [{"threshold": {"a": 2}}], [{"probabilities": {"classes": []}}], [{"probabilities": {"classes": "a"}}],
        [{"probabilities": {"classes": ["a"], "top": 1}}], [{"top_k": 1, "threshold": 0.5}], [{}], [None], [["label"]],
    ],
)  # fmt: skip
def test_an_event_that_asks_for_something_else_is_refused(predictions):
    status, body = invoke(predictions=predictions)
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert "predictions must be a list of label" in body["message"]


def test_predictions_and_another_method_exclude_each_other():
    status, body = invoke(predictions=["label"], prediction_method="predict_proba")
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert "predictions and prediction_method exclude each other" in body["message"]


def test_a_column_of_the_data_is_never_added_twice(put):
    put(MODEL, fitted(LogisticRegression(), ["no", "yes"]))
    put(DATA, "x1,x2,x3,prediction_top_1\n1,2,0,5\n")
    status, body = invoke(predictions=[{"top_k": 1}], feature_columns=NAMES, probe_rows=10)
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert "has columns 'prediction_top_1' already" in body["message"]


def test_an_unfitted_model_says_so(put):
    put(MODEL, LogisticRegression())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(predictions=["probability"])
    assert (status, body["message"]) == (400, "the model, a LogisticRegression, is not fitted: fit it, and dump it then")
