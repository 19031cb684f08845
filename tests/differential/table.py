"""The differential table: what the handler writes beside what `model.predict(pandas.read_csv(file)[columns])` gives, cell by cell.

A cell is a model, a file, a cut into chunks and a method. What counts as right:

same        labels are equal, numbers within 1e-9 of their size, NaN is NaN, and the columns have the right names
as fitted   the same, where the file is read with the types that the columns had when the model was fitted (docs/request.md)
both fail   pandas or the model raises, and the handler ends in a named error
lenient     the handler predicts where pandas or the model raises: only what RULES lists, and booleans in columns of numbers
refused     the handler ends in a named error where the model predicts: only what RULES lists
different   all else; there may be none
"""

import csv
import io
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import joblib
import numpy as np
import pandas as pd

from batch_predict.setup import kernel
from differential import files, models, own_steps, worker

ROOT = Path(__file__).parents[2]
RELATIVE, OF_THE_LARGEST = 1e-9, 1e-13
"""How far numbers may differ: of themselves, and of the largest prediction, since sums end near zero by chance."""

SAME, AS_FITTED, BOTH_FAIL, DIFFERENT = "same", "as fitted", "both fail", "different"
LENIENT, REFUSED = "lenient", "refused"


class Rule(NamedTuple):
    """Cells that need not be the same, and why."""

    kind: str
    reason: str
    holds: Callable[..., bool]
    """Takes the cell, and the model's message where the handler is lenient, the handler's where it refuses."""


RULES = [
    Rule(
        LENIENT,
        "a column of which a step looks at nothing but what is missing may hold anything",
        lambda cell, message: cell.model.name.startswith("MissingIndicator") and "contains infinity" in message,
    ),
    Rule(
        LENIENT,
        "pandas.to_datetime takes the first row's format for all rows, of a chunk as of a file",
        lambda cell, message: cell.model.name == "parts of dates" and "doesn't match format" in message,
    ),
    Rule(
        REFUSED,
        "an integer beyond 64 bits is a bad row in a column that the model leaves open",
        lambda cell, _: (
            cell.file.variant in ("unsigned_integers", "huge_integers")
            and (cell.model.family == "own" or "FunctionTransformer" in cell.model.name)
        ),
    ),
    Rule(
        REFUSED,
        "the model was fitted on pandas's categories, which no CSV file has",
        lambda cell, _: cell.model.family in ("LightGBM", "XGBoost") and cell.model.read == models.CATEGORIES,
    ),
    Rule(
        REFUSED,
        "the first rows, as far as a probe reads, are of a narrower type than the column, and the model takes only the column's",
        lambda _, message: "if a column is of another type in later rows, state it in column_types" in message,
    ),
    Rule(
        REFUSED,
        "the model was saved with another version of scipy than the package's",
        lambda _, message: "saved with another version of scipy" in message,
    ),
]


def allowed(kind, cell, message):
    return next((rule.reason for rule in RULES if rule.kind == kind and rule.holds(cell, message)), None)


# --- cells ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file to score: its records with their line ends, the header first."""

    variant: str
    records: tuple[bytes, ...]
    twins: tuple[tuple[bytes, ...], ...] = ()
    """The records with 1 and 0 for True and False in columns that the model was fitted on as numbers; also in those of booleans."""

    @property
    def content(self):
        return b"".join(self.records)

    def cuts(self, rows):
        """Return the bytes at which every so many rows end."""
        edges = list(itertools.accumulate(map(len, self.records)))
        return edges[rows : len(edges) - 1 : rows]


def without(records, rows):
    """Return a file without some rows (from 0)."""
    return b"".join(record for row, record in enumerate(records, start=-1) if row not in rows)


@dataclass(frozen=True)
class Cell:
    model: models.Model
    file: File
    method: str
    cut: str
    quarantine: bool = False

    def __str__(self):
        bad_rows = ", quarantine" if self.quarantine else ""
        return f"{self.model.name} | {self.file.variant} | {self.cut} | {self.method}{bad_rows}"


