"""The command `batch-predict`: the whole workflow on this machine or on a deployed stack, and everything around a run."""

import csv
import json
import math
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.exceptions import TyperException

from batch_predict.cli import deploy_command, init_command, run_commands
from batch_predict.cli.endings import ending
from batch_predict.cli.progress import (
    Screen,
    first_rows_table,
    megabytes,
    plan_lines,
    plural,
    print_failure,
    print_model_check,
    result_lines,
    screen,
    text_console,
)
from batch_predict.cli.run_commands import ProfileOption, RegionOption, StackOption
from batch_predict.cli.run_lines import print_lines
from batch_predict.cli.visible_output import visible_streams
from batch_predict.deployed import request_schema
from batch_predict.errors import BatchPredictError, InvalidRequestError
from batch_predict.local import flights
from batch_predict.local.aws import ACCESS_KEY_ID, LocalAws, local_aws
from batch_predict.local.check_model import check_model as model_check
from batch_predict.local.interruption import stop_signals
from batch_predict.places import OnStack, ThisMachine, place_of
from batch_predict.runs import outcome
from batch_predict.runs.local_files import skipped_files
from batch_predict.runs.outcome import Failed, Outcome, Planned, Published
from batch_predict.runs.prepared_request import PreparedRequest, prepare
from batch_predict.runs.run import Run
from batch_predict.runs.stack import aws_troubles

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

PLAN_EXAMPLE = """\
Example, with the files that `batch-predict demo` leaves:

\b
  batch-predict plan --model .demo/arrival_delay.joblib \\
    --data .demo/flights.csv \\
    --features month,dep_time,dep_delay,distance,carrier,origin,dest \\
    --prediction predicted_arr_delay --output predictions.csv --compare
"""
CHECK_MODEL_EXAMPLE = """\
Example, with the files that `batch-predict demo` leaves:

\b
  batch-predict check-model .demo/arrival_delay.joblib \\
    --data .demo/flights.csv
"""

BAD_INPUT = 1
"""Exit code of everything that the user can change, the command's own options included."""


class _Commands(TyperGroup):
    """Has a command that is wrong by itself (an unknown option, a missing argument) exit as any other bad input does."""

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _as_bad_input():
            return super().make_context(*arguments, **settings)

    def invoke(self, ctx: Any) -> Any:
        with _as_bad_input():
            return super().invoke(ctx)

    def main(self, *arguments: Any, **settings: Any) -> Any:
        with visible_streams():
            return super().main(*arguments, **settings)


@contextmanager
def _as_bad_input() -> Iterator[None]:
    try:
        yield
    except TyperException as error:
        error.exit_code = BAD_INPUT
        raise


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # keeps the line breaks of the examples
    pretty_exceptions_enable=False,
    epilog=DEMO_EXAMPLE,
)


