"""The command `batch-predict`: the whole workflow on the embedded local AWS, with local files."""

import csv
import json
import math
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from batch_predict import flights
from batch_predict.check_model import check_model as model_check
from batch_predict.local_aws import LocalAws, LocalAwsError, local_aws
from batch_predict.local_run import InvalidRequestError, LocalRun, LocalRunError, RunResult, execute, prepare, upload
from batch_predict.screen import (
    Screen,
    first_rows_table,
    megabytes,
    plural,
    print_failure,
    print_model_check,
    print_result,
    screen,
    text_console,
)
from batch_predict.workflow_contract import request_schema

DEMO_CHUNKS = 9  # enough to see them run side by side, each large enough to be worth its start
DEMO_ROWS_SHOWN = 5

RUN_EXAMPLE = """\
Example, with the files that `batch-predict demo` leaves:

\b
  batch-predict run --model .demo/arrival_delay.joblib \\
    --data .demo/flights.csv \\
    --features month,dep_time,dep_delay,distance,carrier,origin,dest \\
    --prediction predicted_arr_delay --output predictions.csv --overwrite
"""
SERVE_EXAMPLE = """\
Example:

\b
  batch-predict serve --json
"""
DEMO_EXAMPLE = """\
Example, with fewer rows:

\b
  batch-predict demo --rows 20000
"""

CHECK_MODEL_EXAMPLE = """\
Example, with the files that `batch-predict demo` leaves:

\b
  batch-predict check-model .demo/arrival_delay.joblib \\
    --data .demo/flights.csv
"""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # keeps the line breaks of the examples
    pretty_exceptions_enable=False,
    epilog=DEMO_EXAMPLE,
)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a … still shows the rest
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"batch-predict {version('batch-predict')}")
        raise typer.Exit


@app.callback()
def batch_predict(
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, help="Show the version and exit.")] = False,
) -> None:
    """Score every row of your CSV data with a fitted scikit-learn model, by AWS Step Functions, on this machine."""


# --- run ------------------------------------------------------------------------------------------------------------------------


class _CommandWithDataFiles(TyperCommand):
    """Lets `--data` take several paths, as a shell's `--data 2013/*.csv` gives them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        expanded: list[str] = []
        is_data = False
        for arg in args:
            if arg.startswith("-"):
                is_data = arg == "--data" or arg.startswith("--data=")
            elif is_data and expanded[-1] != "--data":
                expanded.append("--data")
            expanded.append(arg)
        return super().parse_args(ctx, expanded)


def _request_option(field: str, option: str, help_text: str | None = None, **settings: Any) -> Any:
    """Return an option for a field of the request: its help and its default are the request schema's."""
    schema = request_schema()["properties"][field]
    default = schema.get("default")
    shown = "" if help_text or default is None or default is False else f" [default: {default}]"
    if "enum" in schema:
        settings["metavar"] = "|".join(schema["enum"])
    return typer.Option(option, help=f"{help_text or schema['description']}{shown}", show_default=False, **settings)


