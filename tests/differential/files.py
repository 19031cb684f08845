"""The CSV files of the differential table: one that models are fitted on, and variants of one that they score.

Every cell is text here, as it stands in the file. What it means is pandas's business, and the handler's: that is what is compared.
"""

from __future__ import annotations

import csv
import io
import random

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

ALL, FIRST_HALF, SECOND_HALF = slice(0, ROWS), slice(0, HALF), slice(HALF, ROWS)
"""The rows that a change is for; the middle is the end of a chunk, wherever a file is cut."""

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


def to_score(variant: str) -> Columns:
    """Return one of the files that are scored; the file "plain" has no missing value, and the others differ from it."""
    columns = _columns(ROWS, seed=2, missing=0.0)
    for names, rows, values in VARIANTS[variant]:
        for name in names:
            for row in range(ROWS)[rows]:
                if (value := values[row % len(values)]) is not None:
                    columns[name][row] = value
    if variant.startswith("one_row"):
        columns = {name: values[:1] for name, values in columns.items()}
    return columns


def written(columns: Columns, names: list[str]) -> list[str]:
    """Return a CSV file's records with their line ends, the header first."""

    def record(values: tuple[str, ...] | list[str]) -> str:
        line = io.StringIO()
        csv.writer(line, lineterminator="\n").writerow(values)
        return line.getvalue()

    return [record(values) for values in [names, *zip(*(columns[name] for name in names), strict=True)]]


# --- variants -------------------------------------------------------------------------------------------------------------------

FEATURES = (*NUMBERS, *BOOLEANS, *TEXTS)
DIGITS, WORDS_OF_BOOLEANS, MISSING = ["007", "12", "1"], ["True", "False"], [""]
_chance = random.Random(5)
DECIMALS = [f"{_chance.random() * 10 ** _chance.randint(-3, 3):.{_chance.choice([15, 17, 20, 25])}g}" for _ in range(ROWS)]
ODD_TEXTS = [
    *(
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
    ),
]

VARIANTS: dict[str, list[tuple[tuple[str, ...], slice, list[str | None]]]] = {
    "plain": [],
    # what is missing
    "missing": [((name,), ALL, [_chance.choice(["", "NA", "None", *[None] * 6]) for _ in range(ROWS)]) for name in FEATURES],
    "missing_first": [(FEATURES, FIRST_HALF, MISSING)],
    "missing_last": [(FEATURES, slice(ROWS - 1, ROWS), MISSING)],
    "no_value": [(FEATURES, ALL, MISSING)],
    "one_row": [],
    "one_row_missing": [(FEATURES, ALL, MISSING)],
    # what texts look like, in all rows or in the first chunk
    "unseen": [(TEXTS, ALL, [None, None, "new", None, None, "newer"])],
    "digits": [(TEXTS, ALL, DIGITS)],
    "digits_then_text": [(TEXTS, FIRST_HALF, DIGITS)],
    "text_then_digits": [(TEXTS, SECOND_HALF, DIGITS)],
    "booleans_then_text": [(TEXTS, FIRST_HALF, WORDS_OF_BOOLEANS)],
    "dates": [(TEXTS, ALL, ["2024-02-29", "2020-01-01", "1999-12-31"])],
    "unusual_texts": [(TEXTS, slice(0, len(ODD_TEXTS)), ODD_TEXTS)],
    "feff_first": [(("id", *TEXTS), slice(HALF, HALF + 1), ["\ufeffParis"])],
    # booleans: True, False or missing is an object column in pandas, one kind and then another is text as a whole
    "booleans_and_missing": [((*TEXTS, *BOOLEANS), ALL, ["True", "FALSE", "", "true", "False"])],
    "booleans_then_missing": [((*TEXTS, *BOOLEANS), FIRST_HALF, WORDS_OF_BOOLEANS), (BOOLEANS, SECOND_HALF, MISSING)],
    "booleans_then_numbers": [(FEATURES, FIRST_HALF, WORDS_OF_BOOLEANS), (FEATURES, SECOND_HALF, ["1", "0"])],
    "swapped": [(NUMBERS, ALL, WORDS_OF_BOOLEANS), (BOOLEANS, ALL, ["1", "0"])],
    # numbers
    "integers_then_decimals": [
        ((*NUMBERS, *TEXTS), FIRST_HALF, ["40", "7", "150"]),
        ((*NUMBERS, *TEXTS), SECOND_HALF, ["1.5", "2.25"]),
    ],
    "integers_then_missing": [((*NUMBERS, *TEXTS), FIRST_HALF, ["40", "7", "150"]), ((*NUMBERS, *TEXTS), SECOND_HALF, ["3", ""])],
    "decimals": [(NUMBERS, ALL, DECIMALS)],
    "infinite": [(NUMBERS, slice(3, 4), ["inf"]), (NUMBERS, slice(ROWS - 2, ROWS - 1), ["-Infinity"])],
    "large_integers": [(INTEGERS, ALL, ["9007199254740993", "-9007199254740995", "3", "1234567890123456789"])],
    "unsigned_integers": [(INTEGERS, ALL, ["18446744073709551615", "3", "9223372036854775809"])],
    "huge_integers": [(INTEGERS, ALL, ["184467440737095516170", "3", "-5"])],
    "text_among_numbers": [((*NUMBERS, *BOOLEANS), slice(HALF + 1, HALF + 2), ["unknown"])],
    "booleans_among_numbers": [(NUMBERS, slice(HALF + 1, HALF + 2), ["True"])],
}
"""By name: columns, rows, and what stands in these rows in turn; None leaves a value as it is."""
