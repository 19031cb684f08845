"""What a model is given: what pandas would have read, by what the model, the request or the whole of the data says."""

import numpy as np
import pandas as pd
import pytest
from harness import last_fields, score_locally
from own_code import OneThreadAtATime, ShowsTypes, as_text
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import BaggingClassifier, RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import prediction_handler as handler


def test_what_is_not_finite_is_written_so_that_it_reads_back(tmp_path):
    _, output = score_locally(b"x1\n1\nNA\ninf\n-Infinity\n", tmp_path)
    assert output.splitlines() == [b"x1,p", b"1,1.0", b"NA,nan", b"inf,inf", b"-Infinity,-inf"]


# --- what the model itself determines ---------------------------------------------------------------------------------------------

TRAIN = pd.DataFrame({"t": ["S", "M", "38", "40"] * 10, "n": [1.0, 2.0, 3.0, 4.0] * 10})
LABELS = ["lo", "lo", "hi", "lo"] * 10


@pytest.mark.parametrize("chosen", [[0], slice(0, 1), [True, False], [-2], slice("t", "t")], ids=str)
def test_positions_are_those_of_the_fit_whatever_the_order_now(chosen):
    columns = ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore"), chosen)], remainder="passthrough")
    expected = handler.expected_columns(make_pipeline(columns, LogisticRegression()).fit(TRAIN, LABELS), ["n", "t"])
    assert [expected[column].kind for column in ("t", "n")] == [handler.TEXT, handler.NUMBER]


def test_a_bag_knows_which_columns_each_of_its_estimators_got():
    bag = BaggingClassifier(LogisticRegression(), n_estimators=3, max_features=1, random_state=0).fit(
        TRAIN[["n"]].assign(m=1.0), LABELS
    )
    expected = handler.expected_columns(bag, ["n", "m"])
    assert {opinion.kind for opinion in expected.values()} == {handler.NUMBER}


@pytest.mark.parametrize("mark", ["first", "second"])
def test_a_byte_order_mark_in_the_data_is_a_character(tmp_path, mark):
    train = pd.DataFrame({"c": ["\ufeffx", "x", "y"]})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(train, [0.0, 10.0, 20.0])
    rows = ["\ufeffx", "x"] if mark == "first" else ["x", "\ufeffx"]
    _, output = score_locally(("c\n" + "".join(f"{row}\n" for row in rows)).encode(), tmp_path, model=model, feature_columns=["c"])
    predicted = [*map(float, last_fields(output))]
    np.testing.assert_allclose(predicted, [0.0, 10.0] if mark == "first" else [10.0, 0.0], atol=1e-9)


def test_large_integers_are_rounded_as_pandas_does_and_counted(tmp_path):
    model = LinearRegression().fit(pd.DataFrame({"x1": [0.0, 1.0]}), [0.0, 1.0])
    data = b"x1,y\n9007199254740993,a\n9007199254740992,b\n1e20,c\n"
    facts, output = score_locally(data, tmp_path, model=model)
    assert facts.rounded_integers == 1
    predicted = [float(line.rpartition(b",")[2]) for line in output.splitlines()[1:]]
    np.testing.assert_allclose(predicted, [2.0**53, 2.0**53, 1e20], rtol=1e-12)
    with pytest.raises(handler.InvalidDataError, match=r"row 1 .*integer of 16 characters is too large to be exact"):
        score_locally(data, tmp_path, model=model, strict=True)


# --- how it is handed over --------------------------------------------------------------------------------------------------------


def given_to(estimator, columns):
    columns, _ = handler._decide_columns(estimator, {"feature_columns": columns}, None, lambda _: {})
    return handler._input_of(estimator, handler._parts_of(estimator), columns)


def test_an_array_only_where_no_step_can_tell():
    numbers = TRAIN[["n"]]
    assert given_to(make_pipeline(StandardScaler(), Ridge()).fit(numbers, numbers.n), ["n"]) == handler.ARRAY
    assert given_to(RandomForestRegressor(2).fit(numbers, numbers.n), ["n"]) == handler.ARRAY
    assert (
        given_to(make_pipeline(StandardScaler().set_output(transform="pandas"), Ridge()).fit(numbers, numbers.n), ["n"])
        == handler.FRAME
    )
    named = make_pipeline(ColumnTransformer([("n", StandardScaler(), ["n"])]), Ridge()).fit(numbers, numbers.n)
    assert given_to(named, ["n"]) == handler.FRAME
    assert given_to(make_pipeline(StandardScaler(), OneThreadAtATime(), Ridge()).fit(numbers, numbers.n), ["n"]) == handler.FRAME


def test_columns_that_an_array_would_hide_are_compared(tmp_path):
    model = LinearRegression().fit(pd.DataFrame({"x1": [0.0, 1.0], "x2": [0.0, 2.0]}), [0.0, 1.0])
    with pytest.raises(
        handler.ModelError,
        match="in another order: column 1 was 'x1' in the fit, and is 'x2' in feature_columns: give them in the order of the fit",
    ):
        score_locally(b"x1,x2\n1,2\n", tmp_path, model=model, feature_columns=["x2", "x1"])


@pytest.mark.parametrize(
    ("memory_mb", "cores", "workers"),
    [
        *[(512, 2, 1), (1769, 2, 1), (2600, 2, 1), (3008, 2, 2), (3538, 3, 2), (5307, 3, 3), (7076, 5, 4), (10240, 6, 6)],
        *[(10240, 2, 2), (None, 4, 4), (None, None, 1)],
    ],
)
def test_no_more_blocks_are_scored_at_once_than_the_memory_buys_vcpus(monkeypatch, memory_mb, cores, workers):
    monkeypatch.setattr(handler.os, "cpu_count", lambda: cores)
    monkeypatch.delenv("DEPLOYED_PACKAGE", raising=False)
    monkeypatch.delenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", raising=False)
    if memory_mb:
        monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", str(memory_mb))
    assert handler._workers(Ridge()) == workers
    assert handler._workers(make_pipeline(OneThreadAtATime(), Ridge())) == 1