@app.command(cls=_CommandWithDataFiles, epilog=RUN_EXAMPLE)
def run(
    model: Annotated[
        str | None, _request_option("model_s3_uri", "--model", "The fitted model, as `joblib.dump` writes it.", metavar="FILE")
    ] = None,
    data: Annotated[
        list[str] | None,
        _request_option(
            "data_s3_uri",
            "--data",
            "CSV files in the order of the output; of a directory, all *.csv in natural order.",
            metavar="PATH...",
        ),
    ] = None,
    features: Annotated[
        str | None,
        _request_option(
            "feature_columns",
            "--features",
            "Columns given to the model, in this order, separated by commas; quoted as in CSV where a name holds one.",
            metavar="A,B,C",
        ),
    ] = None,
    prediction: Annotated[str | None, _request_option("prediction_column_name", "--prediction", metavar="NAME")] = None,
    output: Annotated[
        str | None,
        _request_option(
            "output_s3_uri", "--output", "The one CSV of all rows; its report goes beside it, as FILE.report.json.", metavar="FILE"
        ),
    ] = None,
    chunk_size_mb: Annotated[float | None, _request_option("chunk_size_mb", "--chunk-size-mb", metavar="MB")] = None,
    max_concurrency: Annotated[
        int | None,
        _request_option(
            "max_concurrency",
            "--max-concurrency",
            "Chunks in flight at once on AWS; the local AWS runs one on each core.",
            metavar="N",
        ),
    ] = None,
    tolerated_failure_percentage: Annotated[
        float | None, _request_option("tolerated_failure_percentage", "--tolerated-failure-percentage", metavar="PERCENT")
    ] = None,
    on_bad_row: Annotated[str | None, _request_option("on_bad_row", "--on-bad-row")] = None,
    prediction_method: Annotated[str | None, _request_option("prediction_method", "--prediction-method")] = None,
    model_sha256: Annotated[str | None, _request_option("model_sha256", "--model-sha256", metavar="HEX")] = None,
    strict: Annotated[bool, _request_option("strict", "--strict")] = False,
    overwrite: Annotated[bool, _request_option("overwrite", "--overwrite")] = False,
    dry_run: Annotated[
        bool, _request_option("dry_run", "--dry-run", "Stop after planning: check everything, count the chunks, score nothing.")
    ] = False,
    request: Annotated[
        Path | None,
        typer.Option(help="A whole request as JSON, in place of the options above, with local paths as S3 URIs.", metavar="FILE"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Score local CSV files with a local model.

    Runs the whole workflow, the very state machine and functions that go to AWS, on an embedded local AWS.
    Exits 0 when the output is there, and 1 when the run failed or could not start.
    """
    options = {
        "model_s3_uri": model,
        "data_s3_uri": data or None,
        "output_s3_uri": output,
        "prediction_column_name": prediction,
        "feature_columns": features,
        "chunk_size_mb": chunk_size_mb,
        "max_concurrency": max_concurrency,
        "tolerated_failure_percentage": tolerated_failure_percentage,
        "on_bad_row": on_bad_row,
        "prediction_method": prediction_method,
        "model_sha256": model_sha256,
        "strict": strict or None,
        "overwrite": overwrite or None,
        "dry_run": dry_run or None,
    }
    with _ending(as_json=as_json):
        local_run = prepare(_request_of(options, request))
        with screen() as shown:
            result = _run_here(local_run, shown)
        _conclude(shown, result, as_json=as_json)


def _request_of(options: dict[str, Any], file: Path | None) -> dict[str, Any]:
    """Return the request that the options, or the file, say; InvalidRequestError where they say none."""
    given = {field: value for field, value in options.items() if value is not None}
    if file:
        if given:
            raise InvalidRequestError(f"--request is the whole request: leave out {', '.join(map(_option_of, given))}")
        return _read_request(file)
    if missing := [_option_of(field) for field in request_schema()["required"] if field not in given]:
        raise InvalidRequestError(f"missing {', '.join(missing)}")
    given["feature_columns"] = _split_columns(given["feature_columns"])
    return given


def _option_of(field: str) -> str:
    short = {"prediction_column_name": "prediction", "feature_columns": "features"}
    return f"--{short.get(field, field.removesuffix('_s3_uri')).replace('_', '-')}"


def _read_request(file: Path) -> dict[str, Any]:
    try:
        request = json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidRequestError(f"request {file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # also where it is no text
        raise InvalidRequestError(f"request {file} is not JSON: {error}") from error
    if not isinstance(request, dict):
        raise InvalidRequestError(f"request {file} must be one JSON object")
    return request


def _split_columns(text: str) -> list[str]:
    try:
        rows = list(csv.reader([text], skipinitialspace=True, strict=True))
    except csv.Error as error:
        raise InvalidRequestError(f"--features {text} cannot be read as names separated by commas: {error}") from error
    columns = [name.strip() for row in rows for name in row]
    if not all(columns):
        raise InvalidRequestError(f"--features {text!r} has an empty name: separate names by single commas")
    return columns


def _run_here(local_run: LocalRun, shown: Screen) -> RunResult:
    """Run on a local AWS that lives as long as the run."""
    with ExitStack() as stack:
        with shown.step("Local AWS", "starting") as conclude:
            aws = stack.enter_context(local_aws())
            conclude(aws.endpoint_url)
        size = f"{plural(len(local_run.uploads), 'file')}, {megabytes(local_run.upload_bytes)}"
        with shown.step("Upload", size):
            upload(aws, local_run)
        return execute(aws, local_run, shown.show)


def _conclude(shown: Screen, result: RunResult, *, as_json: bool) -> None:
    """Print the result where it belongs, and exit by its status."""
    if as_json:
        typer.echo(json.dumps(asdict(result), default=str))
    if result.status != "SUCCEEDED":
        print_failure(shown, result)
        raise typer.Exit(1)
    if not as_json:
        print_result(text_console(sys.stdout), shown.rows, result)


@contextmanager
def _ending(*, as_json: bool = False) -> Iterator[None]:
    """Turn what the user can change into one sentence, and Ctrl-C and SIGTERM into a clean end; nothing is left behind."""

    def fail(status: str, error: str, cause: str) -> None:
        typer.echo(f"Error: {cause}", err=True)
        if as_json:
            typer.echo(json.dumps(asdict(RunResult(status, error=error, cause=cause)), default=str))

    with _stop_signals() as received:
        try:
            yield
        except (LocalRunError, LocalAwsError) as error:
            fail("FAILED", type(error).__name__, str(error))
            raise typer.Exit(1) from error
        except KeyboardInterrupt as error:
            number = received[0] if received else signal.SIGINT
            fail("ABORTED", "Interrupted", f"stopped by {number.name}")
            raise typer.Exit(128 + number) from error


@contextmanager
def _stop_signals() -> Iterator[list[signal.Signals]]:
    """Raise KeyboardInterrupt at the first SIGINT or SIGTERM, and note which it was; further ones do not disturb the clean-up."""
    received: list[signal.Signals] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        if not received:
            received.append(signal.Signals(number))
            raise KeyboardInterrupt

    # Also where SIGINT was ignored, as a shell does for its background processes.
    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- check-model ------------------------------------------------------------------------------------------------------------------


@app.command(epilog=CHECK_MODEL_EXAMPLE)
def check_model(
    model: Annotated[Path, typer.Argument(help="The fitted model, as `joblib.dump` writes it.", metavar="FILE")],
    data: Annotated[
        Path | None, typer.Option(help="A CSV file whose first 1,000 rows the prediction function scores.", metavar="FILE")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Columns given to the model, in this order; by default those that it was fitted on.", metavar="A,B,C"),
    ] = None,
    prediction_method: Annotated[str, _request_option("prediction_method", "--prediction-method")] = "predict",
    memory_mb: Annotated[
        int | None, typer.Option(min=1, help="PredictMemorySize of the stack, in MB; by default the template's.", metavar="MB")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Say what a model is, and whether the prediction function can use it.

    Loading a model runs the code in it: check only models that you trust.
    Exits 0 where nothing stands in the way, and 1 where something does.
    """
    with _ending(as_json=as_json):
        if prediction_method not in (methods := request_schema()["properties"]["prediction_method"]["enum"]):
            raise InvalidRequestError(f"--prediction-method must be one of {', '.join(methods)}, not {prediction_method!r}")
        checked = model_check(
            model,
            data=data,
            feature_columns=_split_columns(features) if features is not None else None,
            prediction_method=prediction_method,
            memory_mb=memory_mb,
            local_aws=local_aws,
        )
    if as_json:
        typer.echo(json.dumps(asdict(checked), default=str))
    else:
        print_model_check(text_console(sys.stdout), checked)
    for warning in checked.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    for problem in checked.problems:
        typer.echo(f"Error: {problem}", err=True)
    if checked.problems:
        raise typer.Exit(1)


# --- serve ----------------------------------------------------------------------------------------------------------------------


@app.command(epilog=SERVE_EXAMPLE)
def serve(
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Where to listen on 127.0.0.1; by default a free port.", metavar="PORT")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print where everything is as one JSON object.")] = False,
) -> None:
    """Keep the local AWS up, for the AWS CLI, boto3 or your tests.

    Prints where everything is as soon as it is ready. Ctrl-C or SIGTERM stops it, and nothing of it is left.
    """
    with _stop_signals():
        try:
            if not as_json:
                typer.echo("Starting the local AWS …", err=True)
            with local_aws(port) as aws:
                typer.echo(json.dumps(aws.as_dict()) if as_json else _how_to_use(aws))
                sys.stdout.flush()
                while True:
                    signal.pause()
        except LocalAwsError as error:
            typer.echo(f"Error: {error}", err=True)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            return


def _how_to_use(aws: LocalAws) -> str:
    request = {
        "model_s3_uri": f"s3://{aws.bucket}/models/arrival_delay.joblib",
        "data_s3_uri": f"s3://{aws.bucket}/data/flights.csv",
        "output_s3_uri": f"s3://{aws.bucket}/output/flights.csv",
        "prediction_column_name": flights.PREDICTION,
        "feature_columns": flights.FEATURES,
    }
    return f"""\
The local AWS is ready; Ctrl-C stops it. In another terminal:

export AWS_ENDPOINT_URL={aws.endpoint_url}
export AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION={aws.region}

The bucket is {aws.bucket}, the prediction function {aws.predict_function_name}.
Put a model and data there, such as those that `batch-predict demo` leaves, and start an execution:

aws s3 cp .demo/arrival_delay.joblib s3://{aws.bucket}/models/
aws s3 cp .demo/flights.csv s3://{aws.bucket}/data/
aws stepfunctions start-execution \\
  --state-machine-arn {aws.state_machine_arn} \\
  --input '{json.dumps(request)}'"""


# --- demo -----------------------------------------------------------------------------------------------------------------------


@app.command(epilog=DEMO_EXAMPLE)
def demo(
    rows: Annotated[
        int | None, typer.Option(min=1, max=flights.ROWS, help="Flights to score; by default all of the year.", metavar="N")
    ] = None,
    keep_dir: Annotated[Path, typer.Option(help="Where data, model and output are kept.", metavar="DIR")] = Path(".demo"),
) -> None:
    """Score the flights of New York 2013: how late will each arrive.

    Writes the year's 336,776 flights as CSV and fits a scikit-learn pipeline, once; then scores them in several chunks.
    """
    with _ending():
        with screen() as shown:
            data, model = _demo_files(keep_dir, rows, shown)
            local_run = prepare(
                {
                    "model_s3_uri": str(model),
                    "data_s3_uri": str(data),
                    "output_s3_uri": str(keep_dir / "predictions.csv"),
                    "prediction_column_name": flights.PREDICTION,
                    "feature_columns": flights.FEATURES,
                    "chunk_size_mb": math.ceil(data.stat().st_size / DEMO_CHUNKS / 1e3) / 1e3,
                    "overwrite": True,
                }
            )
            result = _run_here(local_run, shown)
        _conclude(shown, result, as_json=False)
        assert isinstance(result.output, Path)
        console = text_console(sys.stdout)
        console.print(f"Data    {data}\nModel   {model}\n\nThe first rows, some of their columns:\n", soft_wrap=True)
        with result.output.open(newline="", encoding="utf-8") as file:
            console.print(first_rows_table(flights.SHOWN_COLUMNS, list(islice(csv.DictReader(file), DEMO_ROWS_SHOWN))))


def _demo_files(directory: Path, rows: int | None, shown: Screen) -> tuple[Path, Path]:
    try:
        with shown.step("Flights", "writing the year's flights as CSV") as conclude:
            data = flights.write_flights(directory, rows)
            conclude(f"{plural(rows or flights.ROWS, 'row')}, {megabytes(data.stat().st_size)}")
        with shown.step("Model", "fitting a pipeline that predicts the arrival's delay") as conclude:
            model = flights.fit_model(directory)
            conclude(f"{model}, {megabytes(model.stat().st_size)}")
    except OSError as error:
        raise LocalRunError(f"{error.filename or directory} cannot be written: {error.strerror or error}") from error
    return data, model
