"""The differential table: what the handler writes beside what `model.predict(pandas.read_csv(file)[columns])` gives, cell by cell.

A cell is a model, a file, a cut into chunks and a method. What counts as right:

same        labels are equal, numbers within 1e-9 of their size, NaN is NaN, and the columns have the right names
as fitted   the same, where the file is read with the types that the columns had when the model was fitted (docs/request.md)
both fail   pandas or the model raises, and the handler ends in a named error
lenient     the handler predicts where pandas or the model raises: only what LENIENCIES lists
refused     the handler ends in a named error where the model predicts: only what REFUSALS lists
by batch    the model itself answers differently for a DataFrame and for its slices, which are the chunks
different   all else; there may be none
"""

from __future__ import annotations

import csv
import io
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import warnings
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import joblib
import numpy as np
import pandas as pd

from differential import files, models, own_steps, worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from differential.models import Model

ROOT = Path(__file__).parents[2]
RELATIVE, OF_THE_LARGEST = 1e-9, 1e-13
"""How far numbers may differ: of themselves, and of the largest prediction, since sums end near zero by chance."""

SAME, AS_FITTED, BOTH_FAIL, DIFFERENT = "same", "as fitted", "both fail", "different"
LENIENT, REFUSED, BATCH = "lenient", "refused", "by batch"


BOOLEANS_AS_NUMBERS = {"true": "1", "false": "0"}
TWIN_REASON = "`True` and `False` in a column of numbers are 1 and 0"
"""What the handler takes and pandas does not: it predicts what is predicted for the file's twin, where the words are numbers."""


class Rule(NamedTuple):
    """Cells that need not be the same, and why."""

    reason: str
    holds: Callable[[Cell, str], bool]
    """Takes the cell, and the model's message where the handler is lenient, the handler's where it refuses."""


BEYOND_64_BITS = ("unsigned_integers", "huge_integers")
BEYOND_REASON = "an integer beyond 64 bits is a bad row in a column that the model leaves open"


def _leaves_open(cell: Cell) -> bool:
    return cell.model.family == "own" or "FunctionTransformer" in cell.model.name


LENIENCIES = [
    Rule(
        "a column of which a step looks at nothing but what is missing may hold anything",
        lambda cell, message: cell.model.name.startswith("MissingIndicator") and "contains infinity" in message,
    ),
    Rule(
        "pandas.to_datetime takes the first row's format for all rows, of a chunk as of a file",
        lambda cell, message: cell.model.name == "parts of dates" and "doesn't match format" in message,
    ),
]
REFUSALS = [
    Rule(BEYOND_REASON, lambda cell, _message: cell.file.variant in BEYOND_64_BITS and _leaves_open(cell)),
    Rule(
        "the model was fitted on pandas's categories, which no CSV file has",
        lambda cell, _message: cell.model.family in ("LightGBM", "XGBoost") and cell.model.read == models.CATEGORIES,
    ),
    Rule(
        "the first rows, as far as a probe reads, are of a narrower type than the column, and the model takes only the column's",
        lambda _cell, message: "if a column is of another type in later rows, state it in column_types" in message,
    ),
    Rule(
        "the model was saved with another version of scipy than the package's",
        lambda _cell, message: "saved with another version of scipy" in message,
    ),
]


# --- cells ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class File:
    """A file to score, and where it may be cut."""

    variant: str
    form: str
    records: tuple[bytes, ...]
    """With their line ends, the header first."""

    twins: list[tuple[bytes, ...]] = field(default_factory=list, compare=False)
    """The records with 1 and 0 for True and False in columns that the model was fitted on as numbers; also in those of booleans."""

    @property
    def content(self) -> bytes:
        return b"".join(self.records)

    def without(self, rows: set[int]) -> bytes:
        """Return the file without some rows (from 0)."""
        return without(self.records, rows)

    def cuts(self, rows: int) -> list[int]:
        """Return the bytes at which every so many rows end."""
        edges = list(itertools.accumulate(map(len, self.records)))
        return edges[rows : len(edges) - 1 : rows]


def without(records: tuple[bytes, ...], rows: set[int]) -> bytes:
    return b"".join(record for row, record in enumerate(records, start=-1) if row not in rows)


