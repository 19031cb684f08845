"""The process that scores with a bundle: what it answers, and what becomes of it when it dies, hangs, prints or grows."""

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from types import SimpleNamespace

import boto3
import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

import prediction_handler as handler
from support.bundles import make_bundle
from support.places import dumped

BUCKET = "bundle-processes"
DATA, OUTPUT, MODEL, PLAIN = (f"s3://{BUCKET}/{key}" for key in ("in.csv", "out.csv", "m.bundle.zip", "m.joblib"))
OWN = b"cown_steps\nModel\n)R."
"""A pickle of a model of somebody's own module."""
TRY_IT = "try the bundle where it was made, or raise PredictMemorySize; the function's log has what it wrote last"


@pytest.fixture(scope="module")
def s3(canary_aws):
    """S3 as the handler and the processes that it starts see it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in canary_aws.environment().items():
            patch.setenv(name, value)
        patch.setattr(boto3, "DEFAULT_SESSION", None)  # which keeps the credentials of other tests
        handler._s3_client.cache_clear()
        client = handler._s3_client()
        client.create_bucket(Bucket=BUCKET)
        client.put_object(Bucket=BUCKET, Key="in.csv", Body=b"x1,x2\n1,2\n3,4\n")
        yield client
        handler._s3_client.cache_clear()


@pytest.fixture
def temporary(tmp_path, monkeypatch):
    """A folder for temporary files, in which nothing is left at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(handler.tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr(handler, "_model_cache", type(handler._model_cache)())
    yield folder
    process = handler._child and handler._child._process
    handler._end_child()
    assert list(folder.iterdir()) == []
    assert process is None or process.returncode is not None


@pytest.fixture
def put(s3, tmp_path):
    """Put a bundle to S3: of a model that predicts by these lines of code, unless a model is given."""

    def put(predict="return [1.0] * len(features)", model=OWN, uri=MODEL, **options):
        body = textwrap.indent(textwrap.dedent(predict).strip(), " " * 8)
        code = f"import os\n\nclass Model:\n    def predict(self, features):\n{body}\n"
        document = make_bundle(tmp_path / "made.zip", model, code={"own_steps.py": code.encode()}, **options)
        s3.upload_file(str(tmp_path / "made.zip"), *handler.parse_s3_uri(uri))
        return document

    return put


@pytest.fixture
def invoke(s3, temporary):
    def invoke(context=None, **fields):
        event = {"model_s3_uri": MODEL, "data_s3_uri": DATA, "output_s3_uri": OUTPUT, "prediction_column_name": "p"}
        answer = handler.lambda_handler({**event, "feature_columns": ["x1", "x2"], **fields}, context)
        body = json.loads(answer["body"])
        return f"{body['error']}: {body['message']}" if "error" in body else body

    return invoke


@pytest.fixture
def predicted(invoke, s3):
    def predicted(**fields):
        receipt = invoke(**fields)
        assert "rows" in receipt, receipt
        lines = s3.get_object(Bucket=BUCKET, Key="out.csv")["Body"].read().decode().split()
        return [float(line.rpartition(",")[2]) for line in lines[1:]]

    return predicted


def test_a_bundle_scores_as_its_model_does(put, invoke, s3):
    """The same bytes and the same receipt, once cold and once warm; and the probe stores no model."""
    model = LinearRegression().fit([[1.0, 2.0], [3.0, 5.0], [0.0, 1.0]], [1.0, 2.0, 4.0])
    s3.put_object(Bucket=BUCKET, Key="m.joblib", Body=dumped(model))
    of_model, expected = invoke(model_s3_uri=PLAIN), s3.get_object(Bucket=BUCKET, Key="out.csv")["Body"].read()
    document = put(model=dumped(model))
    for is_cold in (True, False):
        of_bundle = invoke()
        assert s3.get_object(Bucket=BUCKET, Key="out.csv")["Body"].read() == expected
        assert set(of_bundle["milliseconds"]) - set(of_model["milliseconds"]) == ({"bundle"} if is_cold else set())
        differ = {name for name in of_model if of_model[name] != of_bundle[name]}
        assert differ <= {"model", "started", "milliseconds"}
    facts = of_bundle["model"]
    assert facts["bundle"] == document["digest"]
    assert facts["deployment"] != of_model["model"]["deployment"]
    assert facts["file_bytes"] == of_model["model"]["bytes"]
    assert {"estimator", "steps", "versions", "warnings"} <= {name for name in facts if facts[name] == of_model["model"].get(name)}
    probe = invoke(probe_rows=2, output_s3_uri=None, receipt_s3_uri=f"s3://{BUCKET}/columns.json")
    assert (probe["rows"], probe["stored_model_s3_uri"]) == (2, None)


def test_bundles_with_modules_of_one_name_score_in_turn(put, predicted):
    """Also one that replaces the object of another: its ETag is another one. None of their modules gets into this process."""
    other = MODEL.replace("m.b", "other.b")
    put("return [1.0] * len(features)")
    put("return [2.0] * len(features)", uri=other)
    assert predicted() == [1.0, 1.0]
    put("return [3.0] * len(features)")
    assert predicted() == [3.0, 3.0]
    assert predicted(model_s3_uri=other) == [2.0, 2.0]
    assert "own_steps" not in sys.modules


def test_what_it_prints_goes_to_the_log(put, predicted, capfd):
    put("print('printed'); os.write(1, b'written'); return [1.0] * len(features)")
    assert predicted() == [1.0, 1.0]
    out, err = capfd.readouterr()
    assert out == ""
    assert "printed" in err
    assert "written" in err


def test_one_that_is_killed_has_a_successor(put, predicted, tmp_path):
    marker = tmp_path / "killed"
    put(f"""
        if not os.path.exists({str(marker)!r}):
            open({str(marker)!r}, "w").close()
            os.kill(os.getpid(), 9)
        return [1.0] * len(features)
        """)
    assert predicted() == [1.0, 1.0]
    assert marker.exists()


def test_one_that_dies_between_two_events_is_replaced_silently(put, predicted):
    put()
    predicted()
    first = handler._child._process
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    assert predicted() == [1.0, 1.0]
    assert handler._child._process.pid != first.pid


WRITE_EVERYWHERE = """
    for file in range(3, 60):
        try:
            os.write(file, bytes([0, 0, 0, 2]) + b"[]")  # as multiprocessing's connections frame it
        except OSError:
            pass
    """


@pytest.mark.thorough  # tests/unit/predict/test_documented_messages.py has one of them
@pytest.mark.parametrize(
    ("predict", "how", "advice"),
    [
        (
            "os.kill(os.getpid(), 9)",
            "was ended by SIGKILL",
            "raise PredictMemorySize: it was probably killed because memory ran out",
        ),
        ("os._exit(3)", "ended itself with status 3", TRY_IT),
        ("import ctypes; ctypes.string_at(0)", "was ended by SIGSEGV", TRY_IT),
        ("os.abort()", "was ended by SIGABRT", TRY_IT),
        ("os.fork() and os._exit(4); import time; time.sleep(60)", "ended itself with status 4", TRY_IT),
        (WRITE_EVERYWHERE, "answered what is no answer", TRY_IT),
        ("os.closerange(3, 1000); import time; time.sleep(60)", "closed its connection to the function", TRY_IT),
    ],
)
def test_one_that_dies_twice_is_named(put, invoke, predict, how, advice):
    put(predict)
    assert invoke() == f"ModelError: {MODEL}: the process with its libraries {how}, twice: {advice}"
    put("return [1.0] * len(features)")
    assert invoke()["rows"] == 2


def test_one_that_hangs_is_killed_before_the_functions_time_is_over(put, invoke):
    put("import time; time.sleep(600)")
    started = time.monotonic()
    message = invoke(SimpleNamespace(get_remaining_time_in_millis=lambda: 8000))
    assert message == (
        f"ModelError: {MODEL}: the process with its libraries did not answer before the function's time was over: "
        "lower chunk_size_mb if the model is slow; if it hangs, try the bundle where it was made"
    )
    assert time.monotonic() - started < 7
    assert not handler._child.is_running()


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="as Lambda is")
def test_its_memory_is_what_the_function_has_left(put, invoke, monkeypatch):
    held = handler._memory_bytes()[0] // 2**20  # by this process, which has imported more than a function
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", f"{held + 700}")
    out_of_memory = "InvalidRequestError: the function ran out of memory: raise PredictMemorySize or lower chunk_size_mb"
    put("import numpy; numpy.ones(200_000_000); return [1.0] * len(features)")
    assert invoke() == out_of_memory
    assert not handler._child.is_running()  # a library may be there by half
    put("import numpy; numpy.ones(20_000_000); return [1.0] * len(features)")
    assert invoke()["rows"] == 2
    handler._end_child()
    monkeypatch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", f"{held + 120}")
    assert re.fullmatch(
        rf"InvalidRequestError: the function has {held + 120} MB, of which \d+ are left for a bundle's libraries and the data, "
        "less than 128: raise PredictMemorySize",
        invoke(),
    )


