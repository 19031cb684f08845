"""Runs the prediction function's package, not its sources: unpacked, with Lambda's runtime and nothing else, on the local S3.

    python -m tools.smoke                        the package for this machine's processor, with byte-code and without
    python -m tools.smoke --rounds 5

AWS's own runtime client, awslambdaric, runs the handler in a process without site-packages. A model of each family scores a CSV
object in two chunks; outputs must be the input's bytes with the predictions behind them that the same model gives in Python. Cold
start is from the start of the process until it asks for its first event; the first invocation unpacks what the model needs.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd

from batch_predict.local.aws import LocalAws, local_aws
from batch_predict.setup import package, target, wheels
from batch_predict.setup.target import Interpreter, PackageError, Target
from tools import reference

if TYPE_CHECKING:
    from collections.abc import Sequence

HANDLER = "prediction_handler.lambda_handler"
PREDICTION_COLUMN = "prediction"
SECONDS = 120
"""What a start or an invocation may take."""
INHERITED_VARIABLES = ("LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""What an interpreter may need to start, and OpenBLAS to compute right, on some machines."""
MODELS = ("ridge", "columns", "histgb", "forest", "imputed", "passthrough", "words", "framed", "lightgbm", "xgboost")
"""The families of tools/smoke_models.py, which runs on the package's libraries and cannot be imported here."""
RELATIVE_TOLERANCE = {"histgb": 0.0, "forest": 0.0, "xgboost": 0.0}
LINEAR_TOLERANCE = 1e-12
"""Linear models move in the last bits with the size of a block; trees do not (docs/request.md)."""


class SmokeError(Exception):
    """The package does not do what the sources do."""


class Figures(NamedTuple):
    """One fresh process: milliseconds."""

    family: str
    byte_code: bool
    carried: str
    """Libraries that were unpacked for the model."""
    cold_start: float
    first: float
    """Invocation; unpacks, imports scikit-learn and loads the model."""
    second: float
    processor: float
    """Of the processor, until the first chunk is scored."""


class Answer(NamedTuple):
    """What the function made of an event."""

    result: Any
    milliseconds: float
    """From when its process got the event until the answer was here."""
    processor: float
    """Milliseconds of the processor that the process has taken since its start."""


class ColdStart(NamedTuple):
    """Processor time of a fresh process until its first event is answered, in milliseconds."""

    family: str
    probe: float
    """Loads the model, scores 1,000 rows and stores it as numbers."""
    pickled: float
    stored: float
    """By the model as numbers, which a probe in another process has stored."""


class Unpacked(NamedTuple):
    """A package as Lambda would have it, and an interpreter to run it."""

    task_root: Path
    runtime: Path
    carried: Path
    """The carried libraries, unpacked, for scripts that import them as if they were installed."""
    interpreter: Interpreter

    def environment(self, **more: str) -> dict[str, str]:
        """Return the environment variables of the function's process: all that it sees of this machine."""
        inherited = {name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ}
        # https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html
        libraries = [self.task_root, self.task_root / "lib", *filter(None, [inherited.get("LD_LIBRARY_PATH")])]
        return {
            **inherited,
            "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
            "PYTHONPATH": os.pathsep.join(map(str, [self.task_root, self.runtime])),
            "PYTHONDONTWRITEBYTECODE": "1",  # /var/task is read-only
            "LAMBDA_TASK_ROOT": str(self.task_root),
            "LANG": "C.UTF-8",
            "TZ": "UTC",
            **more,
        }

    def environment_with_carried(self, **more: str) -> dict[str, str]:
        """Return the same for a script that imports the carried libraries as if they were installed."""
        environment = self.environment(**more)
        return {**environment, "PYTHONPATH": os.pathsep.join([environment["PYTHONPATH"], str(self.carried)])}

    def command(self, *words: str) -> list[str]:
        """Return a command line without site-packages, the user's or the current folder."""
        return [self.interpreter.path, "-S", "-s", "-P", *words]


def smoke_target() -> tuple[Target, Interpreter]:
    """Return what this machine can run: the template's Python if there is one here, this one otherwise."""
    architecture = target.host_architecture()
    if architecture is None:
        raise PackageError("Lambda's libraries run on Linux alone, on x86_64 or arm64: nothing is smoke-run here")
    for python in (target.template_target().python, (sys.version_info.major, sys.version_info.minor)):
        if interpreter := target.find_interpreter(python):
            return Target(architecture, python), interpreter
    raise PackageError("this Python does not answer")  # it does