@dataclass(frozen=True)
class Cell:
    model: Model
    file: File
    method: str
    cut: str
    quarantine: bool = False

    def __str__(self) -> str:
        bad_rows = ", quarantine" if self.quarantine else ""
        return f"{self.model.name} | {self.file.variant}, {self.file.form} | {self.cut} | {self.method}{bad_rows}"


CUTS = ("one chunk", "several chunks", "several blocks")
IN_ALL_CUTS = ("missing", "missing_first", "digits_then_text", "booleans_then_missing", "integers_then_decimals", "large_integers")
"""Variants that are also scored in one chunk, of one block and of several."""
OF_PLAIN_NUMBERS = {
    *("plain", "missing", "missing_last", "one_row", "swapped", "spellings_of_numbers", "decimals", "infinite", "large_integers"),
    *("text_among_numbers", "booleans_among_numbers"),
}
SEVERAL_ROWS, BLOCK_BYTES, FEW_PROBED = 5, 300, 3
FORMS = (
    "usual",
    "CRLF and a byte order mark",
    "all quoted",
    "features alone",
    "features alone and blank lines",
    "blank lines at the end",
)


def file_of(model: Model, variant: str, form: str) -> File:
    columns = files.to_score()
    files.VARIANTS[variant](columns)
    names = model.features if form.startswith("features alone") else list(columns)
    is_crlf, is_quoted = form.startswith("CRLF"), form == "all quoted"
    records = [
        record.encode() for record in files.written(columns, names, line_end="\r\n" if is_crlf else "\n", quote_all=is_quoted)
    ]
    if is_crlf:
        records[0] = b"\xef\xbb\xbf" + records[0]
    if form.endswith("and blank lines"):
        records[4] += b"\n"
        records[-1] += b"\n\n"
    if form == "blank lines at the end":
        records[-1] += b"\n\n\n"
    fitted = models.training_frame(**model.read)
    twins = []
    for types in (("int64", "float64"), ("bool", "object")):
        for name in model.features:
            if str(fitted[name].dtype) in types:
                columns[name] = [BOOLEANS_AS_NUMBERS.get(value.lower(), value) for value in columns[name]]
        twins.append(tuple(record.encode() for record in files.written(columns, names)))
    return File(variant, form, tuple(records), twins)


def files_of(model: Model, variants: Iterable[str], *, all_forms: bool) -> list[File]:
    """Return the files that differ in a column that the model is given, and other forms of one of them."""
    chosen: dict[str, str] = {}
    for variant in variants:
        columns = files.to_score()
        files.VARIANTS[variant](columns)
        chosen.setdefault(repr([columns[name] for name in model.features]), variant)
    found = [file_of(model, variant, "usual") for variant in chosen.values()]
    if all_forms:
        for form in FORMS[1:]:
            is_blank = form == "features alone and blank lines"  # between records, which pandas leaves out of a file of one column
            if len(model.features) == 1 or not is_blank:
                found.append(file_of(model, "missing" if "missing" in chosen.values() else "plain", form))
    return found


def job_of(cell: Cell, path: Path) -> dict[str, Any]:
    """Describe a cell to the worker."""
    is_whole = cell.cut == "one chunk"
    return {
        "model": str(path),
        "csv": cell.file.content,
        "features": cell.model.features,
        "method": cell.method,
        "quarantine": cell.quarantine,
        "cuts": cell.file.cuts(SEVERAL_ROWS) if cell.cut == "several chunks" else [],
        "block_bytes": BLOCK_BYTES if cell.cut == "several blocks" else None,
        "probe_rows": 1000 if is_whole else FEW_PROBED,
    }


# --- the reference --------------------------------------------------------------------------------------------------------------


@dataclass
class Reference:
    """What pandas and the model make of a file: predictions and their names, or what they raise."""

    rows: list[list[Any]] | None
    names: list[str] = field(default_factory=list)
    error: str = ""