def main() -> None:
    """Run the command line."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]  # a terminal that cannot show a … still shows the rest
    try:
        app()
    except Exception:  # noqa: BLE001 - Python would print it, with whatever it quotes, past what makes text visible
        with visible_streams():
            traceback.print_exc()
        sys.exit(1)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"batch-predict {version('batch-predict')}")
        raise typer.Exit


@app.callback()
def batch_predict(
    _version: Annotated[bool, typer.Option("--version", callback=_show_version, help="Show the version and exit.")] = False,
) -> None:
    """Score every row of your CSV data with a fitted scikit-learn model, by AWS Step Functions: on AWS, or on this machine."""


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


ModelOption = Annotated[
    str | None,
    _request_option(
        "model_s3_uri", "--model", "The fitted model, as `joblib.dump` writes it; with --stack also an S3 URI.", metavar="FILE"
    ),
]
DataOption = Annotated[
    list[str] | None,
    _request_option(
        "data_s3_uri",
        "--data",
        "CSV files in the order of the output; of a directory, all *.csv below it in natural order; a glob in quotes, in which ** "
        "stands for any folders; with --stack also S3 URIs.",
        metavar="PATH...",
    ),
]
FeaturesOption = Annotated[
    str | None,
    _request_option(
        "feature_columns",
        "--features",
        "Columns given to the model, in this order, separated by commas; quoted as in CSV where a name holds one. By default those "
        "that it was fitted on, if it knows their names.",
        metavar="A,B,C",
    ),
]
PredictionOption = Annotated[str | None, _request_option("prediction_column_name", "--prediction", metavar="NAME")]
OutputOption = Annotated[
    str | None,
    _request_option(
        "output_s3_uri",
        "--output",
        "The one CSV of all rows; its report goes beside it, as FILE.report.json. With --stack also an S3 URI, which stays there.",
        metavar="FILE",
    ),
]
ChunkSizeOption = Annotated[float | None, _request_option("chunk_size_mb", "--chunk-size-mb", metavar="MB")]
ConcurrencyOption = Annotated[
    int | None,
    _request_option(
        "max_concurrency", "--max-concurrency", "Chunks in flight at once on AWS; the local AWS runs one on each core.", metavar="N"
    ),
]
ToleranceOption = Annotated[
    float | None, _request_option("tolerated_failure_percentage", "--tolerated-failure-percentage", metavar="PERCENT")
]
BadRowOption = Annotated[str | None, _request_option("on_bad_row", "--on-bad-row")]
NoRowsOption = Annotated[str | None, _request_option("on_no_rows", "--on-no-rows")]
MethodOption = Annotated[str | None, _request_option("prediction_method", "--prediction-method")]
ColumnTypesOption = Annotated[
    list[str] | None,
    _request_option(
        "column_types",
        "--column-type",
        "Type of a feature column, boolean, integer, number or text; may be given for several. By default the model or all values "
        "of the column decide.",
        metavar="COLUMN=TYPE",
    ),
]
Sha256Option = Annotated[str | None, _request_option("model_sha256", "--model-sha256", metavar="HEX")]
StrictOption = Annotated[bool, _request_option("strict", "--strict")]
OverwriteOption = Annotated[bool, _request_option("overwrite", "--overwrite")]
RequestOption = Annotated[
    Path | None,
    typer.Option(
        "--request", help="A whole request as JSON, in place of the options above; local paths as S3 URIs.", metavar="FILE"
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Show nothing but errors.")]


@app.command(cls=_CommandWithDataFiles, epilog=RUN_EXAMPLE)
def run(
    model: ModelOption = None,
    data: DataOption = None,
    features: FeaturesOption = None,
    prediction: PredictionOption = None,
    output: OutputOption = None,
    chunk_size_mb: ChunkSizeOption = None,
    max_concurrency: ConcurrencyOption = None,
    tolerated_failure_percentage: ToleranceOption = None,
    on_bad_row: BadRowOption = None,
    on_no_rows: NoRowsOption = None,
    prediction_method: MethodOption = None,
    column_type: ColumnTypesOption = None,
    model_sha256: Sha256Option = None,
    strict: StrictOption = False,
    overwrite: OverwriteOption = False,
    keep_work: Annotated[bool, _request_option("keep_work", "--keep-work")] = False,
    dry_run: Annotated[
        bool, _request_option("dry_run", "--dry-run", "Stop after planning: check everything, count the chunks, score nothing.")
    ] = False,
    request: RequestOption = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the run; by default output and time.", metavar="RUN", show_default=False)
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the run has started, and leave it to itself.")] = False,
    quiet: QuietOption = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, and progress as JSON lines on standard error.")
    ] = False,
) -> None:
    """Score CSV files with a model: here, or with --stack on AWS.

    Runs the whole workflow, the very state machine and functions that go to AWS, on an embedded local AWS; with --stack on the
    stack of that name, to which local files are uploaded.
    Exits 0 when the output is there, 1 when the run failed or could not start, and 130 after Ctrl-C.
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
        "on_no_rows": on_no_rows,
        "prediction_method": prediction_method,
        "column_types": column_type or None,
        "model_sha256": model_sha256,
        "strict": strict or None,
        "overwrite": overwrite or None,
        "keep_work": keep_work or None,
        "dry_run": dry_run or None,
    }
    with ending(as_json=as_json):
        wanted = _request_of(options, request)
        place = place_of(stack, profile, region)
        local_run = place.prepare(wanted)
        if detach:
            if (skipped := skipped_files(local_run.skipped)) and not quiet:
                typer.echo(skipped, err=True)
            _print_detached(place.submit(local_run, name), stack, as_json=as_json)
            return
        with screen(quiet=quiet, as_json=as_json) as shown:
            result = _run_at(place, local_run, name, shown)
        more = _explain_command(result, stack, is_kept=not local_run.is_dry_run)
        _conclude(shown, result, more, as_json=as_json, quiet=quiet)


