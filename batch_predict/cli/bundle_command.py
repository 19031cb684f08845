"""The command `batch-predict bundle`: a model with its libraries and its own modules, in one file, tried before it is written."""

import json
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from batch_predict.cli.commands import command, example
from batch_predict.cli.progress import screen
from batch_predict.cli.request_options import field_option, read_field
from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.figures import megabytes, plural
from batch_predict.local.aws import local_aws
from batch_predict.local.bundle_making import Made, Wanted, make_bundle

BUNDLE_EXAMPLE = example(
    "batch-predict bundle .demo/arrival_delay.joblib \\\n  -o .demo/arrival_delay.bundle.zip --check .demo/flights.csv",
    "with the files that `batch-predict demo` leaves",
)
SHOWN_LIBRARIES = 40

app = typer.Typer(rich_markup_mode=None)


@command(app, BUNDLE_EXAMPLE)
def bundle(
    model: Annotated[
        Path,
        typer.Argument(
            help="The fitted model: a file of joblib, pickle or cloudpickle; the folder of an MLflow model; SageMaker's "
            "model.tar.gz; XGBoost's .ubj or .json; LightGBM's .txt; .skops; .onnx; CatBoost's .cbm.",
            metavar="MODEL",
        ),
    ],
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The bundle, whose name ends in .bundle.zip.", metavar="OUT.bundle.zip")
    ],
    python: Annotated[
        Path | None,
        typer.Option(help="Python of the environment where the model was fitted; by default this one.", metavar="PATH"),
    ] = None,
    requires: Annotated[
        list[str] | None,
        typer.Option(help="A requirement in place of what was found, such as xgboost-cpu==3.4.1; may be repeated.", metavar="REQ"),
    ] = None,
    code: Annotated[
        list[Path] | None,
        typer.Option(help="A module or package of your own that is not found by itself; may be repeated.", metavar="PATH"),
    ] = None,
    trust: Annotated[
        list[str] | None,
        typer.Option(help="A type in a skops file that may be loaded, such as my_package.Ratio; may be repeated.", metavar="TYPE"),
    ] = None,
    platform: Annotated[
        list[str] | None,
        typer.Option(
            help="For which machine and Python, such as linux-x86_64-py313; may be repeated. By default the stack's and this "
            "machine's.",
            metavar="P",
        ),
    ] = None,
    check: Annotated[
        Path | None,
        typer.Option(help="Data, whose first 1,000 rows are scored and compared; by default made-up rows.", metavar="FILE"),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Columns given to the model, in this order; by default those that it was fitted on.", metavar="A,B,C"),
    ] = None,
    csv: Annotated[list[str] | None, field_option("csv")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a bundle of that name.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object, and progress as JSON lines on standard error.")
    ] = False,
) -> None:
    """Make a bundle: a model with the libraries that it was fitted with, and its own modules, in one file.

    Finds out what the model needs without loading it, gets the libraries for the stack and for this machine, and tries the
    result: the prediction function scores rows with it, and the model itself where it was fitted; both must give the same. The
    trial loads the model, which runs the code in it: bundle only models that you trust.
    Exits 0 if the bundle is written, and 1 if not.
    """
    wanted = Wanted(
        model=model,
        output=output,
        python=python,
        requires=tuple(requires or ()),
        code=tuple(code or ()),
        trust=tuple(trust or ()),
        platforms=tuple(platform or ()),
        data=check,
        features=read_field("feature_columns", features) if features else None,
        csv=read_field("csv", csv) if csv else None,
        overwrite=overwrite,
    )
    with screen(as_json=as_json) as shown:
        made = make_bundle(wanted, shown.step, shown.tell, local_aws)
    if as_json:
        typer.echo(json.dumps(_as_json(made), default=str))
        return
    console = VisibleConsole(sys.stdout)
    for label, text in _lines(made):
        console.print(f"{label:11}{text}", soft_wrap=True)
    console.print(f"\nA request to begin with:\n{json.dumps(made.request, indent=2)}", soft_wrap=True)
    console.print(f"\nCheck it with your data: batch-predict check-model {shlex.quote(str(output))} --data FILE", soft_wrap=True)


def _lines(made: Made) -> Iterator[tuple[str, str]]:
    """Yield what was made, as label and text."""
    written, trial, contents = made.written, made.trial, made.contents
    yield "Bundle", f"{written.path}, {megabytes(written.bytes)}"
    yield "SHA-256", made.sha256
    yield "Digest", written.digest
    if contents.python:
        yield "Fitted", f"with Python {contents.python}"
    if trial:
        yield "Estimator", f"{trial.estimator}; has {', '.join(trial.methods)}"
        if trial.feature_columns:
            yield "Features", f"{plural(len(trial.feature_columns), 'column')}: {_first(list(trial.feature_columns))}"
    if contents.code:
        yield "Code", _first(sorted(contents.code))
    for platform in made.platforms:
        yield "For", f"{platform}: {megabytes(written.unpacked_bytes.get(platform, 0))} in /tmp"
        if brought := written.libraries.get(platform):
            yield "", f"brings {_first(list(brought))}"
        if taken := written.from_function.get(platform):
            yield "", f"takes from the function {_first(list(taken))}"
    for note in written.notes:
        yield "Note", note
    yield "Trial", _trial(made)


def _trial(made: Made) -> str:
    """Say what the trial has shown."""
    trial = made.trial
    if trial is None:
        return f"not tried: it has no libraries for this machine, {made.machine}"
    if not trial.rows:
        return f"it loads; not compared: {trial.not_compared}"
    rows = plural(trial.rows, "made-up row" if trial.are_made_up else "row")
    if trial.not_compared:
        return f"the prediction function scores {rows} with it; not compared: {trial.not_compared}"
    equal = "to the bit" if not trial.largest_difference else f"to {trial.largest_difference:.1g} of the largest number"
    methods = " and ".join(trial.compared)
    return f"{rows} scored by the prediction function; {methods} equal, {equal}, to the model where it was fitted"


def _first(names: list[str]) -> str:
    return f"{', '.join(names[:SHOWN_LIBRARIES])}{', …' if len(names) > SHOWN_LIBRARIES else ''}"


def _as_json(made: Made) -> dict[str, Any]:
    written, trial = made.written, made.trial
    platforms = {
        platform: {
            "tmp_bytes": written.unpacked_bytes.get(platform, 0),
            "libraries": written.libraries.get(platform, ()),
            "from_function": written.from_function.get(platform, ()),
        }
        for platform in made.platforms
    }
    return {
        "path": written.path,
        "bytes": written.bytes,
        "sha256": made.sha256,
        "digest": written.digest,
        "python": made.contents.python,
        "code": sorted(made.contents.code),
        "platforms": platforms,
        "notes": written.notes,
        "trial": trial and trial.__dict__,
        "request": made.request,
    }
