"""Every message of the handler under "Troubleshooting" in docs/prediction_handler.md, provoked."""

import gzip
import io
import json
import pickle
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.base
from botocore.awsrequest import AWSResponse
from harness import linear
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import prediction_handler as handler
from support.bundles import PLATFORM, make_bundle
from support.places import dumped

PAGE = Path(__file__).parents[3] / "docs/prediction_handler.md"
MODEL, DATA = "s3://my-models/models/m.joblib", "s3://my-data/data/flights.csv"
COLUMNS = ["distance", "dep_delay"]
EVENT = {
    "model_s3_uri": MODEL,
    "data_s3_uri": DATA,
    "output_s3_uri": "s3://my-output/output/flights.csv",
    "prediction_column_name": "predicted_arr_delay",
    "feature_columns": COLUMNS,
}
PARQUET = DATA.replace(".csv", ".parquet")
OF_PARQUET = {"data_s3_uri": PARQUET, "output_s3_uri": EVENT["output_s3_uri"].replace(".csv", ".parquet")}
PREFIXES = {
    "MODEL_S3_PREFIX": "s3://my-models/models/",
    "DATA_S3_PREFIX": "s3://my-data/data/",
    "OUTPUT_S3_PREFIX": "s3://my-output",
}

BUNDLED = {"model_s3_uri": "s3://my-models/models/m.bundle.zip"}
HEADER = b"id,distance,dep_delay\n"
ROW = b"007,1400,2\n"
LINES = {"data_s3_uri": "s3://my-data/data/flights.jsonl", "output_s3_uri": "s3://my-output/output/flights.jsonl"}
QUOTED = HEADER + b'1,2,"3"\n4,5,"6"\n'
COMPRESSED = gzip.compress(HEADER + 3 * ROW)
WIDE_WINDOW = bytes.fromhex("28b52ffd 00 90")
"""How a Zstandard frame begins that needs 256 MiB."""


class Boosted:
    """Pickled as an object of a module that is not installed."""

    def __reduce__(self):
        return eval, ("__import__('catboost')",)