CUTS = ("one chunk", "several chunks", "several blocks")
IN_ALL_CUTS = ("missing_first", "text_then_digits", "booleans_then_missing", "integers_then_decimals")
"""Variants that are also scored in one chunk, of one block and of several."""
OF_PLAIN_NUMBERS = {
    *("plain", "missing", "missing_last", "one_row", "swapped", "decimals", "infinite", "large_integers"),
    *("text_among_numbers", "booleans_among_numbers"),
}
"""Variants for the many models of plain numbers, to which the handler gives the same."""
NO_INTEGERS = ("text_among_numbers", "booleans_among_numbers")
"""Not for own steps behind scikit-learn's: there one row that is no number makes floats of the column's integers."""
SEVERAL_ROWS, BLOCK_BYTES, FEW_PROBED = 5, 300, 3


def file_of(model, variant):
    columns = files.to_score(variant)
    written = lambda: tuple(record.encode() for record in files.written(columns, list(columns)))  # noqa: E731
    records, twins = written(), []
    fitted = models.training_frame(**model.read)
    for types in (("int64", "float64"), ("bool", "object")):
        for name in model.features:
            if str(fitted[name].dtype) in types:
                columns[name] = [{"true": "1", "false": "0"}.get(value.lower(), value) for value in columns[name]]
        twins.append(written())
    return File(variant, records, tuple(twins))


def files_of(model, variants):
    """Return the files that differ in a column that the model is given."""
    chosen = {}
    for variant in variants:
        columns = files.to_score(variant)
        tells_integers = model.family == "own" and set(model.features) <= set(files.INTEGERS)
        if tells_integers and variant in NO_INTEGERS:
            continue
        if model.features != models.PLAIN or variant in OF_PLAIN_NUMBERS:
            chosen.setdefault(repr([columns[name] for name in model.features]), variant)
    return [file_of(model, variant) for variant in chosen.values()]


def job_of(cell, path):
    """Describe a cell to the worker."""
    return {
        "model": str(path),
        "csv": cell.file.content,
        "features": cell.model.features,
        "method": cell.method,
        "quarantine": cell.quarantine,
        "cuts": cell.file.cuts(SEVERAL_ROWS) if cell.cut == "several chunks" else [],
        "block_bytes": BLOCK_BYTES if cell.cut == "several blocks" else None,
        "probe_rows": 1000 if cell.cut == "one chunk" else FEW_PROBED,
    }


# --- the reference --------------------------------------------------------------------------------------------------------------


class Reference(NamedTuple):
    """What pandas and the model make of a file: predictions and their names, or what they raise, and then no rows."""

    rows: list[list[Any]] | None
    names: tuple[str, ...] | list[str] = ()
    error: str = ""


def reference(model, estimator, content, method, *, as_fitted=False, rows=None):
    """Predict a file's DataFrame, whole or some rows of it."""
    try:
        read = {**model.read, **(fitted_types(model, content) if as_fitted else {})}
        frame = pd.read_csv(io.BytesIO(content), **read)[model.features]
        frame = frame if rows is None else frame.iloc[list(rows)]
        if frame.empty:
            return Reference([])
        with warnings.catch_warnings(action="ignore"):
            answer = getattr(estimator, method)(frame[model.features[0]] if model.as_series else frame)
        return Reference(as_rows(answer), names_of(estimator, method, answer))
    except Exception as error:  # noqa: BLE001  # models raise what they like
        return Reference(None, error=f"{type(error).__name__}: {error}")


def as_rows(answer):
    if hasattr(answer, "toarray"):
        answer = answer.toarray()
    if isinstance(answer, list):  # an array for each output
        answer = np.hstack([np.asarray(output) for output in answer])
    array = np.asarray(answer)
    return array.reshape(len(array), -1).tolist()