def reference(model: Model, estimator: Any, content: bytes, method: str, **read: Any) -> Reference:
    try:
        frame = pd.read_csv(io.BytesIO(content), **{**model.read, **read})[model.features]
        if frame.empty:
            return Reference([])
        features = frame[model.features[0]] if model.as_series else frame
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            answer = getattr(estimator, method)(features)
        return Reference(as_rows(answer, method), names_of(estimator, method, answer))
    except Exception as error:  # noqa: BLE001  # models raise what they like
        return Reference(None, error=f"{type(error).__name__}: {error}")


def of_frame(model: Model, estimator: Any, content: bytes, method: str, slices: Iterable[Iterable[int]], **read: Any) -> Reference:
    """Return what the model makes of a file's DataFrame, some rows at a time."""
    try:
        frame = pd.read_csv(io.BytesIO(content), **{**model.read, **read})[model.features]
        rows, names = [], []
        for chosen in slices:
            piece = frame.iloc[[row for row in chosen if row < len(frame)]]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                answer = getattr(estimator, method)(piece[model.features[0]] if model.as_series else piece)
            rows += as_rows(answer, method)
            names = names_of(estimator, method, answer)
        return Reference(rows, names)
    except Exception as error:  # noqa: BLE001  # models raise what they like
        return Reference(None, error=f"{type(error).__name__}: {error}")


def as_rows(answer: Any, method: str) -> list[list[Any]]:
    if hasattr(answer, "toarray"):
        answer = answer.toarray()
    if isinstance(answer, list):  # an array for each output
        answer = np.hstack([np.asarray(output) for output in answer])
    array = np.asarray(answer)
    return array.reshape(len(array), -1).tolist()


def names_of(estimator: Any, method: str, answer: Any) -> list[str]:
    """Return the names that the prediction columns should have (docs/request.md)."""
    classes = getattr(estimator, "classes_", None)
    if isinstance(answer, list):
        return [f"{worker.PREDICTION}_{index}_{label}" for index, labels in enumerate(classes) for label in labels]
    shape = answer.shape
    if len(shape) == 1 or shape[1] == 1:
        return [worker.PREDICTION]
    one_dimension = classes is not None and not isinstance(classes, list) and np.ndim(classes) == 1 and len(classes) == shape[1]
    is_pairs = method == "decision_function" and getattr(estimator, "decision_function_shape", None) == "ovo"
    is_pairs = is_pairs or (
        hasattr(estimator, "steps") and getattr(estimator.steps[-1][1], "decision_function_shape", None) == "ovo"
    )
    is_multilabel = method != "predict" or getattr(estimator, "multilabel_", False)
    labels = classes if one_dimension and not is_pairs and is_multilabel else range(shape[1])
    return [f"{worker.PREDICTION}_{label}" for label in labels]


NOT_AS = {"f": "iubO", "i": "O", "u": "O", "b": "O"}
"""By the kind of a column's NumPy type when the model was fitted: those that a file's values are turned from into float64."""


def fitted_types(model: Model, content: bytes) -> dict[str, Any]:
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
    words: str
    """What differs, or why it may."""