def test_errors_are_those_of_the_model_or_of_the_loader(put, invoke):
    put(model=dumped({"a": 1}))
    assert invoke() == f"ModelError: {MODEL} holds a dict, which has no predict method: dump the fitted estimator itself"
    put(model=b"cabsent_module\nModel\n)R.")
    assert invoke().startswith(f"ModelError: {MODEL} needs the Python module 'absent_module'")


LOADER = b"""
import json
from own_steps import Model

def load(path):
    document = json.load(open(path))
    if document == "raise":
        raise ValueError("no such booster")
    if document == "exit":
        raise SystemExit(1)
    return Model() if document == "good" else document
"""


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("good", None),
        ("raise", "cannot be loaded by its bundle_loader: ValueError: no such booster: make it again with batch-predict bundle"),
        pytest.param(
            "exit",
            "cannot be loaded by its bundle_loader: SystemExit: 1: make it again with batch-predict bundle",
            marks=pytest.mark.thorough,
        ),
        pytest.param(
            [1], "holds a list, which has no predict method: dump the fitted estimator itself", marks=pytest.mark.thorough
        ),
    ],
)
def test_a_loader_loads_what_joblib_does_not(s3, tmp_path, invoke, content, message):
    own = b"class Model:\n    def predict(self, features):\n        return [5.0] * len(features)\n"
    files = {"model.json": json.dumps(content).encode()}
    make_bundle(tmp_path / "made.zip", files, code={"bundle_loader.py": LOADER, "own_steps.py": own}, loader="bundle_loader")
    s3.upload_file(str(tmp_path / "made.zip"), *handler.parse_s3_uri(MODEL))
    answer = invoke()
    assert answer == f"ModelError: {MODEL} {message}" if message else answer["model"]["estimator"] == "Model"