def test_the_local_aws_uses_the_machines_cores(monkeypatch):
    """It says the memory that the function would have, which buys nothing there."""
    monkeypatch.setattr(handler.os, "cpu_count", lambda: 8)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
    monkeypatch.setenv("DEPLOYED_PACKAGE", '{"python": "3.13"}')
    assert handler._workers(Ridge()) == 8


def test_own_code_anywhere_in_a_model_is_called_by_one_thread(tmp_path, monkeypatch):
    monkeypatch.setattr(handler.os, "cpu_count", lambda: 4)
    model = make_pipeline(StandardScaler(), OneThreadAtATime(), Ridge()).fit(TRAIN[["n"]].rename(columns={"n": "x1"}), TRAIN.n)
    score_locally(b"x1\n" + b"1\n2\n" * 100, tmp_path, 8, model)
    assert not OneThreadAtATime.met
    own = make_pipeline(StandardScaler(), FunctionTransformer(as_text), Ridge())
    assert handler._parts_of(own).strangers == {"own_code"}
    assert not handler._parts_of(make_pipeline(FunctionTransformer(np.log1p), Ridge())).strangers


# --- what the request says --------------------------------------------------------------------------------------------------------


def test_a_stated_type_is_the_columns_type_and_what_does_not_fit_is_a_bad_row(tmp_path):
    data = b"x1,pad\n007,0\n12,0\n,0\n"
    stated = {"column_types": {"x1": "text"}}
    _, output = score_locally(data, tmp_path, model=ShowsTypes(), **stated)
    assert output.decode().splitlines()[1:] == ["007,0,str:007", "12,0,str:12", ",0,float:nan"]
    for kind, fault in (("integer", "a missing value is not an integer"), ("boolean", "a text of 3 character.s. is not a boolean")):
        with pytest.raises(handler.InvalidDataError, match=fault):
            score_locally(data, tmp_path, model=ShowsTypes(), column_types={"x1": kind})


def test_an_open_integer_beyond_64_bits_is_a_bad_row(tmp_path):
    """pandas makes text, Python's integers or floats of the column, by what else is in it and in which order."""
    data = b"x1\n9223372036854775807\n-9223372036854775808\n9223372036854775808\n"
    for stated in ({}, {"column_types": {"x1": "integer"}}):
        with pytest.raises(handler.InvalidDataError, match=r"row 3 .* is an integer beyond 64 bits: state the column's type"):
            score_locally(data, tmp_path, model=ShowsTypes(), **stated)
        facts, output = score_locally(data, tmp_path, model=ShowsTypes(), on_bad_row="quarantine", **stated)
        assert (facts.rejected_rows, output.splitlines()[1]) == (1, b"9223372036854775807,int:9223372036854775807")
    with pytest.raises(handler.InvalidDataError, match=r"row 2 .* beyond 64 bits"):
        score_locally(b"x1\n1.5\n-00009223372036854775809\n", tmp_path, model=ShowsTypes())
    _, output = score_locally(data + b"x\n", tmp_path, model=ShowsTypes())
    assert output.splitlines()[3] == b"9223372036854775808,str:9223372036854775808"


# --- what steps do to each other --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribute", ["estimator_", "estimators_", "categories_", "statistics_"])
def test_own_classes_have_no_opinion_whatever_their_attributes_are_called(attribute):
    own = ShowsTypes()
    setattr(own, attribute, [LinearRegression().fit([[1.0], [2.0]], [1.0, 2.0])])
    assert handler.expected_columns(own, ["x"])["x"].kind == handler.ANY


def test_a_step_that_changes_its_input_changes_no_other_rows_prediction(tmp_path):
    frame = pd.DataFrame({"x1": [1.0, 2.0, 3.0], "x2": [3.0, 5.0, 4.0]})
    model = make_pipeline(StandardScaler(copy=False), LinearRegression()).fit(frame.copy(), [10.0, 20.0, 30.0])
    data = b"x1,x2\n1,3\n2,\n3,4\n"
    _, output = score_locally(data, tmp_path, model=model, feature_columns=["x1", "x2"], on_bad_row="quarantine")
    predicted = last_fields(output)
    assert predicted[1] == ""
    np.testing.assert_allclose([float(predicted[0]), float(predicted[2])], model.predict(frame.iloc[[0, 2]].copy()))


@pytest.mark.parametrize("block_bytes", [4, 4_000_000])
def test_booleans_of_a_column_with_missing_values_are_objects_in_every_block(tmp_path, block_bytes):
    data = b"x1,y\nTrue,1\nFalse,2\n,3\nTrue,4\n"
    _, output = score_locally(data, tmp_path, block_bytes, ShowsDtype())
    assert {line.rpartition(",")[2] for line in output.decode().splitlines()[1:]} == {"object"}


class ShowsDtype(ShowsTypes):
    def predict(self, features):
        return np.array([str(features["x1"].dtype)] * len(features), object)


def test_a_row_stated_to_be_of_a_type_that_the_model_does_not_know_is_no_bug(tmp_path):
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(pd.DataFrame({"x1": ["x", "y"]}), [1.0, 2.0])
    with pytest.raises((handler.ModelError, handler.InvalidDataError)):
        score_locally(b"x1\n1\n2\n", tmp_path, model=model, column_types={"x1": "number"}, on_bad_row="quarantine")
