"""The commands that need only this machine: `serve` keeps the local AWS up, `demo` scores a year of flights on it."""

import csv
import json
import math
import signal
import sys
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from batch_predict.cli.commands import command, example
from batch_predict.cli.progress import Screen, screen
from batch_predict.cli.scoring_commands import conclude
from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.errors import BatchPredictError, file_troubles
from batch_predict.figures import megabytes, plural
from batch_predict.local import flights
from batch_predict.local.aws import ACCESS_KEY_ID, LocalAws, local_aws
from batch_predict.local.interruption import stop_signals
from batch_predict.places import ThisMachine

DEMO_CHUNKS = 9  # enough to see them run side by side, each large enough to be worth its start
DEMO_ROWS_SHOWN = 5

SERVE_EXAMPLE = example("batch-predict serve --json")
DEMO_EXAMPLE = example("batch-predict demo --rows 20000", "with fewer rows")

app = typer.Typer(rich_markup_mode=None)


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


@command(app, DEMO_EXAMPLE)
def demo(
    rows: Annotated[
        int | None, typer.Option(min=1, max=flights.ROWS, help="Flights to score; by default all of the year.", metavar="N")
    ] = None,
    keep_dir: Annotated[Path, typer.Option(help="Where data, model and output are kept.", metavar="DIR")] = Path(".demo"),
) -> None:
    """Score the flights of New York 2013: how late will each arrive.

    Writes the year's 336,776 flights as CSV and fits a scikit-learn pipeline, once; then scores them in several chunks.
    """
    here, output = ThisMachine(), keep_dir / "predictions.csv"
    with screen() as shown:
        data, model = _demo_files(keep_dir, rows, shown)
        prepared = here.prepare(
            {
                "model_s3_uri": str(model),
                "data_s3_uri": str(data),
                "output_s3_uri": str(output),
                "prediction_column_name": flights.PREDICTION,
                "feature_columns": flights.FEATURES,
                "chunk_size_mb": math.ceil(data.stat().st_size / DEMO_CHUNKS / 1e3) / 1e3,
                "overwrite": True,
            }
        )
        result = here.run(prepared, None, shown)
    conclude(shown, result, here)
    console = VisibleConsole(sys.stdout)
    console.print(f"Data    {data}\nModel   {model}\n\nThe first rows, some of their columns:\n", soft_wrap=True)
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    for column in flights.SHOWN_COLUMNS:
        table.add_column(column, justify="right", overflow="fold")
    with output.open(newline="", encoding="utf-8") as file:
        for record in islice(csv.DictReader(file), DEMO_ROWS_SHOWN):
            table.add_row(*(Text(record[column]) for column in flights.SHOWN_COLUMNS))
    console.print(table)


def _demo_files(directory: Path, rows: int | None, shown: Screen) -> tuple[Path, Path]:
    with file_troubles("written", directory):
        with shown.step("Flights", "writing the year's flights as CSV") as conclude_step:
            data = flights.write_flights(directory, rows)
            conclude_step(f"{plural(rows or flights.ROWS, 'row')}, {megabytes(data.stat().st_size)}")
        with shown.step("Model", "fitting a pipeline that predicts the arrival's delay") as conclude_step:
            model = flights.fit_model(directory)
            conclude_step(f"{model}, {megabytes(model.stat().st_size)}")
    return data, model
