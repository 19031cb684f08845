"""The CSV files of the differential table: one that models are fitted on, and variants of one that they score.

Every cell is text here, as it stands in the file. What it means is pandas's business, and the handler's: that is what is compared.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Columns = dict[str, list[str]]

TRAINING_ROWS, ROWS = 120, 20
HALF = ROWS // 2

CITIES = ["Zürich", "Paris", "New York, NY", 'the "Hague"', "Łódź"]
PLANS = ["basic", "plus", "pro"]
JOBS = ["nurse", "cook", "pilot"]
ZIPS = ["00501", "10001", "02134", "94103"]
CODES = ["007", "012", "A12", "B7", "1E5"]
COUNTRIES = ["NA", "ZA", "BW", "None"]
WORDS = ["refund", "my", "order", "great", "product", "where", "is", "parcel", "broken", "on", "arrival", "works", "well"]

NUMBERS = ("age", "height", "rank", "dose", "visits", "serial")
INTEGERS = ("age", "rank", "visits", "serial")
BOOLEANS = ("paid", "smoker")
TEXTS = ("city", "plan", "job", "zip", "code", "country", "note", "day")
MAY_BE_MISSING = ("dose", "visits", "smoker", "job")


def _columns(rows: int, seed: int, *, missing: float) -> Columns:
    """Make a file's columns; `missing` is the share of missing values in the columns that have any."""
    chance = random.Random(seed)
    columns: Columns = {
        "id": [f"{row:05d}" for row in range(rows)],
        "age": [str(chance.randint(18, 90)) for _ in range(rows)],
        "height": [f"{chance.gauss(170, 12):.1f}" for _ in range(rows)],
        "rank": [str(chance.randint(-50, 50)) for _ in range(rows)],
        "dose": [f"{chance.expovariate(0.05):.3f}" for _ in range(rows)],
        "visits": [str(chance.randint(0, 9)) for _ in range(rows)],
        "serial": [str(1000 * chance.randint(1, 10**6)) for _ in range(rows)],
        "paid": [chance.choice(["True", "False"]) for _ in range(rows)],
        "smoker": [chance.choice(["True", "False"]) for _ in range(rows)],
        "city": [chance.choice(CITIES) for _ in range(rows)],
        "plan": [chance.choice(PLANS) for _ in range(rows)],
        "job": [chance.choice(JOBS) for _ in range(rows)],
        "zip": [chance.choice(ZIPS) for _ in range(rows)],
        "code": [chance.choice(CODES) for _ in range(rows)],
        "country": [chance.choice(COUNTRIES) for _ in range(rows)],
        "note": [" ".join(chance.choices(WORDS, k=4)) for _ in range(rows)],
        "day": [f"20{chance.randint(19, 24)}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}" for _ in range(rows)],
    }
    for name in MAY_BE_MISSING:
        columns[name] = ["" if chance.random() < missing else value for value in columns[name]]
    return columns


def training() -> Columns:
    return _columns(TRAINING_ROWS, seed=1, missing=0.15)


def to_score() -> Columns:
    """Return the file whose variants are scored; it has no missing value."""
    return _columns(ROWS, seed=2, missing=0.0)


def written(columns: Columns, names: list[str], *, line_end: str = "\n", quote_all: bool = False) -> list[str]:
    """Return a CSV file's records with their line ends, the header first.

    A missing value that is alone in its record is quoted: an empty line is no record to pandas.
    """

    def field(text: str) -> str:
        needs_quotes = quote_all or any(character in text for character in ',"\r\n') or (not text and len(names) == 1)
        return '"{}"'.format(text.replace('"', '""')) if needs_quotes else text

    rows = zip(*(columns[name] for name in names), strict=True)
    return [",".join(map(field, record)) + line_end for record in [names, *rows]]


# --- variants -------------------------------------------------------------------------------------------------------------------

Change = Callable[[Columns], None]

VARIANTS: dict[str, Change] = {}
"""By name: each changes the columns of a file in place."""

MISSING_WORDS = ["NA", "NaN", "null", "None", "n/a", "#N/A", "nan", "<NA>", "NULL", "N/A", "-nan"]


def variant(change: Change) -> Change:
    VARIANTS[change.__name__] = change
    return change


def _features(columns: Columns) -> list[str]:
    return [name for name in columns if name != "id"]


def _alternate(columns: Columns, names: tuple[str, ...], values: list[str], *, first: int = 0, last: int = ROWS) -> None:
    """Write values into rows [first, last) of some columns, each in turn."""
    for name in names:
        for row in range(first, last):
            columns[name][row] = values[row % len(values)]


@variant
def plain(columns: Columns) -> None:
    """Nothing is missing, and nothing is unusual."""


@variant
def missing(columns: Columns) -> None:
    chance = random.Random(3)
    for name in _features(columns):
        columns[name] = ["" if chance.random() < 0.3 else value for value in columns[name]]


@variant
def missing_words(columns: Columns) -> None:
    """Missing values in all of pandas's spellings."""
    chance = random.Random(4)
    for name in _features(columns):
        columns[name] = [chance.choice(MISSING_WORDS) if chance.random() < 0.3 else value for value in columns[name]]


@variant
def missing_first(columns: Columns) -> None:
    """The first chunk has no value at all."""
    _alternate(columns, tuple(_features(columns)), [""], last=HALF)


@variant
def missing_last(columns: Columns) -> None:
    """Only the last row tells that an integer, a boolean or a text can be missing."""
    _alternate(columns, tuple(_features(columns)), [""], first=ROWS - 1)


@variant
def no_value(columns: Columns) -> None:
    """Whole columns are missing."""
    _alternate(columns, tuple(_features(columns)), [""])


