"""The command line in the tests' own process, and files for it in the current directory."""

from pathlib import Path

import joblib
import pandas as pd
from sklearn.linear_model import LinearRegression
from typer.testing import CliRunner

from batch_predict.cli import app as cli


def invoke(arguments):
    """Run a command; return its exit code and what it prints."""
    return CliRunner().invoke(cli.app, arguments.split(), prog_name="batch-predict")


def succeed(arguments):
    """Run a command that must succeed; return its standard output."""
    result = invoke(arguments)
    assert result.exit_code == 0, result.output
    return result.stdout


def write_files(rows, bad_row):
    """Write model.joblib, a model of a and b, data.csv for it, and bad.csv, in which one row is no numbers."""
    data = pd.DataFrame({"a": [number / 4 for number in range(rows)], "b": [number % 7 for number in range(rows)]})
    joblib.dump(LinearRegression().fit(data, data["a"] * 2 - data["b"]), "model.joblib")
    text = data.to_csv(index=False)
    Path("data.csv").write_text(text)
    lines = text.splitlines()
    lines[bad_row] = "late,1"
    Path("bad.csv").write_text("\n".join(lines) + "\n")