def read_output(cell: Cell, answer: dict[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Split an output into the names and values of its predictions; blank lines are no rows."""
    records = [row for row in csv.reader(io.StringIO(answer["output"].decode("utf-8-sig"), newline=""), strict=True) if row]
    width = len(next(csv.reader(io.StringIO(cell.file.records[0].decode("utf-8-sig")))))
    return records[0][width:], [row[width:] for row in records[1:]]


def is_equal(expected: Any, written: str, largest: float) -> bool:
    if isinstance(expected, (int, float)) and not isinstance(expected, bool):
        try:
            value = float(written)
        except ValueError:
            return False
        if value == expected or (value != value and expected != expected):  # noqa: PLR0124  # NaN
            return True
        return abs(value - expected) <= RELATIVE * abs(expected) + OF_THE_LARGEST * largest
    return str(expected) == written


def difference(expected: Reference, names: list[str], rows: list[list[str]]) -> str | None:
    """Say where written predictions are not the reference's; None where all are the same."""
    wanted = expected.rows or []
    if len(rows) != len(wanted):
        return f"{len(rows)} rows are written, {len(wanted)} are expected"
    if wanted and names != expected.names:
        return f"the columns are called {names}, expected {expected.names}"
    numbers = [abs(value) for row in wanted for value in row if isinstance(value, (int, float)) and np.isfinite(value)]
    largest = max(numbers, default=0.0)
    wrong = [
        index
        for index, (want, row) in enumerate(zip(wanted, rows, strict=True))
        if len(want) != len(row) or not all(map(is_equal, want, row, itertools.repeat(largest)))
    ]
    if not wrong:
        return None
    first = wrong[0]
    return f"{len(wrong)} of {len(rows)} rows, the first is row {first + 1}: {rows[first]}, expected {wanted[first]}"


def is_named(answer: dict[str, Any]) -> bool:
    return not answer["error"].startswith("unnamed") and answer["error"] != "InternalError"


def allowed(rules: list[Rule], cell: Cell, message: str) -> str | None:
    return next((rule.reason for rule in rules if rule.holds(cell, message)), None)


class Table:
    """Fitted models, their cells, and the references: made once, and held against the handler in each place."""

    def __init__(self, directory: Path, chosen: Iterable[Model], variants: Iterable[str], *, is_whole: bool) -> None:
        self.directory = directory
        self.estimators: dict[str, Any] = {}
        self.paths: dict[str, Path] = {}
        self.cells: list[Cell] = []
        self._references: dict[tuple[str, bytes, str, bool], Reference] = {}
        self.missing = [model for model in chosen if not models.is_here(model)]
        for model in chosen:
            if model in self.missing:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator = models.fit(model)
            self.estimators[model.name] = estimator
            self.paths[model.name] = directory / f"model-{len(self.paths):03d}.joblib"
            joblib.dump(estimator, self.paths[model.name])
            self.cells += self._cells_of(model, variants, is_whole=is_whole)

    def _cells_of(self, model: Model, variants: Iterable[str], *, is_whole: bool) -> list[Cell]:
        cells = []
        methods = [method for method in models.SCORES[1:] if hasattr(self.estimators[model.name], method)]
        if model.features == models.PLAIN and model.name not in models.IN_SMALL_TABLE:  # many, to which the handler gives the same
            variants = [variant for variant in variants if variant in OF_PLAIN_NUMBERS]
        for file in files_of(model, variants, all_forms=is_whole and model.features != models.PLAIN):
            if len(file.records) == 2:
                cuts = CUTS[:1]
            elif file.form != "usual":
                cuts = CUTS[:2]
            else:
                cuts = CUTS if is_whole and file.variant in IN_ALL_CUTS else CUTS[1:2]
            cells += [Cell(model, file, "predict", cut) for cut in cuts]
            if self.expected(model, file.content, "predict").rows is None:
                cells.append(Cell(model, file, "predict", cuts[-1], quarantine=True))
            if file.form == "usual" and file.variant in ("plain", "missing"):
                cells += [Cell(model, file, method, CUTS[1]) for method in methods]
        return cells

    def expected(self, model: Model, content: bytes, method: str, *, as_fitted: bool = False) -> Reference:
        key = model.name, content, method, as_fitted
        if key not in self._references:
            read = fitted_types(model, content) if as_fitted else {}
            self._references[key] = reference(model, self.estimators[model.name], content, method, **read)
        return self._references[key]

    def run(self, place: Place) -> list[tuple[Cell, Verdict]]:
        """Score all cells in a place, and judge what comes back."""
        answers = place.score([job_of(cell, self.paths[cell.model.name]) for cell in self.cells], self.directory)
        return [(cell, self.judge(cell, answer)) for cell, answer in zip(self.cells, answers, strict=True)]

    def judge(self, cell: Cell, answer: dict[str, Any]) -> Verdict:
        if cell.quarantine:
            return self._judge_quarantine(cell, answer)
        return self._judge_error(cell, answer) if "error" in answer else self._judge_predictions(cell, answer)

    def _judge_error(self, cell: Cell, answer: dict[str, Any]) -> Verdict:
        words = f"{answer['error']}: {answer['message']}"
        if not is_named(answer):
            return Verdict(DIFFERENT, words + answer["cause"][-300:])
        if self.expected(cell.model, cell.file.content, cell.method).rows is None:
            return Verdict(BOTH_FAIL, words)
        if reason := allowed(REFUSALS, cell, words):
            return Verdict(REFUSED, reason)
        if may_be_as_fitted(cell) and self.expected(cell.model, cell.file.content, cell.method, as_fitted=True).rows is None:
            return Verdict(AS_FITTED, words)
        return Verdict(BATCH, words) if self._is_by_batch(cell, None, []) else Verdict(DIFFERENT, f"refused: {words}")

    def _judge_predictions(self, cell: Cell, answer: dict[str, Any]) -> Verdict:
        names, rows = read_output(cell, answer)
        for kind, as_fitted in ((SAME, False), (AS_FITTED, True))[: 1 + may_be_as_fitted(cell)]:
            expected = self.expected(cell.model, cell.file.content, cell.method, as_fitted=as_fitted)
            if expected.rows is not None and difference(expected, names, rows) is None:
                return Verdict(kind, "")
        expected = self.expected(cell.model, cell.file.content, cell.method)
        reason = TWIN_REASON if self._is_twins(cell, names, rows, set()) else None
        if reason or (expected.rows is None and (reason := allowed(LENIENCIES, cell, expected.error))):
            return Verdict(LENIENT, reason)
        if self._is_by_batch(cell, names, rows):
            return Verdict(BATCH, "")
        words = f"predicts {rows[:2]}; expected {expected.error[:200]}" if expected.rows is None else None
        return Verdict(DIFFERENT, words or difference(expected, names, rows) or "")

    def _of_whole(self, cell: Cell, rows: list[int]) -> Reference:
        """Return what the model makes of some rows, typed as pandas types the whole file."""
        return of_frame(cell.model, self.estimators[cell.model.name], cell.file.content, cell.method, [rows])

    def _is_by_batch(self, cell: Cell, names: list[str] | None, rows: list[list[str]]) -> bool:
        """Tell whether the model itself predicts these rows, or refuses some, for the slices of a DataFrame that the chunks are.

        How many rows a block has nobody knows: there it is enough that single rows differ from the whole.
        """
        if cell.cut == "one chunk":
            return False
        size = SEVERAL_ROWS if cell.cut == "several chunks" else 1
        slices = [range(start, start + size) for start in range(0, len(cell.file.records) - 1, size)]
        for as_fitted in (False, True)[: 1 + may_be_as_fitted(cell)]:
            read = fitted_types(cell.model, cell.file.content) if as_fitted else {}
            found = of_frame(cell.model, self.estimators[cell.model.name], cell.file.content, cell.method, slices, **read)
            if found.rows is None and names is None:
                return True
            if found.rows is None or names is None:
                continue
            whole = self.expected(cell.model, cell.file.content, cell.method, as_fitted=as_fitted)
            if difference(found, names, rows) is None:
                return True
            printed = [[str(value) for value in row] for row in found.rows]
            if size == 1 and whole.rows is not None and difference(whole, found.names, printed) is not None:
                return True
        return False

    def _is_twins(self, cell: Cell, names: list[str], rows: list[list[str]], rejected: set[int]) -> bool:
        """Tell whether predictions are those for the file's twin."""
        for twin in cell.file.twins:
            for as_fitted in (False, True)[: 1 + may_be_as_fitted(cell)]:
                expected = self.expected(cell.model, without(twin, rejected), cell.method, as_fitted=as_fitted)
                if expected.rows is not None and difference(expected, names, rows) is None:
                    return True
        return False

    def _judge_quarantine(self, cell: Cell, answer: dict[str, Any]) -> Verdict:
        """Judge an output whose bad rows are set apart: the others are predicted as in a file without these."""
        if "error" in answer:
            words = f"{answer['error']}: {answer['message']}"
            return Verdict(BOTH_FAIL if is_named(answer) else DIFFERENT, words)
        names, rows = read_output(cell, answer)
        empty = {row for row, values in enumerate(rows) if not any(values)}
        kept = [values for values in rows if any(values)]
        listed = sum(len(list(csv.reader(io.StringIO(part)))) - 1 for part in answer["rejected"])
        if listed != len(empty):
            return Verdict(DIFFERENT, f"{len(empty)} rows have no prediction, {listed} are listed as rejected")
        verdict = self._judge_kept(cell, names, kept, empty)
        if verdict.kind == BOTH_FAIL:
            for row in sorted(empty):
                contents = cell.file.without(set(range(len(rows))) - {row}), cell.file.without(empty - {row})
                alone = [self.expected(cell.model, content, cell.method) for content in contents]
                if all(expected.rows is not None for expected in [*alone, self._of_whole(cell, [row])]):
                    return Verdict(DIFFERENT, f"row {row + 1} is rejected, and could be predicted: {answer['rejected']}"[:600])
        return verdict

    def _judge_kept(self, cell: Cell, names: list[str], kept: list[list[str]], empty: set[int]) -> Verdict:
        """Judge the rows with a prediction, beside those that have none."""
        remaining, words = cell.file.without(empty), f"{len(empty)} rows are set apart"
        references = [self.expected(cell.model, remaining, cell.method)]
        if may_be_as_fitted(cell):
            references.append(self.expected(cell.model, remaining, cell.method, as_fitted=True))
        if not kept and any(expected.rows is None for expected in references):
            return Verdict(BOTH_FAIL, words)
        references.append(self._of_whole(cell, [row for row in range(len(cell.file.records) - 1) if row not in empty]))
        if any(expected.rows is not None and difference(expected, names, kept) is None for expected in references):
            return Verdict(BOTH_FAIL, words)
        reason = TWIN_REASON if self._is_twins(cell, names, kept, empty) else None
        if reason or (reason := allowed(LENIENCIES, cell, references[0].error)):
            return Verdict(LENIENT, reason)
        return Verdict(DIFFERENT, references[0].error[:300] or difference(references[0], names, kept) or "")


def may_be_as_fitted(cell: Cell) -> bool:
    """Tell whether the model determines the types of its texts; own functions and classes do not."""
    return cell.model.family != "own"


# --- places ---------------------------------------------------------------------------------------------------------------------


class Place(NamedTuple):
    """Where the handler runs."""

    name: str
    command: list[str]
    """Without the program."""
    environment: dict[str, str]

    def score(self, jobs: list[dict[str, Any]], directory: Path) -> list[dict[str, Any]]:
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


def environment_place() -> Place:
    """Return the project's environment, the functions' folder on its path."""
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "AWS_PROFILE")}
    variables |= {"PYTHONPATH": str(ROOT / "functions/predict"), "PYTHONDONTWRITEBYTECODE": "1", "AWS_DEFAULT_REGION": "us-east-1"}
    return Place("environment", [sys.executable, "-P"], variables)