class World:
    """S3 with a model and data in it, and the ways in which that can go wrong."""

    def __init__(self, strict_s3, patch):
        self.s3, self.patch = strict_s3.client(), patch
        for name, value in PREFIXES.items():
            patch.setenv(name, value)
        patch.setattr(handler, "_s3_client", lambda: self.s3)
        handler._model_cache.clear()
        for bucket in ("my-models", "my-data", "my-output"):
            self.s3.create_bucket(Bucket=bucket)
        self.put(MODEL, linear(COLUMNS))
        self.put(DATA, HEADER + 3 * ROW)

    def put(self, uri, content):
        bucket, key = handler.parse_s3_uri(uri)
        self.s3.put_object(Bucket=bucket, Key=key, Body=dumped(content))

    def refuse(self, operation, code, status):
        """Make S3 answer a code to an operation, each time."""
        raw = SimpleNamespace(stream=lambda: iter([f"<Error><Code>{code}</Code></Error>".encode()]))
        self.s3.meta.events.register_first(
            f"before-send.s3.{operation}",
            lambda request, **_: AWSResponse(request.url, status, {"content-type": "application/xml"}, raw),
        )

    def put_model_of(self, version):
        """Have the model say that another scikit-learn fitted it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sklearn.base, "__version__", version)
            self.put(MODEL, linear(COLUMNS))

    def put_model_of_other_letters(self):
        rows = pd.DataFrame([[1400.0, 2.0], [0.0, 0.0]], columns=COLUMNS)
        self.put(MODEL, DecisionTreeClassifier().fit(rows, ["日", "本"]))

    def put_model_that_names_what_is_gone(self):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sklearn.base, "__version__", "1.2.2")
            self.put(MODEL, pickle.dumps(linear(COLUMNS))[:-1] + b"csklearn.tree\nGone\n.")

    def put_model_of_two_outputs(self, content):
        frame = pd.DataFrame([[1.0, 2.0], [3.0, 5.0]], columns=COLUMNS)
        self.put(MODEL, LinearRegression().fit(frame, [[1.0, 2.0], [2.0, 3.0]]))
        self.put(LINES["data_s3_uri"], content)

    def put_half_a_model(self):
        whole = pickle.dumps(linear(COLUMNS))
        self.put(MODEL, whole[: len(whole) // 2])

    def put_model_larger_than_memory(self):
        self.put(MODEL, b"x" * (2**20 + 1))
        self.patch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1")

    def put_bundle_under_another_name(self):
        bundle()(self)
        copied = self.s3.get_object(Bucket="my-models", Key="models/m.bundle.zip")["Body"].read()
        self.put(MODEL, copied)

    def put_bundle_that_does_not_fit(self):
        """Its zip does, but then there is as little room as before."""
        bundle(libraries={PLATFORM: {"zeros": bytes(100_000)}})(self)
        self.leave_free(50_000)

    def put_bundle_without_memory(self):
        bundle()(self)
        self.patch.setenv("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "10")

    def leave_free(self, n_bytes):
        self.patch.setattr(handler.shutil, "disk_usage", lambda _: SimpleNamespace(free=n_bytes))

    def plant_a_bug(self):
        self.patch.setattr(handler, "predict_chunk", lambda *_: {}["absent"])


def data(content):
    return lambda world: world.put(DATA, content)


def lines(content):
    return lambda world: world.put(LINES["data_s3_uri"], content)


def parquet(change=bytes, **columns):
    def put(world):
        written = io.BytesIO()
        pq.write_table(pa.table({"distance": [1.0, 2.0], "dep_delay": [1.0, 2.0], **columns}), written)
        world.put(PARQUET, change(written.getvalue()))

    return put


def model(estimator):
    return lambda world: world.put(MODEL, estimator)


def refusal(operation, code, status):
    return lambda world: world.refuse(operation, code, status)


def bundle(as_it_is=bytes, **options):
    """Put a bundle to S3; `as_it_is` gets its bytes."""

    def put(world):
        with tempfile.TemporaryDirectory() as folder:
            make_bundle(Path(folder, "made"), dumped(linear(COLUMNS)), **options)
            world.put(BUNDLED["model_s3_uri"], as_it_is(Path(folder, "made").read_bytes()))

    return put


def library(lines):
    """A bundle with a library in the place of one that the function itself imports."""
    return bundle(libraries={PLATFORM: {"orjson.py": lines}})


def with_entry(name):
    def change(document):
        document["files"][name] = {"sha256": "", "bytes": 0}

    return bundle(change=change, spoil=lambda entries: entries.append((name, b"")))


def nothing(world):
    pass


# What is done to the world, and the event's own fields.
CASES = [
    (nothing, {"prediction_column_name": None, "prediction_colum_name": "p"}),
    (nothing, {"data_s3_uri": "s3://my-data/private/flights.csv"}),
    (nothing, {"data_s3_uri": "s3://my-data/data/absent.csv"}),
    (nothing, {"model_s3_uri": "s3://my-models/models/absent.joblib"}),
    (refusal("HeadObject", "403", 403), {}),
    (refusal("HeadObject", "301", 301), {}),
    (refusal("PutObject", "AccessDenied", 403), {}),
    (refusal("GetObject", "SlowDown", 503), {}),
    (nothing, {"output_s3_uri": "s3://my-output-2/flights.csv"}),
    (nothing, {"data_etag": '"0123"'}),
    (nothing, {"feature_columns": ["distance", "air_time"]}),
    (model(LinearRegression().fit([[1.0, 2.0]], [1.0])), {"feature_columns": None}),
    (nothing, {"prediction_column_name": "dep_delay"}),
    (nothing, {"output_columns": ["ID"]}),
    (nothing, {"output_format": "jsonl"}),
    (lines(b'{"distance":1400,"dep_delay":2}'), {**LINES, "output_s3_uri": EVENT["output_s3_uri"]}),
    (parquet(id=[[1], [2]]), {**OF_PARQUET, "output_s3_uri": EVENT["output_s3_uri"], "output_columns": ["id"]}),
    (data(b""), {}),
    (data(HEADER), {}),
    (data(HEADER + b"007,1400,NONE\n"), {}),
    (data(HEADER + b"007,1400,\n" + ROW), {}),
    (data(HEADER + b"007,1400,9007199254740993\n"), {"strict": True}),
    (data(HEADER + b"007,1400\n"), {}),
    (nothing, {"byte_range": [0, len(HEADER) + 4]}),
    (data(HEADER + b'007,1400,"2\n' + ROW), {}),
    (data(HEADER + b'007,14"00",2\n'), {}),
    (data(HEADER.replace(b"\n", b"\r\n") + ROW), {}),
    (data(HEADER + ROW + "Zürich,1,1\n".encode("latin-1")), {}),
    (data(b"id,distance,dep_delay,distance\n1,2,3,4\n"), {}),
    (data(COMPRESSED[:-1]), {}),
    (data(COMPRESSED + b"something else"), {}),
    (data(WIDE_WINDOW), {}),
    (data(COMPRESSED), {"byte_range": [9, 40]}),
    (parquet(lambda content: content[:-1]), OF_PARQUET),
    (parquet(lambda content: content[:-4] + b"PARE"), OF_PARQUET),
    (parquet(lambda content: content[:-60] + b"\xff" * 52 + content[-8:]), OF_PARQUET),
    (parquet(lambda content: content[:4] + b"\xff" * 60 + content[64:]), OF_PARQUET),
    (parquet(dep_delay=[1.0, None]), OF_PARQUET),
    (parquet(dep_delay=[[1.0], [2.0]]), OF_PARQUET),
    (parquet(), {**OF_PARQUET, "row_groups": [0, 2]}),
    (data(b"id;distance;dep_delay\n1;2;3\n"), {}),
    (data(b"1,2,3.5\n4,5,6\n"), {}),
    (data(b"id;distance;dep_delay\n1;2;3,5\n"), {"csv": {"delimiter": ";"}}),
    (data(b"a\\|b|1400|2\n"), {"csv": {"delimiter": "|", "header": False, "column_names": ["id", *COLUMNS]}}),
    (lambda world: world.put_model_of_other_letters(), {"csv": {"encoding": "cp1252"}}),
    (data(QUOTED), {"byte_range": [0, QUOTED.index(b"3")]}),
    (lines(b'{"distance":1400,"dep_delay":2'), {**LINES, "column_types": dict.fromkeys(COLUMNS, "number")}),
    (lines(b"null\n"), {**LINES, "column_types": dict.fromkeys(COLUMNS, "number")}),
    (lines(b'{"distance":1,"dep_delay":2,"distance":1}'), LINES),
    (lines(b'{"distance":{"miles":1},"dep_delay":2}'), LINES),
    (lines(rb'{"distance":"\ud83d","dep_delay":2}'), LINES),
    (lines(b'[{"distance":1400,"dep_delay":2}]'), LINES),
    (lines(b""), LINES),
    (lines(b'{"distance":1400}'), LINES),
    (lambda world: world.put_model_of_two_outputs(rb'{"distance":1,"dep_delay":2,"predicted\u005farr_delay_0":1}'), LINES),
    (model(Boosted()), {}),
    (model(b"c__main__\nclean\n."), {}),
    (lambda world: world.put_model_that_names_what_is_gone(), {}),
    (model((Path(__file__).parent / "by_value/python3.8.pickle").read_bytes()), {}),
    (lambda world: world.put_half_a_model(), {}),
    (model(pickle.dumps(np.dtype("O")).replace(b"K?t", b"K>t")), {}),  # other flags
    (model(b'{"learner": {}}'), {}),
    (model(b"\x80not a model"), {}),
    (model({"model": linear(COLUMNS)}), {}),
    (model(linear(["dep_delay", "distance"])), {}),
    (nothing, {"prediction_method": "predict_proba"}),
    (nothing, {"predictions": ["label", "probability"]}),
    (model(LogisticRegression().fit([[1.0, 2.0], [3.0, 4.0]], ["no", "yes"])), {"predictions": [{"threshold": {"yess": 0.3}}]}),
    (nothing, {"predictions": ["label"], "prediction_method": "predict_proba"}),
    (nothing, {"model_sha256": "0" * 64}),
    (lambda world: world.put_model_of("1.5.0"), {"strict": True}),
    (lambda world: world.put_bundle_under_another_name(), {}),
    (lambda world: world.put(BUNDLED["model_s3_uri"], b"\x80\x04N."), BUNDLED),
    (bundle(lambda content: content[:-9]), BUNDLED),
    (bundle(spoil=lambda entries: entries.pop()), BUNDLED),
    (with_entry("../out.py"), BUNDLED),
    (bundle(change=lambda document: document.pop("python")), BUNDLED),
    (bundle(change=lambda document: document["model"].update(path="model/other")), BUNDLED),
    (bundle(change=lambda document: document.update(format=2)), BUNDLED),
    (bundle(libraries={"linux-riscv64-py399": {}}), BUNDLED),
    (bundle(distributions=[{"name": "numpy", "version": "0.0.1", "from": "function"}]), BUNDLED),
    (lambda world: world.put_bundle_that_does_not_fit(), BUNDLED),
    (library(b"raise ImportError"), BUNDLED),
    (bundle(code={"logging.py": b""}), BUNDLED),
    (lambda world: world.put_bundle_without_memory(), BUNDLED),
    (library(b"import os; os.kill(os.getpid(), 9)"), BUNDLED),
    (lambda world: world.put_model_larger_than_memory(), {}),
    (lambda world: world.leave_free(100), {"byte_range": [0, len(HEADER + 3 * ROW)]}),
    (lambda world: world.leave_free(500), {"byte_range": [0, len(HEADER + 3 * ROW)]}),
    (lambda world: world.plant_a_bug(), {}),
]


@pytest.fixture
def messages(strict_s3):
    """What the handler answers in each case, as the page writes it: the error, a colon, the message. It writes nothing then."""
    messages = []
    for change, fields in CASES:
        with pytest.MonkeyPatch.context() as patch:
            world = World(strict_s3, patch)
            change(world)
            answer = handler.lambda_handler({**EVENT, **fields}, None)
            body = json.loads(answer["body"])
            assert "error" in body, (fields, body)
            assert answer["statusCode"] == (500 if body["error"] in ("TransientS3Error", "InternalError") else 400)
            if "cannot write" not in body["message"]:  # moto has written what is answered with a refusal
                assert world.s3.list_objects_v2(Bucket="my-output")["KeyCount"] == 0
            else:
                world.s3.delete_object(Bucket="my-output", Key="output/flights.csv")
            messages.append(f"{body['error']}: {body['message']}")
            handler._end_child()
    handler._model_cache.clear()
    return messages


def section():
    return PAGE.read_text().split("\n## Troubleshooting\n")[1].split("\n## ")[0]


def test_the_messages_are_the_handlers(messages):
    documented = re.findall(r"^\| `(\w+Error: .*?)` \|", section(), re.MULTILINE)
    patterns = {message: ".*".join(map(re.escape, message.split("…"))) for message in documented}
    assert [message for message in messages if not any(re.fullmatch(pattern, message) for pattern in patterns.values())] == []
    never = [text for text, pattern in patterns.items() if not any(re.fullmatch(pattern, message) for message in messages)]
    assert never == []
    assert len(documented) > 30


def test_a_package_without_its_libraries_says_so():
    """By AWS's own runtime client."""
    script = """
import sys
from awslambdaric import bootstrap
class NoNumpy:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "numpy":
            raise ModuleNotFoundError("No module named 'numpy'", name="numpy")
sys.meta_path.insert(0, NoNumpy())
sys.path.insert(0, sys.argv[1])
try:
    bootstrap._get_handler("prediction_handler.lambda_handler")
except bootstrap.FaultException as fault:
    print(fault.msg)
"""
    command = [sys.executable, "-c", script, Path(handler.__file__).parent]
    message = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    assert message
    assert f"| `{message}` |" in section()