def unpack(path: Path, built_for: Target, interpreter: Interpreter, directory: Path) -> Unpacked:
    """Unpack a package's zip, and beside it what Lambda's runtime brings, and the carried libraries once more."""
    unpacked = Unpacked(directory / "task", directory / "runtime", directory / "carried", interpreter)
    with zipfile.ZipFile(path) as archive:
        archive.extractall(unpacked.task_root)
    for carried in (unpacked.task_root / "carried").glob("*.zip"):
        with zipfile.ZipFile(carried) as archive:
            archive.extractall(unpacked.carried)
    wheels.unpack(wheels.download(wheels.locked(wheels.RUNTIME, built_for.python), built_for), unpacked.runtime)
    package.compile_all(unpacked.runtime, interpreter)  # as Lambda's is
    return unpacked


def fit_models(unpacked: Unpacked, directory: Path) -> dict[str, Any]:
    """Fit the models with the package's own libraries, and return the CSV's records and the models' own predictions."""
    program = Path(__file__).with_name("smoke_models.py")
    command = unpacked.command(str(program), str(directory))
    environment = unpacked.environment_with_carried()
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SmokeError(f"the package cannot fit models:\n{done.stderr}")
    facts: dict[str, Any] = json.loads((directory / "facts.json").read_text())
    return facts


class RuntimeApi(HTTPServer):
    """What `awslambdaric` asks for events and gives answers to: one function process, one event after the other.

    https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
    """

    timeout = 0.05  # after which handle_request() returns without a request

    def __init__(self, events: Sequence[object]) -> None:
        super().__init__(("127.0.0.1", 0), _RuntimeApiRequest)
        self.events = [json.dumps(event).encode() for event in events]
        self.sent: list[float] = []
        """When each event that the process has asked for was sent."""
        self.answers: list[Answer] = []
        self.failure = ""
        """What the process said if its init or an event failed."""
        self.pid = 0