# --- what is shown --------------------------------------------------------------------------------------------------------------


def summary(verdicts: list[tuple[Cell, Verdict]]) -> str:
    """Return a line for each family of models, and each reason for what is lenient or refused."""
    kinds = (SAME, AS_FITTED, BOTH_FAIL, BATCH, LENIENT, REFUSED, DIFFERENT)
    lines = [f"| family | models | {' | '.join(kinds)} |", "|---|---:|" + "---:|" * len(kinds)]
    families = list(dict.fromkeys(cell.model.family for cell, _ in verdicts))
    for family in [*families, "all"]:
        mine = [(cell, verdict) for cell, verdict in verdicts if family in (cell.model.family, "all")]
        counts = Counter(verdict.kind for _, verdict in mine)
        names = len({cell.model.name for cell, _ in mine})
        lines.append(f"| {family} | {names} | {' | '.join(str(counts[kind]) for kind in kinds)} |")
    for kind in (LENIENT, REFUSED):
        reasons = Counter(verdict.words for _, verdict in verdicts if verdict.kind == kind)
        lines += [f"{kind}: {count} cells: {reason}" for reason, count in reasons.most_common()]
    return "\n".join(lines)


def wrong(verdicts: list[tuple[Cell, Verdict]], family: str | None = None) -> list[str]:
    return [
        f"{cell}: {verdict.words}"
        for cell, verdict in verdicts
        if verdict.kind == DIFFERENT and family in (None, cell.model.family)
    ]