def names_of(estimator, method, answer):
    """Return the names that the prediction columns should have (docs/request.md)."""
    classes = getattr(estimator, "classes_", None)
    if isinstance(answer, list):
        return [f"{worker.PREDICTION}_{index}_{label}" for index, labels in enumerate(classes) for label in labels]
    shape = answer.shape
    if len(shape) == 1 or shape[1] == 1:
        return [worker.PREDICTION]
    one_dimension = classes is not None and not isinstance(classes, list) and np.ndim(classes) == 1 and len(classes) == shape[1]
    last = estimator.steps[-1][1] if hasattr(estimator, "steps") else estimator
    is_pairs = method == "decision_function" and getattr(last, "decision_function_shape", None) == "ovo"
    is_multilabel = method != "predict" or getattr(estimator, "multilabel_", False)
    labels = classes if one_dimension and not is_pairs and is_multilabel else range(shape[1])
    return [f"{worker.PREDICTION}_{label}" for label in labels]


NOT_AS = {"f": "iubO", "i": "O", "u": "O", "b": "O"}
"""By the kind of a column's NumPy type when the model was fitted: those that a file's values are turned from into float64."""


def fitted_types(model, content):
    """Return for `pandas.read_csv` the types that columns had when the model was fitted, where a file's values look like others.

    Texts stay texts, and numbers are numbers or an error.
    """
    fitted = models.training_frame(**model.read)[model.features]
    found = pd.read_csv(io.BytesIO(content), **model.read)[model.features]
    texts = {name: str for name in model.features if isinstance(fitted[name].dtype, (pd.StringDtype, pd.CategoricalDtype))}
    numbers = {name: "float64" for name in model.features if found[name].dtype.kind in NOT_AS.get(fitted[name].dtype.kind, "")}
    return {"dtype": {**model.read.get("dtype", {}), **texts, **numbers}}


# --- verdicts -------------------------------------------------------------------------------------------------------------------


class Verdict(NamedTuple):
    kind: str
    words: str = ""
    """What differs, or why it may."""


def read_output(file, answer):
    """Split an output into the names and values of its predictions."""
    names, *records = csv.reader(io.StringIO(answer["output"].decode(), newline=""), strict=True)
    width = len(next(csv.reader([file.records[0].decode()])))
    return names[width:], [row[width:] for row in records]


def is_equal(expected, written, largest):
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        try:
            value = float(written)
        except ValueError:
            return False
        if value == expected or (value != value and expected != expected):  # noqa: PLR0124  # NaN
            return True
        return abs(value - expected) <= RELATIVE * abs(expected) + OF_THE_LARGEST * largest
    return str(expected) == written


def difference(expected, names, rows):
    """Say where written predictions are not the reference's; None where all are the same."""
    wanted = expected.rows
    if wanted is None:
        return expected.error[:300]
    if len(rows) != len(wanted):
        return f"{len(rows)} rows are written, {len(wanted)} are expected"
    if wanted and names != expected.names:
        return f"the columns are called {names}, expected {expected.names}"
    largest = max(
        (abs(value) for row in wanted for value in row if isinstance(value, (int, float)) and np.isfinite(value)), default=0
    )
    for number, (want, row) in enumerate(zip(wanted, rows, strict=True), start=1):
        if len(want) != len(row) or not all(map(is_equal, want, row, itertools.repeat(largest))):
            return f"row {number} is {row}, expected {want}"
    return None


def is_named(answer):
    return not answer["error"].startswith("unnamed") and answer["error"] != "InternalError"