class _RuntimeApiRequest(BaseHTTPRequestHandler):
    server: RuntimeApi

    def do_GET(self) -> None:
        api = self.server
        event = api.events[len(api.sent)]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")  # without which the client crashes
        self.send_header("Content-Length", str(len(event)))
        self.send_header("Lambda-Runtime-Aws-Request-Id", str(len(api.sent)))
        self.send_header("Lambda-Runtime-Deadline-Ms", str(int((time.time() + SECONDS) * 1000)))
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:000000000000:function:smoke")
        self.end_headers()
        api.sent.append(time.perf_counter())
        self.wfile.write(event)

    def do_POST(self) -> None:
        milliseconds = (time.perf_counter() - max(self.server.sent, default=0)) * 1000
        told = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.endswith("/response"):
            ticks = sum(map(int, Path(f"/proc/{self.server.pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
            self.server.answers.append(Answer(told, milliseconds, ticks * 1000 / os.sysconf("SC_CLK_TCK")))
        else:
            self.server.failure = "\n".join([f"{told['errorType']}: {told['errorMessage']}", *told.get("stackTrace", [])])
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing: what matters reaches the caller."""


def invoked(unpacked: Unpacked, aws: LocalAws, directory: Path, *events: object) -> tuple[float, list[Answer]]:
    """Start the function, and hand it events; return its cold start in milliseconds, and its answers.

    The function logs into ``directory``, which is its ephemeral storage, too.
    """
    places = {
        name: f"s3://{aws.bucket}/{prefix}" for name, prefix in (("MODEL", "models/"), ("DATA", "data/"), ("OUTPUT", "output/"))
    }
    with RuntimeApi(events) as api, (directory / "function.log").open("w+") as log:
        environment = unpacked.environment(
            AWS_LAMBDA_RUNTIME_API=f"127.0.0.1:{api.server_port}",
            AWS_REGION=aws.region,
            **aws.environment(),
            TMPDIR=str(directory),
            **{f"{name}_S3_PREFIX": uri for name, uri in places.items()},
        )
        started = time.perf_counter()
        command = unpacked.command("-m", "awslambdaric", HANDLER)
        process = subprocess.Popen(command, cwd=unpacked.task_root, env=environment, stdout=log, stderr=log)
        api.pid = process.pid
        try:
            while len(api.answers) < len(events):
                api.handle_request()
                failure = api.failure or (process.poll() is not None and f"it ended with status {process.returncode}")
                if failure or time.perf_counter() - max([started, *api.sent]) > SECONDS:
                    log.seek(0)
                    doing = f"chunk {len(api.answers)}" if api.sent else "the function did not start"
                    raise SmokeError(f"{doing}: {failure or f'no answer within {SECONDS} s'}\n{log.read()}")
        finally:
            process.kill()
            process.wait()
    return (api.sent[0] - started) * 1000, api.answers


def run_family(
    unpacked: Unpacked, aws: LocalAws, facts: dict[str, Any], family: str, directory: Path
) -> tuple[str, float, float, float, float]:
    """Score both chunks in a fresh process with an empty /tmp, and check them.

    Returns the libraries that were unpacked, and milliseconds: cold start, first and second invocation; processor until the first.
    """
    records, rows = facts["records"], len(facts["records"]) - 1
    events = chunk_events(aws, facts, family, directory)
    with tempfile.TemporaryDirectory(dir=directory, prefix="tmp-") as temporary:
        cold_start, answers = invoked(unpacked, aws, Path(temporary), *events)
        carried = sorted(path.name.split("-")[1] for path in Path(temporary).glob("carried-*") if path.is_dir())
    output = ""
    for chunk, event in enumerate(events):
        receipt = json.loads(read(aws, event["receipt_s3_uri"]))
        statistics = receipt.pop("statistics")  # only in S3
        if answers[chunk].result != {"rows": rows // 2, **receipt} or not statistics["predictions"]:
            raise SmokeError(f"{family}, chunk {chunk}: {rows // 2} rows, answered {answers[chunk].result}, receipt {receipt}")
        part = read(aws, event["output_s3_uri"])
        output += part[receipt["header_bytes"] if chunk else 0 :].decode()  # each part has a header; the merge leaves them out
    check_output(output, records, facts["models"][family]["predictions"], RELATIVE_TOLERANCE.get(family, LINEAR_TOLERANCE))
    return ", ".join(carried), cold_start, answers[0].milliseconds, answers[1].milliseconds, answers[0].processor


def run_stored(unpacked: Unpacked, aws: LocalAws, facts: dict[str, Any], family: str, directory: Path) -> ColdStart | None:
    """Score both chunks by the model itself and by what a probe stores of it, each in a fresh process, and compare the parts.

    Returns the processor time of the probe and of both; None if the probe stores nothing.
    """
    events = chunk_events(aws, facts, family, directory)
    model_etag = aws.client("s3").head_object(Bucket=aws.bucket, Key=f"models/{family}.joblib")["ETag"]
    events = [event | {"model_etag": model_etag} for event in events]  # as the workflow's are
    columns = events[0]["output_s3_uri"].replace("chunk-00000.csv", "columns-1.json")
    probe = {name: value for name, value in events[0].items() if name not in ("byte_range", "chunk_index", "output_s3_uri")}
    parts = []
    with tempfile.TemporaryDirectory(dir=directory, prefix="tmp-") as temporary:
        _, (probed,) = invoked(unpacked, aws, Path(temporary), probe | {"probe_rows": 1000, "receipt_s3_uri": columns})
        stored = {name: probed.result[name] for name in ("stored_model_s3_uri", "stored_model_sha256")}
        if stored["stored_model_s3_uri"] is None:
            return None
        processor = [probed.processor]
        for fields in ({}, stored):
            _, answers = invoked(unpacked, aws, Path(temporary), *(event | fields for event in events))
            processor.append(answers[0].processor)
            parts.append([read(aws, event["output_s3_uri"]) for event in events])
        log = (Path(temporary) / "function.log").read_text()
    if parts[0] != parts[1] or "scored again" in log or "cannot be used" in log:
        raise SmokeError(f"{family} is scored otherwise by what the probe has stored:\n{log}")
    return ColdStart(family, *processor)


def read(aws: LocalAws, s3_uri: str) -> bytes:
    """Return what is at a URI."""
    key = s3_uri.removeprefix(f"s3://{aws.bucket}/")
    content: bytes = aws.client("s3").get_object(Bucket=aws.bucket, Key=key)["Body"].read()
    return content


def chunk_events(aws: LocalAws, facts: dict[str, Any], family: str, directory: Path) -> list[dict[str, Any]]:
    """Put data and model, and return the events of both chunks."""
    s3 = aws.client("s3")
    records, rows = facts["records"], len(facts["records"]) - 1
    content = "".join(f"{record}\n" for record in records).encode()
    cut = len("".join(f"{record}\n" for record in records[: rows // 2 + 1]).encode())
    s3.put_object(Bucket=aws.bucket, Key="data/smoke.csv", Body=content)
    s3.upload_file(str(directory / f"{family}.joblib"), aws.bucket, f"models/{family}.joblib")
    uri = f"s3://{aws.bucket}"
    keys = [f"output/smoke-{family}.csv.work/chunk-{chunk:05d}" for chunk in (0, 1)]
    return [
        {
            "model_s3_uri": f"{uri}/models/{family}.joblib",
            "data_s3_uri": f"{uri}/data/smoke.csv",
            "byte_range": byte_range,
            "chunk_index": chunk,
            "feature_columns": facts["models"][family]["features"],
            "prediction_column_name": PREDICTION_COLUMN,
            "output_s3_uri": f"{uri}/{keys[chunk]}.csv",
            "receipt_s3_uri": f"{uri}/{keys[chunk]}.json",
            "raise_errors": True,
        }
        for chunk, byte_range in enumerate(([0, cut], [cut, len(content)]))
    ]


def check_output(output: str, records: list[str], predictions: list[float] | list[str], tolerance: float) -> None:
    """Compare an output with the input's records and the model's own predictions. Raises SmokeError if they differ."""
    values = [row[-1] for row in csv.reader(io.StringIO(output, newline=""))]
    expected = "".join(f"{record},{value}\n" for record, value in zip(records, values, strict=False))
    if output != expected or len(values) != len(records):
        raise SmokeError("the output is not the input's records, each with a value behind it")
    for row, (value, told) in enumerate(zip(values, [PREDICTION_COLUMN, *predictions], strict=True)):
        if value != told and not (value and isinstance(told, float) and math.isclose(float(value), told, rel_tol=tolerance)):
            raise SmokeError(f"record {row} (0 is the header) ends in {value!r}, the model itself says {told!r}")


def table(figures: list[Figures]) -> str:
    """Return medians as a table."""
    medians = pd.DataFrame(figures).groupby(["family", "byte_code", "carried"], sort=False).median().reset_index()
    rows = [
        (family, "yes" if byte_code else "no", carried or "nothing", *(f"{milliseconds:.0f}" for milliseconds in medians_of_it))
        for family, byte_code, carried, *medians_of_it in medians.itertuples(index=False)
    ]
    head = ("model", "byte-code", "unpacked", "cold start ms", "first invocation ms", "second invocation ms", "processor ms")
    return reference.table(head, rows)


def stored_table(cold_starts: list[ColdStart]) -> str:
    """Return the least processor times as a table, which tell more than times on a busy machine."""
    least = pd.DataFrame(cold_starts).groupby("family", sort=False).min().reset_index()
    rows = [(family, *(f"{milliseconds:.0f}" for milliseconds in of_it)) for family, *of_it in least.itertuples(index=False)]
    return reference.table(("model", "the probe", "by the model itself", "by what is stored"), rows)


def cold_start_seconds(figures: list[Figures], cold_starts: list[ColdStart]) -> dict[str, float]:
    """Return the estimate's constants: processor seconds of a cold start, medians of the models, with byte-code."""
    model = pd.DataFrame(figures).query("byte_code").groupby("family")["processor"].median().median()
    stored = pd.DataFrame(cold_starts).groupby("family")[["probe", "stored"]].min().median()
    found = {"MODEL_PROCESSOR_SECONDS": model, "STORED_PROCESSOR_SECONDS": stored["stored"]}
    return {name: round(value / 1000, 1) for name, value in (found | {"PROBE_PROCESSOR_SECONDS": stored["probe"]}).items()}


def main() -> None:
    """Build the packages that this machine can run, run them, and print a table."""
    parser = argparse.ArgumentParser(prog="tools.smoke", description="Run the package, not the sources.")
    parser.add_argument("--rounds", type=int, default=1, help="fresh processes of each; the table has their medians")
    arguments = parser.parse_args()
    built_for, interpreter = smoke_target()
    figures, cold_starts = [], []
    for byte_code in (True, False):
        path = package.zip_predict(built_for, with_byte_code=byte_code)
        with local_aws() as aws, tempfile.TemporaryDirectory(prefix="batch-predict-smoke-") as name:
            unpacked = unpack(path, built_for, interpreter, Path(name))
            facts = fit_models(unpacked, Path(name))
            figures += [
                Figures(family, byte_code, *run_family(unpacked, aws, facts, family, Path(name)))
                for _ in range(arguments.rounds)
                for family in MODELS
            ]
            if byte_code:
                found = [run_stored(unpacked, aws, facts, family, Path(name)) for _ in range(arguments.rounds) for family in MODELS]
                cold_starts = [one for one in found if one]
    print(f"Python {interpreter.version}, {built_for.architecture}; every output was right")
    print(table(figures))
    print(stored_table(cold_starts))
    print("Of estimate.py:", ", ".join(f"{name} {seconds}" for name, seconds in cold_start_seconds(figures, cold_starts).items()))


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        try:
            main()
        except (PackageError, SmokeError) as error:
            sys.exit(f"error: {error}")