def test_libraries_with_which_the_function_cannot_start_are_named(put, invoke):
    put(libraries={handler.bundle_platform(): {"orjson.py": b"raise ImportError('no\\nABI of /tmp/here')"}})
    assert invoke() == (
        f"ModelError: {MODEL} has libraries with which the function cannot start: ImportError: no ABI of …: "
        "make it again with batch-predict bundle"
    )


@pytest.mark.parametrize(
    "name", ["prediction_handler", *(pytest.param(name, marks=pytest.mark.thorough) for name in ("logging", "numpy"))]
)
def test_an_own_module_with_which_the_function_cannot_start_is_named(s3, tmp_path, invoke, name):
    make_bundle(tmp_path / "made.zip", OWN, code={f"{name}.py": b"", "own_steps.py": b""})
    s3.upload_file(str(tmp_path / "made.zip"), *handler.parse_s3_uri(MODEL))
    message = invoke()
    said = f"ModelError: {MODEL} has a module of its own called {name!r}, as one of the function's, which cannot start with it: "
    assert message.startswith(said)
    assert message.endswith(": give it another name, fit the model with that, and make the bundle again")


def test_an_error_of_the_process_keeps_its_name_and_its_advice(put, invoke):
    put()
    absent = DATA.replace("in.csv", "absent.csv")
    assert invoke(data_s3_uri=absent) == f"InputNotFoundError: {absent} does not exist (S3: NoSuchKey)"
    with pytest.raises(handler.InvalidRequestError) as caught:
        invoke(feature_columns=["x3"], raise_errors=True)
    assert handler.ADVICE_MARK in str(caught.value)


@pytest.mark.thorough
def test_a_local_run_knows_the_bundles_versions_for_the_packages(put, invoke, monkeypatch):
    package = {"modules": ["numpy"], "versions": {"numpy": "1.0"}}
    monkeypatch.setenv("DEPLOYED_PACKAGE", json.dumps(package))
    put()
    assert invoke()["model"]["warnings"] == [f"it was scored here with numpy {np.__version__}, and the deployed package has 1.0"]
    put(distributions=[{"name": "numpy", "version": np.__version__, "from": "function"}])
    assert invoke()["model"]["warnings"] == []


def test_other_versions_than_where_it_was_fitted_are_told(put, invoke):
    put(fitted_with={"numpy": "1.26.4", "joblib": "0.1"})
    told = f"it was fitted with numpy 1.26.4, and scored with {np.__version__}"
    assert invoke()["model"]["warnings"] == [told]
    assert invoke(strict=True) == f"ModelError: {MODEL} is refused, because the request is strict: {told}"


@pytest.mark.thorough
@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it ends with the event")
def test_it_ends_with_the_function_even_while_it_is_busy(put, temporary, tmp_path):
    busy = tmp_path / "busy"
    put(f"""
        with open({str(busy)!r}, "w") as file:
            file.write(str(os.getpid()))
        import time; time.sleep(600)
        """)
    event = {
        "model_s3_uri": MODEL,
        "data_s3_uri": DATA,
        "output_s3_uri": OUTPUT,
        "prediction_column_name": "p",
        "feature_columns": ["x1"],
    }
    script = f"import json, prediction_handler\nprediction_handler.lambda_handler(json.loads({json.dumps(event)!r}), None)"
    environment = {**os.environ, "PYTHONPATH": str(Path(handler.__file__).parent)}
    with subprocess.Popen([sys.executable, "-c", script], env=environment) as function:
        while not (busy.exists() and busy.read_text()):
            assert function.poll() is None
            time.sleep(0.05)
        function.kill()
    child = int(busy.read_text())
    deadline = time.monotonic() + 10
    while handler._is_running(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    is_left = handler._is_running(child)
    if is_left:
        os.kill(child, signal.SIGKILL)
    assert not is_left
    handler._remove_leftovers.cache_clear()
    handler._remove_leftovers()  # as the next function does
