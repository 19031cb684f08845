"""What a run has decided: chunks follow it, or refute it; without one, a chunk asks the whole of its object."""

import hashlib
import json

import numpy as np
import pandas as pd
import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, invoke, linear, make_event, score_locally
from own_code import Answers, ShowsTypes, centred, lower
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import prediction_handler as handler

DECISION, RECEIPT = f"s3://{BUCKET}/out/w.work/decision.json", f"s3://{BUCKET}/out/w.work/chunk-00001.json"


@pytest.fixture
def decide(put):
    """Store a decision, and return the event's fields that name it."""

    def decide(column_types, names=("prediction",), **more):
        body = json.dumps({"column_types": column_types, "prediction_columns": list(names), **more})
        put(DECISION, body)
        return {"decision_s3_uri": DECISION, "decision_sha256": hashlib.sha256(body.encode()).hexdigest()}

    return decide


def test_a_chunk_reads_its_columns_as_the_run_has_decided(put, get, decide):
    put(MODEL, ShowsTypes())
    put(DATA, "x1,pad\n007,0\n12,0\n")
    for kind, shown in (("text", "str:007"), ("integer", "int:7"), ("number", "float:7.0")):
        status, body = invoke(feature_columns=["x1"], receipt_s3_uri=RECEIPT, **(fields := decide({"x1": kind})))
        assert (status, get(OUTPUT).decode().splitlines()[1]) == (200, f"007,0,{shown}")
        assert body["decision_sha256"] == fields["decision_sha256"] == json.loads(get(RECEIPT))["decision_sha256"]


def test_a_value_that_does_not_fit_refutes_the_decision_and_says_what_the_columns_hold(put, get, decide):
    put(MODEL, ShowsTypes())
    put(DATA, "x1,x2,x3\n1,1,1\n2,,1\n,x,1\n")
    status, body = invoke(
        feature_columns=["x1", "x2", "x3"], receipt_s3_uri=RECEIPT, **decide(dict.fromkeys(("x1", "x2", "x3"), "integer"))
    )
    assert (status, body["error"]) == (400, "ColumnTypeError")
    assert "column 'x1' holds numbers, where the run has seen integers so far" in body["message"]
    assert json.loads(get(handler._types_uri(RECEIPT))) == {"x1": "number", "x2": "text"}


def test_what_the_model_determines_is_not_up_to_the_run(put, decide):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n3,zwei\n")
    status, body = invoke(**decide({}))
    assert (status, body["error"]) == (400, "InvalidDataError")


def test_a_chunk_of_bad_rows_alone_has_the_runs_columns(put, get, decide):
    train = pd.DataFrame({"x1": ["x", "y"]})
    put(MODEL, make_pipeline(OneHotEncoder(), LinearRegression()).fit(train, [[1.0, 2.0], [3.0, 4.0]]))
    put(DATA, "x1\nNEW\n")
    fields = {"feature_columns": ["x1"], "on_bad_row": "quarantine"}
    status, body = invoke(**fields, **decide({}, ["prediction_0", "prediction_1"]))
    assert (status, body["rejected_rows"], get(OUTPUT)) == (200, 1, b"x1,prediction_0,prediction_1\nNEW,,\n")
    alone = invoke(**fields)[1]
    assert (
        "none of 1 row(s) could be predicted, most often because of this: the model refuses this row: Found unknown"
        in alone["message"]
    )


def test_a_model_that_gives_other_outputs_than_the_run_has_seen_is_refused(put, decide):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(**decide({}, ["prediction_a", "prediction_b"]))
    assert (status, body["error"]) == (400, "ModelError")
    assert "gave the outputs" in body["message"]


def test_a_layout_is_the_whole_header(put, decide):
    put(DATA, "x1\n1\n2\n")
    layouts = set()
    for answer in (np.zeros(5), np.zeros((5, 2))):
        put(MODEL, Answers(answer))
        layouts.add(invoke(feature_columns=["x1"])[1]["layout_sha256"])
    assert len(layouts) == 2


