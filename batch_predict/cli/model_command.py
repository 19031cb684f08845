"""The command `batch-predict check-model`: what a model is, and whether the prediction function can use it."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from batch_predict import deployed
from batch_predict.cli.commands import command, example
from batch_predict.cli.request_options import field_option, read_field
from batch_predict.cli.visible_output import VisibleConsole
from batch_predict.deployed import request_schema
from batch_predict.errors import InvalidRequestError
from batch_predict.figures import megabytes, plural
from batch_predict.local.aws import local_aws
from batch_predict.local.check_model import ModelCheck, memory_advice, needed_mb
from batch_predict.local.check_model import check_model as model_check

CHECK_MODEL_EXAMPLE = example(
    "batch-predict check-model .demo/arrival_delay.joblib \\\n  --data .demo/flights.csv",
    "with the files that `batch-predict demo` leaves",
)
SHOWN_NAMES = 50
"""How many columns that a model was fitted on are shown; there may be thousands."""
SHOWN_LABELS = 20
SHOWN_LIBRARIES = 40

app = typer.Typer(rich_markup_mode=None)


@command(app, CHECK_MODEL_EXAMPLE)
def check_model(
    model: Annotated[Path, typer.Argument(help="The fitted model, as `joblib.dump` writes it, or its bundle.", metavar="FILE")],
    data: Annotated[
        Path | None, typer.Option(help="A file of the data, whose first 1,000 rows the prediction function scores.", metavar="FILE")
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="Columns given to the model, in this order; by default those that it was fitted on.", metavar="A,B,C"),
    ] = None,
    prediction_method: Annotated[str | None, field_option("prediction_method")] = None,
    predictions: Annotated[str | None, field_option("predictions")] = None,
    csv: Annotated[list[str] | None, field_option("csv")] = None,
    memory_mb: Annotated[
        int | None, typer.Option(min=1, help="PredictMemorySize of the stack, in MB; by default the template's.", metavar="MB")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
) -> None:
    """Say what a model is, whether the prediction function can use it, and, with --data, which memory sizes suit it.

    Loading a model runs the code in it: check only models that you trust.
    Exits 0 if nothing stands in the way, and 1 if something does.
    """
    methods = request_schema()["properties"]["prediction_method"]["enum"]
    if prediction_method not in (None, *methods):
        raise InvalidRequestError(f"--prediction-method must be one of {', '.join(methods)}, not {prediction_method!r}")
    asked = None if predictions is None else read_field("predictions", predictions)
    if found := [*deployed.schema.problems(asked, request_schema()["properties"]["predictions"], "predictions")]:
        raise InvalidRequestError("; ".join(found))
    if asked and prediction_method not in (None, "predict"):
        raise InvalidRequestError("--predictions and --prediction-method exclude each other: give one of them")
    checked = model_check(
        model,
        data=data,
        feature_columns=None if features is None else read_field("feature_columns", features),
        prediction_method=prediction_method or "predict",
        predictions=asked,
        csv=read_field("csv", csv) if csv else None,
        memory_mb=memory_mb,
        local_aws=local_aws,
    )
    if as_json:
        typer.echo(json.dumps(asdict(checked), default=str))
    else:
        console = VisibleConsole(sys.stdout)
        for label, text in _lines(checked):
            console.print(f"{label:11}{text}", soft_wrap=True)
        if checked.request:
            console.print(f"\nA request to begin with:\n{json.dumps(checked.request, indent=2)}", soft_wrap=True)
    for warning in checked.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    for problem in checked.problems:
        typer.echo(f"Error: {problem}", err=True)
    if checked.problems:
        raise typer.Exit(1)


def _lines(checked: ModelCheck) -> Iterator[tuple[str, str]]:
    """Yield what a model is, as label and text."""
    yield "Model", f"{checked.path}, {megabytes(checked.bytes)}"
    yield "SHA-256", checked.sha256
    if checked.bundle:
        yield from bundle_lines(checked.bundle)
    facts = checked.facts
    if not facts:
        return
    version = "" if checked.bundle else f", scikit-learn {facts['sklearn_version']}"
    yield "Estimator", f"{facts['estimator']}{version}; has {', '.join(facts['methods'])}"
    names = facts["feature_columns"]
    number = plural(len(names) if names else facts["n_features"] or 0, "column")
    yield "Features", f"{number}: {_first(names, SHOWN_NAMES)}" if names else f"{number}, whose names it does not know"
    if facts["classes"] is not None:
        yield "Classes", f"{len(facts['classes'])}: {_first(facts['classes'], SHOWN_LABELS)}"
    loaded = f"{facts['memory_bytes'] / 2**20:,.0f} MB, loaded in {facts['load_seconds']:.2f} s"
    yield "Memory", f"{loaded}; the function has {checked.memory_mb:,} MB, and needs about {needed_mb(facts):,.0f} MB"
    if checked.csv:
        yield "CSV", f"csv: {json.dumps(checked.csv, ensure_ascii=False)}"
    if checked.sample:
        sample = checked.sample
        columns = ", ".join(sample.prediction_columns)
        yield "Sample", f"{plural(sample.rows, 'row')}, {sample.rows_per_second:,.0f} rows/s on one core here; adds {columns}"
    if advice := memory_advice(checked):
        yield "Advice", advice


def bundle_lines(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a bundle.json says, as label and text."""
    yield "Digest", document["digest"]
    fitted = [f"{name} {version}" for name, version in document["fitted_with"].items()]
    python = f"Python {document['python']}" if document["python"] else "a Python that is not known"
    yield "Fitted", f"with {_first([python, *fitted], SHOWN_LIBRARIES)}"
    if document["code_modules"]:
        yield "Code", _first(document["code_modules"], SHOWN_LIBRARIES)
    for platform, of_platform in document["platforms"].items():
        yield "For", platform
        for said, of in (("brings", "bundle"), ("takes from the function", "function")):
            listed = [f"{one['name']} {one['version']}" for one in of_platform["distributions"] if one["from"] == of]
            if listed:
                yield "", f"{said} {_first(listed, SHOWN_LIBRARIES)}"


def _first(names: list[str], number: int) -> str:
    return f"{', '.join(names[:number])}{', …' if len(names) > number else ''}"