@app.command(cls=_CommandWithDataFiles, epilog=PLAN_EXAMPLE)
def plan(
    model: ModelOption = None,
    data: DataOption = None,
    features: FeaturesOption = None,
    prediction: PredictionOption = None,
    output: OutputOption = None,
    chunk_size_mb: ChunkSizeOption = None,
    max_concurrency: ConcurrencyOption = None,
    on_bad_row: BadRowOption = None,
    on_no_rows: NoRowsOption = None,
    prediction_method: MethodOption = None,
    column_type: ColumnTypesOption = None,
    model_sha256: Sha256Option = None,
    strict: StrictOption = False,
    overwrite: OverwriteOption = False,
    request: RequestOption = None,
    stack: StackOption = None,
    profile: ProfileOption = None,
    region: RegionOption = None,
    compare: Annotated[
        bool, typer.Option("--compare", help="Also what one instance of SageMaker Batch Transform would cost.")
    ] = False,
    quiet: QuietOption = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the plan as one JSON object.")] = False,
) -> None:
    """Say what a run would take: objects, chunks, rows, time, dollars and limits. Nothing is scored but the first rows.

    The same request as `run` with --dry-run. Exits 0 when the run could start.
    """
    options = {
        "model_s3_uri": model,
        "data_s3_uri": data or None,
        "output_s3_uri": output,
        "prediction_column_name": prediction,
        "feature_columns": features,
        "chunk_size_mb": chunk_size_mb,
        "max_concurrency": max_concurrency,
        "on_bad_row": on_bad_row,
        "on_no_rows": on_no_rows,
        "prediction_method": prediction_method,
        "column_types": column_type or None,
        "model_sha256": model_sha256,
        "strict": strict or None,
        "overwrite": overwrite or None,
    }
    with ending(as_json=as_json):
        wanted = {**_request_of(options, request), "dry_run": True}
        place = place_of(stack, profile, region)
        local_run = place.prepare(wanted)
        with screen(quiet=quiet, as_json=as_json) as shown:
            result = _run_at(place, local_run, None, shown)
        if as_json or not isinstance(result, Planned):
            _conclude(shown, result, _explain_command(result, stack, is_kept=False), as_json=as_json)
            return
        print_lines(text_console(sys.stdout), plan_lines(result, compare=compare, skipped=skipped_files(local_run.skipped)))


def _request_of(options: dict[str, Any], file: Path | None) -> dict[str, Any]:
    """Return the request that the options, or the file, say; InvalidRequestError where they say none."""
    given = {field: value for field, value in options.items() if value is not None}
    if file:
        if given:
            raise InvalidRequestError(f"--request is the whole request: leave out {', '.join(map(_option_of, given))}")
        return _read_request(file)
    if missing := [_option_of(field) for field in request_schema()["required"] if field not in given]:
        raise InvalidRequestError(f"missing {', '.join(missing)}")
    if "feature_columns" in given:
        given["feature_columns"] = _split_columns(given["feature_columns"])
    if "column_types" in given:
        given["column_types"] = _split_types(given["column_types"])
    return given


def _option_of(field: str) -> str:
    short = {"prediction_column_name": "prediction", "feature_columns": "features", "column_types": "column-type"}
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