@pytest.mark.parametrize("field", ["deployment", "model_sha256"])
def test_a_decision_of_another_deployment_or_model_is_refused(put, decide, field):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    fields = decide({}, **{field: "0" * 64})
    with pytest.raises(handler.InputChangedError, match="start the request again"):
        handler.lambda_handler(make_event(**fields, raise_errors=True), None)
    by_hand = invoke(**fields)[0]  # a chunk may be looked into by another deployment, but not with another model
    assert by_hand == (200 if field == "deployment" else 400)
    facts = invoke()[1]["model"]
    assert invoke(**decide({}, deployment=facts["deployment"], model_sha256=facts["sha256"]))[0] == 200


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("[", "InvalidRequestError"),
        ("[]", "InvalidRequestError"),
        ("[" * 100_000, "InvalidRequestError"),
        ('{"column_types": {"x1": "date"}, "prediction_columns": ["p"]}', "InvalidRequestError"),
        ('{"column_types": {}, "prediction_columns": []}', "InvalidRequestError"),
        ('{"column_types": {}, "prediction_columns": ["prediction"]}', None),
    ],
)
def test_what_is_no_decision_is_named(put, body, error):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    put(DECISION, body)
    assert invoke(decision_s3_uri=DECISION)[1].get("error") == error
    assert invoke(decision_s3_uri=DECISION, decision_sha256="0" * 64)[1]["error"] == "InputChangedError"


def test_a_run_must_have_decided_each_open_column(put, decide):
    put(MODEL, ShowsTypes())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(**decide({"x1": "integer"}))
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert "has not decided the type of 'x2'" in body["message"]


# --- without a run ----------------------------------------------------------------------------------------------------------------


def test_a_range_of_an_object_is_read_as_all_of_it_would_be(put, get):
    put(MODEL, ShowsTypes())
    data = "x1,pad\n007,0\n012,0\nA12,0\n"
    put(DATA, data)
    cut = data.index("A12")
    assert invoke(feature_columns=["x1"], byte_range=[0, cut])[0] == 200
    assert get(OUTPUT).decode().splitlines()[1:] == ["007,0,str:007", "012,0,str:012"]


def test_a_range_of_an_object_too_large_to_be_read_for_it_must_state_the_type(put, get, monkeypatch):
    monkeypatch.setattr(handler, "WHOLE_OBJECT_BYTES", 10)
    put(MODEL, ShowsTypes())
    data = "x1,pad\n007,0\n012,0\nA12,0\n"
    put(DATA, data)
    fields = {"feature_columns": ["x1"], "byte_range": [0, data.index("A12")]}
    status, body = invoke(**fields)
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert "the type of column 'x1' is open" in body["message"]
    assert "column_types" in body["message"]
    assert invoke(**fields, column_types={"x1": "text"})[0] == 200
    assert get(OUTPUT).decode().splitlines()[1:] == ["007,0,str:007", "012,0,str:012"]


# --- the probe --------------------------------------------------------------------------------------------------------------------


def test_the_probe_says_what_its_rows_make_of_open_columns(put, monkeypatch):
    put(MODEL, ShowsTypes())
    put(DATA, "x1,x2\n1,a\n2,b\nx,c\n")
    assert invoke(probe_rows=2)[1]["column_types"] == {"x1": "text", "x2": "text"}  # by all that was read
    monkeypatch.setattr(handler, "BLOCK_BYTES", 10)
    assert invoke(probe_rows=2)[1]["column_types"] == {"x1": "integer", "x2": "text"}
    assert invoke(probe_rows=3, column_types={"x1": "text"})[1]["column_types"] == {"x2": "text"}
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke(probe_rows=3)[1]["column_types"] == {}


@pytest.mark.parametrize("on_bad_row", ["fail", "quarantine"])
def test_a_probe_whose_rows_look_narrower_than_the_column_says_so(put, monkeypatch, on_bad_row):
    """Ten thousands of integers, and texts behind them: the model is fitted on what pandas makes of all."""
    train = pd.DataFrame({"x1": ["007", "a12"]})
    put(MODEL, make_pipeline(FunctionTransformer(lower), OneHotEncoder(), LinearRegression()).fit(train, [1.0, 2.0]))
    put(DATA, "x1,x2\n007,1\n012,2\nA12,3\n")
    monkeypatch.setattr(handler, "BLOCK_BYTES", 14)
    fields = {"feature_columns": ["x1"], "on_bad_row": on_bad_row, "probe_rows": 1}
    status, body = invoke(**fields)
    assert status == 400
    assert "As far as the probe has read, column 'x1' holds integers" in body["message"]
    assert "state it in column_types" in body["message"]
    assert invoke(**fields, column_types={"x1": "text"})[0] == 200