class Table:
    """Fitted models, their cells, and the references: made once, and held against the handler in each place."""

    def __init__(self, directory, chosen, variants):
        self.directory = directory
        self.estimators = {}
        self.cells = []
        self._references = {}
        for model in chosen:
            with warnings.catch_warnings(action="ignore"):
                try:
                    estimator = models.fit(model)
                except Exception:
                    if model.family in models.SWEPT:  # it is not made for plain numbers
                        continue
                    raise
            if hasattr(estimator, "predict"):
                self.estimators[model.name] = estimator
                joblib.dump(estimator, self._path(model))
                self.cells += self._cells_of(model, variants)

    def _path(self, model):
        return self.directory / f"model-{list(self.estimators).index(model.name):03d}.joblib"

    def _cells_of(self, model, variants):
        cells = []
        methods = [method for method in models.SCORES[1:] if hasattr(self.estimators[model.name], method)]
        for file in files_of(model, variants):
            cuts = CUTS[:1] if len(file.records) == 2 else CUTS if file.variant in IN_ALL_CUTS else CUTS[1:2]
            cells += [Cell(model, file, "predict", cut) for cut in cuts]
            if self._expected(cells[-1]).rows is None:
                cells.append(Cell(model, file, "predict", cuts[-1], quarantine=True))
            if file.variant in ("plain", "missing"):
                cells += [Cell(model, file, method, CUTS[1]) for method in methods]
        return cells

    def _expected(self, cell, content=None, *, as_fitted=False, rows=None):
        """Return what the model predicts for a cell's file, or for other content in its place."""
        content = cell.file.content if content is None else content
        key = cell.model.name, content, cell.method, as_fitted, rows
        if key not in self._references:
            estimator = self.estimators[cell.model.name]
            self._references[key] = reference(cell.model, estimator, content, cell.method, as_fitted=as_fitted, rows=rows)
        return self._references[key]

    def _readings(self, cell, rejected=frozenset()):
        """Yield what the model predicts for the rows that are not rejected, however they may be read, with the verdict for it.

        The handler takes True and False in a column of numbers for 1 and 0, as in the file's twin; pandas does not.
        """
        for kind, records in ((SAME, cell.file.records), *((LENIENT, twin) for twin in cell.file.twins)):
            for as_fitted in ways_to_read(cell):
                expected = self._expected(cell, without(records, rejected), as_fitted=as_fitted)
                yield (AS_FITTED if as_fitted and kind == SAME else kind), expected

    def run(self, place):
        """Score all cells in a place, and judge what comes back."""
        answers = place.score([job_of(cell, self._path(cell.model)) for cell in self.cells], self.directory)
        return [(cell, self.judge(cell, answer)) for cell, answer in zip(self.cells, answers, strict=True)]

    def judge(self, cell, answer):
        if "error" in answer:
            return self._judge_error(cell, answer)
        names, rows = read_output(cell.file, answer)
        return self._judge_quarantine(cell, answer, names, rows) if cell.quarantine else self._judge_predictions(cell, names, rows)

    def _judge_error(self, cell, answer):
        words = f"{answer['error']}: {answer['message']}"
        if not is_named(answer):
            return Verdict(DIFFERENT, words + answer["cause"][-300:])
        if cell.quarantine or self._expected(cell).rows is None:
            return Verdict(BOTH_FAIL, words)
        if reason := allowed(REFUSED, cell, words):
            return Verdict(REFUSED, reason)
        if any(self._expected(cell, as_fitted=as_fitted).rows is None for as_fitted in ways_to_read(cell)):
            return Verdict(AS_FITTED, words)
        return Verdict(DIFFERENT, f"refused: {words}")

    def _judge_predictions(self, cell, names, rows):
        for kind, expected in self._readings(cell):
            if difference(expected, names, rows) is None:
                return Verdict(kind, "booleans are numbers" if kind == LENIENT else "")
        expected = self._expected(cell)
        if expected.rows is None and (reason := allowed(LENIENT, cell, expected.error)):
            return Verdict(LENIENT, reason)
        return Verdict(DIFFERENT, f"predicts {rows[:2]}; {difference(expected, names, rows)}")

    def _judge_quarantine(self, cell, answer, names, rows):
        """Judge an output whose bad rows are set apart: the others are predicted as in a file without these."""
        rejected = frozenset(row for row, values in enumerate(rows) if not any(values))
        kept = [values for values in rows if any(values)]
        listed = sum(len(list(csv.reader(io.StringIO(part)))) - 1 for part in answer["rejected"])
        if listed != len(rejected):
            return Verdict(DIFFERENT, f"{len(rejected)} rows have no prediction, {listed} are listed as rejected")
        verdict = self._judge_kept(cell, names, kept, rejected)
        if verdict.kind == BOTH_FAIL:
            for row in sorted(rejected):
                alone = without(cell.file.records, set(range(len(rows))) - {row})
                among_kept = without(cell.file.records, rejected - {row})
                expected = [self._expected(cell, alone), self._expected(cell, among_kept), self._of_whole(cell, [row])]
                if all(found.rows is not None for found in expected):
                    return Verdict(DIFFERENT, f"row {row + 1} is rejected, and could be predicted: {answer['rejected']}"[:600])
        return verdict

    def _judge_kept(self, cell, names, kept, rejected):
        """Judge the rows with a prediction, beside those that have none."""
        words = f"{len(rejected)} rows are set apart"
        readings = list(self._readings(cell, rejected))
        if not kept and any(expected.rows is None for kind, expected in readings if kind != LENIENT):
            return Verdict(BOTH_FAIL, words)
        typed_as_whole = self._of_whole(cell, [row for row in range(len(cell.file.records) - 1) if row not in rejected])
        for kind, expected in [(SAME, typed_as_whole), *readings]:
            if difference(expected, names, kept) is None:
                return Verdict(LENIENT, "booleans are numbers") if kind == LENIENT else Verdict(BOTH_FAIL, words)
        expected = readings[0][1]
        if reason := allowed(LENIENT, cell, expected.error):
            return Verdict(LENIENT, reason)
        return Verdict(DIFFERENT, difference(expected, names, kept))

    def _of_whole(self, cell, rows):
        """Return what the model makes of some rows, typed as pandas types the whole file."""
        return self._expected(cell, rows=tuple(rows))