@variant
def one_row(columns: Columns) -> None:
    for name in columns:
        del columns[name][1:]


@variant
def one_row_missing(columns: Columns) -> None:
    one_row(columns)
    for name in _features(columns):
        columns[name][0] = ""


@variant
def unseen(columns: Columns) -> None:
    """Categories that were not there when the model was fitted, among some that were."""
    for name in TEXTS:
        columns[name][2::3] = [f"new {row}" for row in range(2, ROWS, 3)]


@variant
def digits(columns: Columns) -> None:
    """Every text looks like an integer."""
    _alternate(columns, TEXTS, ["007", "12", "1"])


@variant
def digits_then_text(columns: Columns) -> None:
    """The texts of the first chunk look like integers."""
    _alternate(columns, TEXTS, ["007", "12", "1"], last=HALF)


@variant
def text_then_digits(columns: Columns) -> None:
    _alternate(columns, TEXTS, ["007", "12", "1"], first=HALF)


@variant
def booleans_then_text(columns: Columns) -> None:
    """The texts of the first chunk look like booleans."""
    _alternate(columns, TEXTS, ["True", "False"], last=HALF)


@variant
def booleans_and_missing(columns: Columns) -> None:
    """Texts and booleans are True, False or missing: an object column in pandas."""
    _alternate(columns, (*TEXTS, *BOOLEANS), ["True", "False", ""])


@variant
def booleans_then_missing(columns: Columns) -> None:
    _alternate(columns, (*TEXTS, *BOOLEANS), ["True", "False"], last=HALF)
    _alternate(columns, BOOLEANS, [""], first=HALF)


@variant
def booleans_then_numbers(columns: Columns) -> None:
    """One kind in the first chunk, another in the second: text as a whole."""
    _alternate(columns, (*TEXTS, *BOOLEANS, *NUMBERS), ["True", "False"], last=HALF)
    _alternate(columns, (*TEXTS, *BOOLEANS, *NUMBERS), ["1", "0"], first=HALF)


@variant
def boolean_spellings(columns: Columns) -> None:
    _alternate(columns, BOOLEANS, ["TRUE", "false", "True", "FALSE", "true"])


@variant
def swapped(columns: Columns) -> None:
    """Numbers come as booleans, booleans as numbers."""
    _alternate(columns, NUMBERS, ["True", "False"])
    _alternate(columns, BOOLEANS, ["1", "0"])


@variant
def integers_then_decimals(columns: Columns) -> None:
    _alternate(columns, (*NUMBERS, *TEXTS), ["40", "7", "150"], last=HALF)
    _alternate(columns, (*NUMBERS, *TEXTS), ["1.5", "2.25"], first=HALF)


@variant
def integers_then_missing(columns: Columns) -> None:
    _alternate(columns, (*NUMBERS, *TEXTS), ["40", "7", "150"])
    _alternate(columns, (*NUMBERS, *TEXTS), ["3", ""], first=HALF)


@variant
def spellings_of_numbers(columns: Columns) -> None:
    _alternate(columns, NUMBERS, ["+40", " 7", "7.", "0150", "1e2", "-0", ".5", "1E+01", "8 ", "60.0"])


@variant
def decimals(columns: Columns) -> None:
    """More digits than a float64 has, as other programs print them."""
    chance = random.Random(5)
    for name in NUMBERS:
        columns[name] = [
            f"{chance.random() * 10 ** chance.randint(-3, 3):.{chance.choice([15, 17, 20, 25])}g}" for _ in range(ROWS)
        ]


@variant
def infinite(columns: Columns) -> None:
    _alternate(columns, NUMBERS, ["inf"], first=3, last=4)
    _alternate(columns, NUMBERS, ["-Infinity"], first=ROWS - 2, last=ROWS - 1)


@variant
def large_integers(columns: Columns) -> None:
    """Beyond 2^53, where a float64 has no longer every integer."""
    _alternate(columns, INTEGERS, ["9007199254740993", "-9007199254740995", "3", "1234567890123456789"])


@variant
def unsigned_integers(columns: Columns) -> None:
    """Beyond 2^63: uint64 in pandas."""
    _alternate(columns, INTEGERS, ["18446744073709551615", "3", "9223372036854775809"])


@variant
def huge_integers(columns: Columns) -> None:
    """Beyond 2^64: Python's own integers in pandas."""
    _alternate(columns, INTEGERS, ["184467440737095516170", "3", "-5"])


@variant
def text_among_numbers(columns: Columns) -> None:
    """One cell of each column of numbers is none."""
    _alternate(columns, (*NUMBERS, *BOOLEANS), ["unknown"], first=HALF + 1, last=HALF + 2)


@variant
def booleans_among_numbers(columns: Columns) -> None:
    _alternate(columns, NUMBERS, ["True"], first=HALF + 1, last=HALF + 2)


@variant
def unusual_texts(columns: Columns) -> None:
    odd = [
        "\ufeffParis",
        " Paris",
        "Paris ",
        "paris",
        'said "hi"',
        "two\nlines",
        "a,b",
        "é",
        "e\u0301",
        "😀",
        "\u00a0",
        "-",
        "''",
        "0x1A",
    ]
    for name in TEXTS:
        columns[name][: len(odd)] = odd


@variant
def feff_first(columns: Columns) -> None:
    """U+FEFF begins a record of the file, and of a chunk."""
    for name in TEXTS:
        columns[name][HALF] = "\ufeff" + columns[name][HALF]
    columns["id"][HALF] = "\ufeff" + columns["id"][HALF]


@variant
def dates(columns: Columns) -> None:
    _alternate(columns, TEXTS, ["2024-02-29", "2020-01-01", "1999-12-31"])