def test_the_probe_goes_on_where_it_could_predict_nothing(put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n" + "bad,1\n" * 30 + "1,2\n")
    status, body = invoke(probe_rows=10, on_bad_row="quarantine")
    assert (status, body["rows"], body["prediction_columns"]) == (200, 1, ["prediction"])
    put(DATA, "x1,x2\n" + "bad,1\n" * 30)
    status, body = invoke(probe_rows=10, on_bad_row="quarantine")
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert "none of 30 row(s) could be predicted, most often because of this: column 'x1': not a number" in body["message"]


def test_the_probe_goes_on_to_further_objects(put):
    put(MODEL, linear())
    uris = [f"{DATA}-{index}" for index in range(4)]
    for uri, body in zip(uris, ("x1,x2\nbad,1\n", "x1,x2\n", "x1,x2\nworse,1\n", "x1,x2\n1,2\n3,4\n"), strict=True):
        put(uri, body)
    fields = {"data_s3_uri": uris[0], "further_data": [{"data_s3_uri": uri} for uri in uris[1:]], "probe_rows": 10}
    status, body = invoke(**fields, on_bad_row="quarantine")
    assert (status, body["rows"]) == (200, 2)
    status, body = invoke(**fields)
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert f"{uris[0]} row 1" in body["message"]
    put(uris[0], "x1,x2\n")  # Validate Request cannot see that if it is compressed by Zstandard
    assert invoke(**fields)[1]["message"].startswith(f"{uris[2]} row 1")
    fields["further_data"] = fields["further_data"][:1]
    assert f"{uris[1]} has a header and no rows: name data" in invoke(**fields)[1]["message"]
    assert invoke(**fields, on_no_rows="succeed")[1]["rows"] == 0
    put(uris[0], "x1,x2\nbad,1\n")
    fields["further_data"] = [{"data_s3_uri": uri} for uri in uris[1:]]
    put(uris[3], "x1,x2\nbad,1\n")
    assert invoke(**fields, on_bad_row="quarantine")[1]["message"].startswith(f"{uris[0]}: none of 1 row(s)")
    assert "is allowed only with probe_rows" in invoke(further_data=[])[1]["message"]


def test_the_probe_goes_on_only_so_far(put, monkeypatch):
    monkeypatch.setattr(handler, "MORE_PROBE_ROWS", 20)
    put(MODEL, linear())
    put(DATA, "x1,x2\n" + "bad,1\n" * 30 + "1,2\n")
    assert "none of 20 row(s)" in invoke(probe_rows=10, on_bad_row="quarantine")[1]["message"]


def test_a_model_that_takes_no_row_is_to_blame_for_it(put):
    put(MODEL, Refuses())
    put(DATA, "x1,x2\n1,2\n3,4\n")
    status, body = invoke(probe_rows=10, on_bad_row="quarantine")
    assert (status, body["error"]) == (400, "ModelError")


class Refuses(FirstColumn):
    def predict(self, features):  # noqa: ARG002
        raise TypeError("not today")


def test_predictions_that_depend_on_their_neighbours_are_said_and_refused_if_strict(put):
    model = make_pipeline(FunctionTransformer(centred), LinearRegression()).fit(np.array([[0.0], [1.0], [5.0]]), [0.0, 1.0, 2.0])
    put(MODEL, model)
    put(DATA, "x1\n1\n2\n3\n10\n")
    status, body = invoke(probe_rows=10, feature_columns=["x1"])
    assert status == 200
    assert body["warnings"][0].startswith("predictions depend on which rows are predicted together: 4 of the first 4 rows")
    status, body = invoke(probe_rows=10, feature_columns=["x1"], strict=True)
    assert (status, body["error"]) == (400, "ModelError")
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n3,4\n")
    assert invoke(probe_rows=10)[1]["warnings"] == []


def test_more_names_than_an_answer_or_a_decision_holds_are_refused_by_name(put, monkeypatch):
    put(MODEL, Probabilities([f"class {number:05}" for number in range(1000)]))
    put(DATA, "x1,x2\n1,2\n")
    fields = {"probe_rows": 10, "prediction_method": "predict_proba"}
    assert len(invoke(**fields)[1]["prediction_columns"]) == 1000
    for limit, place, advice in (
        ("MAX_ANSWER_BYTES", {}, "give a receipt_s3_uri"),
        ("MAX_COLUMNS_BYTES", {"receipt_s3_uri": RECEIPT}, "shorten prediction_column_name"),
    ):
        monkeypatch.setattr(handler, limit, 20_000)
        status, body = invoke(**fields, **place)
        assert (status, body["error"]) == (400, "InvalidRequestError")
        assert "1000 prediction columns" in body["message"]
        assert advice in body["message"]


class Probabilities(FirstColumn):
    def __init__(self, classes):
        self.classes_ = classes

    def predict_proba(self, features):
        return np.zeros((len(features), len(self.classes_)))


def test_an_output_without_one_prediction_is_a_failure_and_a_share_of_one_is_not(put):
    put(MODEL, linear())
    put(DATA, "x1,x2\nbad,1\n")
    status, body = invoke(on_bad_row="quarantine")
    assert (status, body["error"]) == (400, "InvalidDataError")
    assert "none of 1 row(s)" in body["message"]
    assert invoke(on_bad_row="quarantine", chunk_index=3)[0] == 200


def test_own_events_may_not_lie_about_where_decisions_are(put, monkeypatch):
    monkeypatch.setenv("OUTPUT_S3_PREFIX", f"s3://{BUCKET}/out/")
    assert handler.lambda_handler(make_event(decision_s3_uri=f"s3://{BUCKET}/data/d.json"), None)["statusCode"] == 400


# --- names ------------------------------------------------------------------------------------------------------------------------


class Classes:
    def __init__(self, classes, **more):
        self.classes_ = classes
        self.__dict__.update(more)


@pytest.mark.parametrize(
    ("estimator", "method", "n_outputs", "names"),
    [
        (Classes(["a", "b"]), "predict", None, ["p"]),
        (Classes(["a", "b"]), "predict_proba", 2, ["p_a", "p_b"]),
        (Classes(np.array([0, 1, 2])), "decision_function", 3, ["p_0", "p_1", "p_2"]),
        (Classes(["a", "b", "c"], decision_function_shape="ovo"), "decision_function", 3, ["p_0", "p_1", "p_2"]),
        (Classes(["a", "b", "c"], decision_function_shape="ovr"), "decision_function", 3, ["p_a", "p_b", "p_c"]),
        (Classes(np.array([1, "1"], object)), "predict_proba", 2, ["p_0", "p_1"]),
        (
            Classes([np.array(["no", "yes"]), np.array(["a", "b", "c"])]),
            "predict_proba",
            5,
            ["p_0_no", "p_0_yes", "p_1_a", "p_1_b", "p_1_c"],
        ),
        (Classes([np.array(["no", "yes"]), np.array(["no", "yes"])]), "predict", 2, ["p_0", "p_1"]),
        (FirstColumn(), "predict", 3, ["p_0", "p_1", "p_2"]),
    ],
)
def test_names_are_distinct_and_true(estimator, method, n_outputs, names):
    assert handler._output_columns("p", estimator, method, n_outputs) == names


@pytest.mark.parametrize(
    ("answer", "printed"),
    [
        (np.array(["2020-01-01", "2020-01-01T00:00:05", "NaT"], "datetime64[ns]"), ["2020-01-01", "2020-01-01 00:00:05", "NaT"]),
        (np.ma.masked_array([0.5, 1.5], mask=[False, True]), ["0.5", "nan"]),
        (np.array([1.5, 2.5], ">f8"), ["1.5", "2.5"]),
        (np.array([1, 2], ">i8"), ["1", "2"]),
        (np.array([2**64 - 1, 1], np.uint64), ["18446744073709551615", "1"]),
        (np.asarray(pd.Series([True, None], dtype="boolean")), ["True", "<NA>"]),
        (np.array([1j, 2]), ["1j", "(2+0j)"]),
        (np.array([1.5, 2.5], np.longdouble), ["1.5", "2.5"]),
    ],
    ids=lambda value: str(getattr(value, "dtype", "")),
)
def test_what_can_be_printed_can_be_counted(tmp_path, answer, printed):
    data = b"x1\n" + b"1\n" * len(printed)
    facts, output = score_locally(data, tmp_path, model=Answers(answer))
    assert [line.partition(",")[2] for line in output.decode().splitlines()[1:]] == printed
    assert facts.statistics["predictions"]["p"]["rows"] == len(printed)


def test_what_nobody_can_count_is_counted_as_such(tmp_path, monkeypatch):
    def fail(_):
        raise TypeError

    monkeypatch.setattr(handler, "_are_numbers", fail)
    facts, _ = score_locally(b"x1\n1\n2\n", tmp_path, model=Answers(np.array([1.0, 2.0])))
    assert facts.statistics["predictions"]["p"] == {"kind": "class", "rows": 2, "missing": 0, "classes": {}, "other_classes": 2}