def ways_to_read(cell):
    """Return whether types are as fitted, for each way: own functions and classes do not determine the types of texts."""
    return (False,) if cell.model.family == "own" else (False, True)


# --- places ---------------------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where the handler runs."""

    name: str
    command: list[str]
    """Without the program."""
    environment: dict[str, str]

    def score(self, jobs, directory):
        """Score jobs in one process, and return its answers."""
        own = directory / "own" / "differential"  # the module that models hold by its name, and nothing else of the project
        if not own.exists():
            own.mkdir(parents=True)
            (own / "__init__.py").touch()
            shutil.copy(own_steps.__file__, own)
            shutil.copy(worker.__file__, own.parent)
        sent, received = directory / f"{self.name}-jobs.pickle", directory / f"{self.name}-answers.pickle"
        sent.write_bytes(pickle.dumps(jobs))
        paths = os.pathsep.join([self.environment["PYTHONPATH"], str(own.parent)])
        done = subprocess.run(
            [*self.command, str(own.parent / "worker.py"), str(sent), str(received)],
            env={**self.environment, "PYTHONPATH": paths, "TMPDIR": str(directory)},
            cwd=directory,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"the handler's process in {self.name} ended with {done.returncode}:\n{done.stderr[-3000:]}")
        return pickle.loads(received.read_bytes())


def environment_place():
    """Return the project's environment, the functions' folder on its path."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AWS_PROFILE")}
    variables |= {"PYTHONPATH": str(ROOT / "functions/predict"), "PYTHONDONTWRITEBYTECODE": "1", "AWS_DEFAULT_REGION": "us-east-1"}
    variables |= {"PREDICT_KERNEL_LIBRARY": str(library)} if (library := kernel.local_kernel()) else {}
    return Place("environment", [sys.executable, "-P"], variables)


def summary(verdicts):
    """Count verdicts by family of models, and cells by the reason why they may be lenient or refused."""
    frame = pd.DataFrame([(cell.model.family, *verdict) for cell, verdict in verdicts], columns=["family", "kind", "words"])
    reasons = frame[frame["kind"].isin((LENIENT, REFUSED))].value_counts(["kind", "words"])
    return f"{pd.crosstab(frame['family'], frame['kind'], margins=True).to_string()}\n{reasons.to_string()}"
