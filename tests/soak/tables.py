"""Random CSV records in every spelling that RFC 4180 has, with what may be planted among them."""

from __future__ import annotations

import re
from dataclasses import dataclass

from soak.estimators import CITIES, NUMBERS, PLANS, TEXTS

FRESH_RECORDS = 2000
"""Further records repeat earlier ones under another id: making each anew would take longer than predicting it."""

BAD_NUMBERS = ("zwölf", "1_000", "1,5", "12abc", "0x10", "--1", "1 2", "£5")
MISSING = ("", "NA", "NaN", "null", "N/A", "#N/A", "None", "<NA>")
EXTRAS = ("note", "code", "seen at", "übrig", 'a "quoted" name', "blob")
WORDS = (
    "ok",
    "no answer",
    "São Paulo",
    "naïve café",
    "日本語",
    "😀",
    "00042",
    "1.10",
    "12345678901234567890",
    "NA",
    " padded ",
    "-",
)
TRICKY = ('said "maybe"', "first, second", "two\nlines", "two\r\nlines", "bare\rreturn", '""', ",", "\n", '","', 'x",1\n2,"y')


@dataclass(frozen=True)
class Layout:
    """How all objects of one request are written."""

    columns: list[str]
    features: list[str]
    line_end: bytes
    quoting: str
    """`minimal`, `always` or `mixed`: some fields that need no quotes have them."""
    tricky: float
    """Share of extra fields that need quotes."""
    long_field: int
    """Most characters of a long field; 0 for none."""
    missing: float
    """Share of feature fields without a value."""
    odd_spellings: bool
    """Numbers also as 007, 1e3, +5, ` 5 `, True."""
    infinite: bool

    def header(self, random):
        return self.joined(random, self.columns)

    def joined(self, random, fields):
        """Return a record, without its line end."""
        return ",".join(self.field(random, text) for text in fields).encode()

    def field(self, random, text):
        """Return a field, in quotes where it must be, or where the quoting says so."""
        wanted = self.quoting == "always" or (self.quoting == "mixed" and random.random() < 0.2)
        return '"' + text.replace('"', '""') + '"' if wanted or re.search('[,"\r\n]', text) else text


def random_layout(random, estimator, *, refusable):
    """Choose how to write; `refusable` rows may hold what the model does not take."""
    features = list(estimator.features)
    unused = [name for name in (*NUMBERS, *TEXTS) if name not in features and random.random() < 0.5]
    columns = ["id", *features, *unused, *random.sample(EXTRAS, random.randint(0, len(EXTRAS)))]
    random.shuffle(columns)
    return Layout(
        columns=columns,
        features=features,
        line_end=random.choice([b"\n", b"\r\n"]),
        quoting=random.choice(["minimal", "minimal", "mixed", "always"]),
        tricky=random.choice([0, 0, 0.01, 0.3]),
        long_field=random.choice([0, 0, 0, 2000, 30_000]),
        missing=random.choice([0, 0.01, 0.2]) if estimator.takes_missing or refusable else 0,
        odd_spellings=random.random() < 0.5,
        infinite=random.random() < 0.2 and (estimator.takes_infinite or refusable),
    )


class Records:
    def __init__(self, random, layout):
        self.random = random
        self.layout = layout
        self.padding = ""
        """Of each id."""
        self.made = []
        self.count = 0
        self.id_position = layout.columns.index("id")

    def fields(self):
        """Return the next record's fields; its id says which one it is."""
        self.count += 1
        if len(self.made) < FRESH_RECORDS:
            self.made.append([self.value(column) for column in self.layout.columns])
            fields = list(self.made[-1])
        else:
            fields = list(self.random.choice(self.made))
        fields[self.id_position] = f"{self.count:07}{self.padding}"
        return fields

    def record(self):
        return self.layout.joined(self.random, self.fields())

    def value(self, column):
        random, layout = self.random, self.layout
        if column in layout.features and random.random() < layout.missing:
            return random.choice(MISSING)
        if column == "city":
            return random.choice([*CITIES, "elsewhere"])
        if column == "plan":
            return random.choice(PLANS)
        if column in NUMBERS:
            return self.number(column)
        if layout.long_field and random.random() < 0.02:
            return random.choice(["x", 'q"', "a,b\n", "é"]) * random.randint(1, layout.long_field // 4)
        return random.choice(TRICKY if random.random() < layout.tricky else WORDS)

    def number(self, column):
        random = self.random
        value = random.gauss(100, 60) if column in {"größe", "dose, mg"} else random.randint(-60, 120)
        text = repr(round(value, random.choice([1, 3, 17]))) if isinstance(value, float) else str(value)
        if self.layout.infinite and random.random() < 0.02:
            return random.choice(["inf", "-inf", "Infinity"])
        if not self.layout.odd_spellings or random.random() < 0.8:
            return text
        return random.choice(
            ["007", "1e2", "+5", " 5 ", "-.5", "5.", "True", "False", "1E-3", text, "0.1000000000000000055511151231257827"]
        )

    def bad(self):
        """Return a record with a feature that is not a number, and that column."""
        fields = self.fields()
        column = self.random.choice([name for name in self.layout.features if name in NUMBERS])
        for position, name in enumerate(self.layout.columns):
            if name in NUMBERS and name in self.layout.features:
                fields[position] = "1"  # so that nothing else is wrong with this row
        fields[self.layout.columns.index(column)] = self.random.choice(BAD_NUMBERS)
        return self.layout.joined(self.random, fields), column

    def malformed(self):
        """Return what cannot be read as a record for sure; its line end is CRLF or LF as the others'."""
        fields = self.fields()
        extra = self.layout.columns.index("id")
        make = self.random.choice(
            [
                lambda: self.layout.joined(self.random, [*fields, "one more"]),
                lambda: self.layout.joined(self.random, fields[:-1]),
                lambda: b",".join(b'a"b"c' if n == extra else b"1" for n in range(len(fields))),
                lambda: b",".join(b"caf\xe9" if n == extra else b"1" for n in range(len(fields))),
            ]
        )
        return make()
