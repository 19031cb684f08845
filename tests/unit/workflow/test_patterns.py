"""No text makes a regular expression of the functions take more steps than its length warrants: one cell could stop a run.

Steps are counted (tests/support/backtracking.py), so that a busy machine changes nothing.
"""

from __future__ import annotations

import ast
import json
import re
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

import pytest

import prediction_handler
from support.backtracking import Counter, TooManyStepsError
from workflow import csv_dialect, header_mistakes

FUNCTIONS = Path(__file__).parents[3] / "functions"
CALLS = {"search", "match", "fullmatch", "split", "findall", "finditer", "sub"}
LENGTHS = (24, 48)
STEPS_OF_DOUBLE = 2.7
"""At most, where the text is twice as long: linear ones take 2, quadratic ones 4."""


class Pattern(NamedTuple):
    place: str
    text: str | bytes
    flags: int
    mode: str


def schema_patterns(schema):
    if isinstance(schema, dict):
        if isinstance(schema.get("pattern"), str):
            yield schema["pattern"]
        for part in schema.values():
            yield from schema_patterns(part)


COMPUTED = {
    r"search(re.sub('\\$\\Z', '\\\\Z', pattern))": sorted(  # in `schema.full_match`
        {text for path in FUNCTIONS.glob("*/*.schema.json") for text in schema_patterns(json.loads(path.read_text()))}
    ),
    "match(beginning)": list(header_mistakes._MARKUP.values()),
    "search(pattern)": [entry[0] for entry in prediction_handler._IN_A_ZIP],
    "match(pattern)": [entry[0] for table in (prediction_handler._OTHER_FILES, prediction_handler._TEXTS) for entry in table],
}
"""What patterns are that a call does not spell out, by how it names them: a new one belongs here."""


def patterns_of(path):
    """Yield each pattern of a module with each way in which it is used."""
    tree = ast.parse(path.read_text())
    compiled = {}
    names = constants_of(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and called(node.value) == ("re", "compile"):
            compiled[ast.unparse(node.targets[0])] = evaluated(node.value.args[0], names), flags_of(node.value, names, 1)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        owner, name = called(node)
        place = f"{path.name}:{node.lineno}"
        if owner == "re" and name in CALLS:
            flags = flags_of(node, names, {"sub": 3}.get(name, 2))
            spelled = COMPUTED.get(f"{name}({ast.unparse(node.args[0])})") or [evaluated(node.args[0], names)]
            yield from (Pattern(place, text, flags, name) for text in spelled)
        elif owner in compiled and name in CALLS:
            yield Pattern(place, *compiled[owner], name)


def called(node):
    return (ast.unparse(node.func.value), node.func.attr) if isinstance(node.func, ast.Attribute) else ("", "")


def constants_of(tree):
    """Return the module's own names of texts, which patterns are made of."""
    found = {"re": re}
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.startswith("_"):
            try:
                value = eval(ast.unparse(node.value), {"re": re, **found})
            except Exception:  # noqa: BLE001  # it is made of something else
                continue
            if isinstance(value, str | bytes | int):
                found[node.targets[0].id] = value
    return found


def evaluated(node, names):
    """Return a pattern; one that cannot be told is no pattern, so that its test fails."""
    try:
        return eval(ast.unparse(node), names)
    except NameError:
        return f"(COMPUTED does not say what {ast.unparse(node)} is"


def flags_of(node, names, first):
    flags = node.args[first:] + [word.value for word in node.keywords if word.arg == "flags"]
    return int(eval(ast.unparse(flags[0]), names)) if flags else 0


PATTERNS = [pattern for path in sorted(FUNCTIONS.glob("*/*.py")) for pattern in patterns_of(path)]


def growth(text, flags, mode, limit=2_000_000):
    """Return by what factor the steps grow where a text's length doubles, in the worst text."""
    counter = Counter(text, flags, limit)
    steps = [max(counter.count(hard, mode) for hard in counter.hard_texts(length)) for length in LENGTHS]
    return steps[1] / (steps[0] + 10)


PATTERNS += [
    Pattern(f"csv_dialect {name} {dialect}", pattern.pattern, 0, mode)
    for dialect in (csv_dialect.COMMAS, csv_dialect.Dialect("\t", comment="#"), csv_dialect.Dialect("^", comment="|"))
    for name, pattern, mode in (
        ("record", csv_dialect.record_pattern(dialect.delimiter), "fullmatch"),
        ("line", csv_dialect.skipped_line(dialect), "fullmatch"),
        ("lines", csv_dialect.skipped_lines(dialect), "match"),
    )
]


@pytest.mark.parametrize(
    ("text", "mode", "is_linear"),
    [
        (r"\d+\.?\d*", "fullmatch", False),
        (r"(a|a)*", "fullmatch", False),
        (r"(a+)+", "fullmatch", False),
        (r"(?:\s*\w+\s*,?)*", "fullmatch", False),
        (r"[0-9]+x", "search", False),
        (r".*,.*;", "match", False),
        (r"^\s+|\s+$", "sub", False),
        (r"(x+?)+y", "match", False),
        (r"\d++\.?\d*+", "fullmatch", True),
        (r"(?>a+)b", "fullmatch", True),
        (r"[0-9]+x", "match", True),
        (r'"[^"]*+(?:""[^"]*+)*+"', "fullmatch", True),
        (r"(?!a*b)a*c", "match", True),
    ],
)
def test_what_is_counted_tells_them_apart(text, mode, is_linear):
    try:
        assert (growth(text, 0, mode, 20_000) <= STEPS_OF_DOUBLE) == is_linear
    except TooManyStepsError:
        assert not is_linear


def test_the_patterns_are_found():
    assert {pattern.mode for pattern in PATTERNS} >= {"search", "match", "fullmatch", "sub", "split"}
    named = re.compile(r"\bre\.(?:" + "|".join(CALLS) + r")\(|\b_[A-Z_]+\.(?:" + "|".join(CALLS - {"split"}) + r")\(")
    calls = sum(len(named.findall(path.read_text())) for path in FUNCTIONS.glob("*/*.py"))
    assert len(PATTERNS) >= calls > 30
    assert all(COMPUTED.values())


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: f"{pattern.place}-{pattern.mode}")
def test_each_is_linear(pattern):
    assert growth(pattern.text, pattern.flags, pattern.mode) <= STEPS_OF_DOUBLE, pattern.text


@pytest.mark.parametrize("glob", ["*a*b", "*" + "a*" * 10 + "b", "*?*?*?b", "a?*a?*[!a]", "**a**b", "*[a-z]*[a-y]*[a-x]b", "*.csv"])
def test_globs(glob):
    """`Glob.matches` is `fnmatchcase`, which matches this."""
    assert growth(translate(glob), 0, "match") <= STEPS_OF_DOUBLE
