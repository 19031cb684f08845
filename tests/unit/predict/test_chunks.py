"""Byte ranges, receipts, the probe, the model cache and what the environment may lack."""

import subprocess
import sys
import threading
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import pytest
from harness import BUCKET, DATA, MODEL, frame, invoke, linear, make_event, mixed_pipeline
from sklearn.linear_model import Ridge

import prediction_handler as handler


def test_a_range_beyond_the_object_is_named(s3, put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    status, body = invoke(byte_range=[0, 50])
    assert (status, body["error"]) == (400, "InputChangedError")


@pytest.mark.parametrize("knows_etag", [True, False])
def test_a_range_is_downloaded_while_its_header_is_read_if_both_are_of_one_object(s3, put, knows_etag):
    put(MODEL, linear())
    etag = put(DATA, content := "x1,x2\n" + "1,2\n" * 20)
    asked, both = [], threading.Event()

    def ask(params, **_):
        if DATA.endswith(params["Key"]):
            asked.append(params.get("IfMatch"))
            if len(asked) == 2:
                both.set()
            elif knows_etag and not both.wait(30):
                pytest.fail("one after the other")

    s3.meta.events.register("before-parameter-build.s3.GetObject", ask)
    status, body = invoke(byte_range=[10, len(content)], **({"data_etag": etag} if knows_etag else {}))
    assert (status, body["rows"]) == (200, 19)
    assert asked == ([etag, etag] if knows_etag else [None, etag])
    assert both.is_set()


@pytest.mark.parametrize("probe_rows", [1, 3, 1000])
def test_the_probe_scores_the_first_rows_and_writes_nothing(s3, put, probe_rows, monkeypatch):
    put(MODEL, linear())
    put(DATA, "x1,x2\n" + "1,2\n" * 20)
    monkeypatch.setattr(handler, "BLOCK_BYTES", 50)
    event = make_event(probe_rows=probe_rows, raise_errors=True)
    del event["output_s3_uri"]
    result = handler.lambda_handler(event, None)
    assert result["rows"] == min(probe_rows, 11)
    assert result["prediction_columns"] == ["prediction"]
    assert result["model"]["estimator"] == "LinearRegression"
    assert len(result["model"]["sha256"]) == 64
    assert s3.list_objects_v2(Bucket=BUCKET, Prefix="out/")["KeyCount"] == 0


class SlowAtFirst:
    """A model whose first call loads libraries, on a clock of its own."""

    now, calls = 0.0, 0

    def predict(self, features):
        SlowAtFirst.now += 1e-5 * len(features) if SlowAtFirst.calls else 0.1
        SlowAtFirst.calls += 1
        return np.zeros(len(features))


@pytest.mark.parametrize(
    ("rows", "rows_per_second"),
    [("1,2\n" * 2001, 10**5), ("1,2\n" * 2000 + "3,bad\n", 10**4), ("1,2\n" * 1000, 10**5)],
    ids=["a block", "a later row is bad", "no more rows"],
)
def test_the_probe_times_a_warm_model_unless_a_later_row_is_bad(put, monkeypatch, rows, rows_per_second):
    monkeypatch.setattr(SlowAtFirst, "calls", 0)
    monkeypatch.setattr(handler.time, "perf_counter", lambda: SlowAtFirst.now)
    put(MODEL, SlowAtFirst())
    put(DATA, f"x1,x2\n{rows}")
    status, body = invoke(probe_rows=1000, column_types={"x1": "number", "x2": "number"})
    assert (status, body["rows"]) == (200, 1000)
    assert body["rows_per_second"] == pytest.approx(rows_per_second)


@pytest.mark.parametrize(
    ("memory_mb", "package", "computes", "rows_per_second"),
    [
        ("884", "{}", False, 1e5 * 1769 / 884),
        ("3538", "{}", False, 1e5),
        ("884", '{"python": "3.13"}', False, 1e5),
        ("884", "{}", True, 1e5),
    ],
    ids=["half a vCPU", "two vCPUs", "the local AWS, whose memory buys nothing", "half a vCPU, but all of one for so short a time"],
)
def test_the_probe_tells_the_speed_of_a_whole_vcpu(put, monkeypatch, memory_mb, package, computes, rows_per_second):
    monkeypatch.setattr(handler.time, "process_time", lambda: SlowAtFirst.now if computes else 0)
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", memory_mb)
    monkeypatch.setenv("DEPLOYED_PACKAGE", package)
    monkeypatch.setattr(SlowAtFirst, "calls", 1)
    monkeypatch.setattr(handler.time, "perf_counter", lambda: SlowAtFirst.now)
    put(MODEL, SlowAtFirst())
    put(DATA, "x1,x2\n" + "1,2\n" * 2000)
    body = invoke(probe_rows=1000, column_types={"x1": "number", "x2": "number"})[1]
    assert body["rows_per_second"] == pytest.approx(rows_per_second, rel=1e-4)
    assert body["one_worker"] is True  # a class of its own


def test_the_probe_tells_that_any_number_of_workers_scores_a_model(put):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke(probe_rows=5)[1]["one_worker"] is False


def test_models_are_dropped_by_count_and_by_bytes(s3, put, monkeypatch):
    put(DATA, "x1,x2\n1,2\n")
    uris = [f"s3://{BUCKET}/models/{number}.joblib" for number in range(6)]
    for uri in uris:
        put(uri, linear())
        assert invoke(model_s3_uri=uri)[0] == 200
    assert [place[0] for place in handler._model_cache] == uris[-handler.MODEL_CACHE_SIZE :]
    monkeypatch.setattr(handler, "MODEL_CACHE_BYTES", 1)
    invoke(model_s3_uri=uris[0])
    assert [place[0] for place in handler._model_cache] == [uris[0]]


def test_plain_numbers_are_scored_without_pandas_and_all_else_says_that_it_is_needed(tmp_path):
    """In a process of its own, where importing pandas fails, as where somebody has left it out."""
    data = frame()
    fitted = {"linear": (["a", "c"], Ridge()), "mixed": (["a", "b", "c", "count", "city"], mixed_pipeline(Ridge()))}
    data.to_csv(tmp_path / "in.csv", index=False)
    for name, (columns, estimator) in fitted.items():
        joblib.dump(estimator.fit(data[columns], data["a"]), tmp_path / f"{name}.joblib")
    columns_by_name = {name: columns for name, (columns, _) in fitted.items()}
    script = f"""
import sys, warnings
class NoPandas:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pandas":
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, NoPandas())
warnings.simplefilter("error")
sys.path.insert(0, {str(Path(handler.__file__).parent)!r})
from pathlib import Path
import prediction_handler as handler
folder = Path({str(tmp_path)!r})
for name, columns in {columns_by_name!r}.items():
    model = handler.load_model(folder / f"{{name}}.joblib")
    try:
        handler.score_file(folder / "in.csv", folder / f"{{name}}.csv", model, feature_columns=columns, prediction_column_name="p")
    except handler.ModelError as error:
        print(name, error)
assert "pandas" not in sys.modules
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    assert done.stdout.startswith("mixed the model needs its features as a DataFrame, and this function has no pandas")
    columns, estimator = fitted["linear"]
    np.testing.assert_allclose(pd.read_csv(tmp_path / "linear.csv")["p"], estimator.predict(data[columns]), rtol=1e-12)