def _split_types(texts: list[str]) -> dict[str, str]:
    types: dict[str, str] = {}
    for text in texts:
        column, equals, kind = text.rpartition("=")  # a column's name may hold one, too
        if not equals:
            raise InvalidRequestError(f"--column-type {text} must be a column and its type, such as zip=text")
        if types.setdefault(column, kind) != kind:
            raise InvalidRequestError(f"--column-type gives {column} two types, {types[column]} and {kind}: leave one out")
    return types


def _run_at(place: ThisMachine | OnStack, local_run: PreparedRequest, name: str | None, shown: Screen) -> Outcome:
    """Run to the end. Ctrl-C asks whether an execution on AWS, which needs nobody here, shall go on."""
    if isinstance(place, ThisMachine):
        return place.run(local_run, name, shown.show, shown.step)

    def interrupted(run: Run) -> None:
        shown.leave()
        if _shall_stop(run.name, place.stack.name):
            with aws_troubles(place.stack):
                run.cancel("ended by Ctrl-C")
            more = f"batch-predict explain {run.name} --stack {place.stack.name}"
            typer.echo(f"Run {run.name} is over: the same command goes on from its finished chunks. See also `{more}`.", err=True)

    return place.run(local_run, name, shown.show, shown.step, interrupted)


def _shall_stop(name: str, stack: str) -> bool:
    """Ask what becomes of an execution that goes on; where nobody can be asked, it goes on."""
    follow = f"batch-predict watch {name} --stack {stack}"
    with suppress(typer.Abort):  # the end of the input is no answer
        if sys.stdin.isatty() and not typer.confirm(f"\nLeave run {name} running?", default=True, err=True):
            return True
    typer.echo(f"Run {name} goes on: {follow}", err=True)
    return False


def _print_detached(name: str, stack: str | None, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"name": name, "status": "RUNNING"}))
        return
    place = f" --stack {stack}" if stack else ""
    typer.echo(f"Run {name} has started.\nFollow it: batch-predict watch {name}{place}")


def _explain_command(result: Outcome, stack: str | None, *, is_kept: bool) -> str | None:
    """Return the command that explains a failure; None where it finds nothing: dry runs are not kept on this machine."""
    if stack:
        return f"batch-predict explain {result.name} --stack {stack}"
    return f"batch-predict explain {result.name}" if is_kept else None


def _conclude(shown: Screen, result: Outcome, more: str | None, *, as_json: bool = False, quiet: bool = False) -> None:
    """Print the result where it belongs, and exit by its status; a failure is said in any case."""
    if as_json:
        typer.echo(json.dumps(outcome.as_json(result), default=str))
    if isinstance(result, Failed):
        print_failure(shown, result, more)
        raise typer.Exit(1)
    if not as_json and not quiet:
        print_lines(text_console(sys.stdout), result_lines(result))


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
    with ending(as_json=as_json):
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
    with stop_signals():
        try:
            if not as_json:
                typer.echo("Starting the local AWS …", err=True)
            with local_aws(port) as aws:
                typer.echo(json.dumps(aws.as_dict()) if as_json else _how_to_use(aws))
                sys.stdout.flush()
                while True:
                    signal.pause()
        except BatchPredictError as error:
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

export AWS_ENDPOINT_URL={aws.endpoint_url} AWS_DEFAULT_REGION={aws.region}
export AWS_ACCESS_KEY_ID={ACCESS_KEY_ID} AWS_SECRET_ACCESS_KEY={aws.secret_access_key}

Who has that key runs code as you: keep it to yourself. It is another one at each start.

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
    with ending():
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
            result = ThisMachine().run(local_run, None, shown.show, shown.step)
        _conclude(shown, result, _explain_command(result, None, is_kept=True))
        assert isinstance(result, Published)
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
        raise BatchPredictError(f"{error.filename or directory} cannot be written: {error.strerror or error}") from error
    return data, model


run_commands.register(app)
init_command.register(app)
deploy_command.register(app)
