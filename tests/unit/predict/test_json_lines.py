"""JSON Lines: read as Python's json reads them, with the kernel in C and without, and every byte comes back."""

import io
import json
import math
import random
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from harness import BUCKET, MODEL, FirstColumn, linear, make_event
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder

import json_kernel
import prediction_handler as handler
from support.places import dumped

NAMES = ["x", "é", "text", "flag", "whole"]
KINDS = dict(zip(NAMES, ["number", "number", "text", "boolean", "integer"], strict=True))
COLUMNS, SOME_COLUMNS = handler._Columns(NAMES, KINDS), handler._Columns(NAMES[:3], KINDS)
# fmt: off
NUMBERS = [
    "0", "-0", "1", "-1", "12.5", "-1e-3", "1E5", "1e+22", "1e23", "0.1", "5e-324", "2.2250738585072011e-308", "1e400", "-1e400",
    "1.7976931348623157e308", "1e-400", "0e999", "9007199254740993", "-9007199254740993", "9223372036854775807", "NaN", "Infinity",
    "18446744073709551616", "123456789012345678901234567890", "0.00012345678901234567", "0.1234567890123456789012", "-Infinity",
]
NO_NUMBERS = [
    "01", "-01", "1.", ".5", "+1", "-", "1e", "1e+", "0x1", "1_0", "1,5", "Nan", "nan", "inf", "-NaN", "infinity", "\u0661", "1.e5",
]
STRINGS = [
    '""', '"a"', '"é€😀"', r'"\u00e9"', r'"\ud83d\ude00"', r'"\n\"\\\/"', '"1.5"', '" 7 "', '"007"', '"true"', '"NaN"', '"null"',
    r'"\u0000"', r'"{\"x\":1}"', r'"a\\"', '","', json.dumps("long text " * 9),
]
# fmt: on
NO_STRINGS = [r'"\x"', r'"\u12"', r'"\u12g4"', '"a\tb"', '"open', "'a'", '"\\', '"\x00"']
HALVES = [r'"\ud800"', r'"\udc00"', r'"\ud800\u0041"', r'"\udc00\ud800"', r'"\ud800\ud800\udc00"']
NESTED = ['{"x":1}', "[1,[2,{}]]", "{}", "[]", '{"a":{"x":[1]}}', "[" * 70 + "]" * 70]
NO_VALUES = ["", "[1,]", '{"a":1,}', "{a:1}", "tru", "truefalse", "nul", "NULL", "True", "[1", "[1}", '{"a" 1}', "\x0c1", "\u00a01"]
WORDS = ["true", "false", "null"]
VALUES = [*NUMBERS, *STRINGS, *WORDS, *NESTED, *HALVES]
KEYS = [
    *map(json.dumps, NAMES),
    '"é"',
    r'"\u0078"',
    r'"\u00e9"',
    r'"te\u0078t"',
    '"other"',
    '""',
    '"x "',
    r'"\ud800"',
    '"flags"',
    '"fl"',
]
SPACES = ["", "", "", " ", "\t", " \r "]


NO_OBJECTS = [b"[]", b"1", b'"x"', b"null", b"{", b"}", b'{"x":1}{"x":2}', b'{"x":1} 2', b"\xef\xbb\xbf{}", b'{"x":1', b'{"x":1}}']
OCTETS = [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\0", b'"', b"\\", b",", b"}", b" ", b"\x0b"]


def hostile_lines(seed, count):
    """Mostly objects, with whatever JSON and its usual misuses have in them."""
    generator = random.Random(seed)
    pick = generator.choice
    values = [*VALUES * 6, *NO_NUMBERS, *NO_STRINGS, *NO_VALUES]

    def member():
        return f"{pick(SPACES)}{pick(KEYS)}{pick(SPACES)}:{pick(SPACES)}{pick(values)}{pick(SPACES)}"

    lines = []
    while len(lines) < count:
        members = ",".join(member() for _ in range(generator.randint(0, 4)))
        line = f"{pick(SPACES)}{{{members}{pick(SPACES)}}}{pick(SPACES)}".encode()
        if generator.random() < 0.1:
            line = pick(NO_OBJECTS)
        if generator.random() < 0.1:
            place = generator.randint(0, len(line))
            line = line[:place] + pick(OCTETS) + line[place + generator.randint(0, 1) :]
        if line.strip(b" \t\r"):
            lines.append(line)
    return lines


def block_of(data):
    """The rows of some bytes; None if there are none."""
    return next(
        handler._read_lines(
            io.BytesIO(data), handler._json_header(b"", "in"), handler._Source("in", 0), 0, 10**9, handler._Tally()
        ),
        None,
    )


def read(block, columns=COLUMNS):
    """The features of a block's rows, and why rows are bad."""
    bad = {}
    features = block.features(columns, lambda row, reason: bad.setdefault(row, reason.private))
    good = np.delete(np.arange(block.rows), sorted(bad))
    return features.take(good).table.to_pydict(), bad


@pytest.fixture
def kernel(monkeypatch):
    """Returns a switch for the kernel."""
    own = handler._beside

    def switch(*, on):
        monkeypatch.setattr(handler, "_beside", own if on else lambda name: None if name.endswith("kernel") else own(name))

    return switch


def wanted(line):
    """What Python's json makes of a line: the columns' values, or None for a bad row."""

    def number(text):
        return ("number", text)

    try:
        kind, pairs = json.loads(
            line.decode(),
            object_pairs_hook=lambda pairs: ("object", pairs),
            parse_int=number,
            parse_float=number,
            parse_constant=number,
        )
    except (ValueError, TypeError):  # no JSON; or not two things
        return None
    if kind != "object" or not isinstance(pairs, list):
        return None
    found = {}
    for key, value in pairs:
        if key not in NAMES[:3]:
            continue
        is_nested = isinstance(value, list) or (isinstance(value, tuple) and value[0] == "object")
        if key in found or is_nested or (isinstance(value, str) and any("\ud800" <= letter <= "\udfff" for letter in value)):
            return None
        found[key] = value
    return found


def as_number(value):
    """A number, a text that spells one, or a truth."""
    if isinstance(value, bool) or value is None:
        return math.nan if value is None else float(value)
    text = value[1] if isinstance(value, tuple) else value
    return {"true": 1.0}.get(text) or float(text)


def assert_read_as_json_does(lines, found, bad):
    rows = iter(range(len(lines)))
    for number, line in enumerate(lines):
        values = wanted(line)
        if values is None:
            assert number in bad, line
            continue
        texts = {name: value[1] if isinstance(value, tuple) else value for name, value in values.items()}
        if number in bad:
            faults = bad[number].split(": ")[-1].removeprefix("a missing value ")
            assert any(words in faults for words in ("is not a", "beyond 64 bits")), (line, bad[number])
            continue
        row = next(rows)
        for name in ("x", "é"):
            value, expected = found[name][row], as_number(values.get(name))
            assert (math.isnan(value or 0.0) or value is None) if math.isnan(expected) else value == expected, line
        text = texts.get("text")
        text = None if texts.get("text") == "NaN" and isinstance(values["text"], tuple) else text
        assert found["text"][row] == (str(text).lower() if isinstance(text, bool) else text), line


def test_lines_are_read_as_python_reads_them():
    """Every spelling of a value in every column, whether the kernel in C takes it or not."""
    lines = []
    for value in [*VALUES, *NO_NUMBERS, *NO_STRINGS, *NO_VALUES]:
        lines += [
            f'{{"id":{value},{json.dumps(name)}:{value}}}'.encode().replace(b"\n", b"") for name in ("x", "é", "text", "other")
        ]
    found, bad = read(block_of(b"\n".join(lines)), SOME_COLUMNS)
    assert_read_as_json_does(lines, {**found, "flag": [], "whole": []}, bad)
    assert len(bad) < len(lines)


def test_the_kernel_reads_keys_with_escapes():
    """So that keys that are not ASCII, as Python's json writes them, take no longer than others."""
    names = ["é", "€", "😀", 'a\n"\\/b\t\r\b\f', "\0", "x", "\ufffd\U0010ffff", "long" * 50]
    row = dict(zip(names, range(len(names)), strict=True))
    objects = row | {f"{name}!": 9 for name in names}
    data = b"".join(json.dumps(objects, ensure_ascii=is_ascii).encode() + b"\n" for is_ascii in (True, False))
    lines = np.array([0, data.index(b"\n") + 1, len(data)], np.int32)
    found = json_kernel.read(data, lines, names, [])
    assert (found.matrix.tolist(), found.declined.tolist()) == ([[*map(float, row.values())]] * 2, [])


def everything_of(block):
    """All that is made of a block."""
    found, bad = read(block, SOME_COLUMNS)
    good = np.delete(np.arange(block.rows), sorted(bad))
    share = handler._JsonLinesWriter().joined(block, good, np.arange(len(good)) / 8, ["p"])
    return repr(found), bad, repr(read(block)), block.kinds(NAMES), repr(block.texts(NAMES).to_pydict()), bytes(share)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(1, 40))])
def test_hostile_lines_are_read_as_python_reads_them(seed, kernel):
    """Both ways of reading, beside Python's json: no value more, none less, none misplaced."""
    lines = hostile_lines(seed, 3000 if seed else 600)
    block = block_of(b"\n".join(lines))
    found, bad = read(block, SOME_COLUMNS)
    everything = everything_of(block)
    kernel(on=False)
    assert everything_of(block) == everything
    assert_read_as_json_does(lines, found, bad)
    assert len(bad) < len(lines)


def score(data, folder, model=None, block_bytes=2_000_000, **fields):
    """Score bytes as a local file of one feature, `x1`; returns the facts, the output and the list of rejected rows."""
    (folder / "in.jsonl").write_bytes(data)
    options = {"feature_columns": ["x1"], "prediction_column_name": "p", **fields}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "BLOCK_BYTES", block_bytes)
        facts = handler.score_file(folder / "in.jsonl", folder / "out.jsonl", model or FirstColumn(), **options)
    listed = folder / "out.jsonl.rejected.csv"
    return facts, (folder / "out.jsonl").read_bytes(), listed.read_text().splitlines()[1:] if listed.exists() else []


ANY_VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


@st.composite
def files(draw):
    """Objects, the lines that spell them, and the blank lines around these."""
    others = st.dictionaries(st.text(max_size=4).filter(lambda key: key not in ("x1", "p")), ANY_VALUE, max_size=3)
    numbers = st.floats(allow_nan=False, allow_infinity=False)
    rows = draw(st.lists(st.tuples(others, numbers, st.booleans()), min_size=1, max_size=12))
    objects = [{**rest, "x1": number} if is_last else {"x1": number, **rest} for rest, number, is_last in rows]
    lines = []
    for row in objects:
        separators = draw(st.sampled_from([None, (",", ":"), (" ,\t", " : ")]))
        text = json.dumps(row, ensure_ascii=draw(st.booleans()), separators=separators).encode("utf-8", "replace")
        lines.append((draw(st.sampled_from([b"", b" "])), text, draw(st.sampled_from([b"", b"  ", b"\r"]))))
    blanks = [draw(st.sampled_from([b"", b"", b"", b"\n", b" \r\n\n"])) for _ in [*lines, None]]
    mark = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return objects, mark, lines, blanks


@settings(deadline=None, max_examples=25)
@given(files(), st.integers(1, 300))
def test_every_byte_comes_back_with_its_prediction(tmp_path_factory, table, block_bytes):
    """Any object, any spacing, blank lines, CRLF, any block size; only a byte order mark is left out."""
    objects, mark, lines, blanks = table

    def joined(predictions):
        spelled = [before + text[:-1] + (b',"p":%b}' % number if number else b"}") + after
                   for (before, text, after), number in zip(lines, predictions, strict=True)]  # fmt: skip
        return b"".join(blank + line + b"\n" for blank, line in zip(blanks, spelled, strict=False)) + blanks[-1]

    data = mark + joined([b""] * len(lines))
    facts, output, _ = score(data, tmp_path_factory.mktemp("any"), block_bytes=block_bytes)
    assert output == joined([handler.orjson.dumps(row["x1"]) for row in objects])
    assert facts.rows == len(objects)
    assert facts.read == handler._Tally(rows=len(objects), bytes=len(data), blank_lines=facts.read.blank_lines)
    assert facts.header_bytes == 0


@pytest.mark.parametrize("line", ['{"x1":1}', '{"x1":1} ', " {}\t", '{"y":{}}', "{ }", '{"y":[{}]}'])
@pytest.mark.parametrize("end", ["", "\n", "\r\n"])
def test_a_prediction_stands_before_the_closing_brace(line, end, tmp_path):
    """Behind the last value, or alone in an empty object; a last line without an end gets one."""
    _, output, _ = score((line + end).encode(), tmp_path, Constant(), column_types={"x1": "number"})
    body, space = line[: line.rindex("}")], line[line.rindex("}") + 1 :]
    comma = "" if body.strip() == "{" else ","
    assert output.decode() == f'{body}{comma}"p":2.5}}{space}' + (end or "\n")


class Constant:
    """Predicts the same for every row: a number, or whatever it is given."""

    def __init__(self, *outputs):
        self.outputs = outputs or (2.5,)

    def predict(self, features):
        return np.array([self.outputs[row % len(self.outputs)] for row in range(len(features))])


def predictions_of(output, name="p"):
    return [json.loads(line)[name] for line in output.splitlines()]


@pytest.mark.parametrize(
    ("outputs", "printed"),
    [
        ((1.5, math.nan, math.inf, -0.0, 1e300, 0.1), ["1.5", "null", "null", "-0.0", "1e+300", "0.1"]),
        ((2**53 + 1, -1), ["9007199254740993", "-1"]),
        ((True, False), ["true", "false"]),
        (('say "hi"', "a,b\n", "Zürich", "null", ""), [r'"say \"hi\""', r'"a,b\n"', '"Zürich"', '"null"', '""']),
        ((np.datetime64("2020-01-02"),), ['"2020-01-02"']),
    ],
)
def test_predictions_are_printed_as_json(outputs, printed, tmp_path):
    """JSON has no NaN and no infinity: null, as pandas writes them."""
    _, output, _ = score(b'{"x1":1}\n' * len(printed), tmp_path, Constant(*outputs))
    assert output.decode().splitlines() == [f'{{"x1":1,"p":{text}}}' for text in printed]


def test_labels_of_several_kinds_stay_what_they_are(tmp_path):
    class Mixed:
        def predict(self, features):
            return np.array(["a", 7, None, 1.5, True, math.nan] * len(features), object)[: len(features)]

    _, output, _ = score(b'{"x1":1}\n' * 6, tmp_path, Mixed())
    assert predictions_of(output) == ["a", 7, None, 1.5, True, None]


def test_half_a_surrogate_pair_is_no_prediction(tmp_path):
    with pytest.raises(handler.ModelError, match="half a surrogate pair"):
        score(b'{"x1":1}\n', tmp_path, Constant("\ud800"))


def test_several_outputs_are_several_keys(tmp_path):
    model = LinearRegression().fit(pd.DataFrame({"x1": [0.0, 1.0]}), [[0.0, 1.0], [1.0, 3.0]])
    _, output, _ = score(b'{"x1":1}\n{}\n{"x1":3}\n', tmp_path, model, on_bad_row="quarantine")
    rows = [json.loads(line) for line in output.splitlines()]
    assert [list(row) for row in rows] == [["x1", "p_0", "p_1"], ["p_0", "p_1"], ["x1", "p_0", "p_1"]]
    assert rows[0]["p_1"] == pytest.approx(3)
    assert rows[1] == {"p_0": None, "p_1": None}


def test_what_is_asked_of_a_classifier_are_keys(tmp_path):
    model = LogisticRegression().fit(pd.DataFrame({"x1": [0.0, 1.0, 2.0, 3.0]}), ["no", "no", 'say "yes"', 'say "yes"'])
    _, output, _ = score(
        b'{"x1":0}\n{"x1":null}\n{"x1":9}\n', tmp_path, model, predictions=["label", "probability"], on_bad_row="quarantine"
    )
    first, bad, last = map(json.loads, output.splitlines())
    assert (first["p"], bad["p"], last["p"]) == ("no", None, 'say "yes"')
    assert first["p_probability"] == pytest.approx(model.predict_proba(pd.DataFrame({"x1": [0.0]}))[0, 0])


BAD = [
    (b'{"x1":"abc"}', b'{"x1":"abc","p":null}', "column 'x1': 'abc' is not a number"),
    (b'{"x1":[1]}', b'{"x1":[1],"p":null}', "column 'x1' holds an array, not one value"),
    (b'{"x1":{"a":1}} ', b'{"x1":{"a":1},"p":null} ', "column 'x1' holds an object, not one value"),
    (b'{"x1":1,"x1":1}', b'{"x1":1,"x1":1,"p":null}', "column 'x1' is there twice"),
    (rb'{"x1":1,"\u00781":1}', rb'{"x1":1,"\u00781":1,"p":null}', "column 'x1' is there twice"),
    (rb'{"x1":"\ud800"}', rb'{"x1":"\ud800","p":null}', "column 'x1' holds half a surrogate pair, a text that UTF-8 cannot hold"),
    (b"[1]", b"[1]", "the line is JSON, but no object"),
    (b"7", b"7", "the line is JSON, but no object"),
    (b'{"x1":1', b'{"x1":1', "the line is not JSON: Expecting ',' delimiter (at its character 8)"),
    (b'{"x1"', b'{"x1"', "the line is not JSON: Expecting ':' delimiter (at its character 6)"),
    (b'{"x1":01}', b'{"x1":01}', "the line is not JSON: Expecting ',' delimiter (at its character 8)"),
    (b'{"x1":"\xff"}', b'{"x1":"\xff"}', "bytes that are not UTF-8"),
    (b"[" * 100_000, b"[" * 100_000, "the line is nested too deeply"),
]


@pytest.mark.parametrize(("line", "kept", "reason"), BAD)
def test_a_bad_line_fails_with_its_place_or_keeps_it(line, kept, reason, tmp_path):
    """An object gets null; what is none stays byte for byte."""
    data = b'\n{"x1":1}\n' + line + b'\n{"x1":3}\n'
    with pytest.raises(handler.InvalidDataError) as refusal:
        score(data, tmp_path, linear(["x1"], [2.0]))
    assert str(refusal.value).startswith("in.jsonl row 2 (byte 10), ")
    assert "abc" not in str(refusal.value)
    facts, output, listed = score(data, tmp_path, linear(["x1"], [2.0]), on_bad_row="quarantine")
    lines = output.split(b"\n")
    assert (lines[0], lines[2], facts.rows, facts.rejected_rows) == (b"", kept, 3, 1)
    assert [json.loads(lines[row])["p"] for row in (1, 3)] == pytest.approx([2, 6])
    assert next(handler.csv.reader(listed)) == ["in.jsonl", "2", "10", reason]


@pytest.mark.parametrize("key", ['"p"', r'"\u0070"'])
def test_a_key_that_is_called_like_the_prediction_is_refused_in_any_row(key, tmp_path):
    """Also if bad rows are quarantined: readers would take it for the prediction."""
    data = b'{"x1":1,"t":"p"}\n{"x1":2,%b:3}\n' % key.encode()
    message = r"in\.jsonl row 2 \(byte 17\) has 'p' already: choose another prediction_column_name"
    with pytest.raises(handler.InvalidRequestError, match=message):
        score(data, tmp_path, linear(["x1"], [2.0]), block_bytes=20, on_bad_row="quarantine")
    with pytest.raises(handler.InvalidRequestError, match=r"in\.jsonl has a column 'p' already"):
        score(data, tmp_path, linear(["x1"], [2.0]))


def test_a_feature_that_no_first_row_has_is_refused(tmp_path):
    """Unless its type is stated: only later rows may have it."""
    data = b'{"X1":1}\n' * 3 + b'{"x1":5}\n'
    with pytest.raises(
        handler.InvalidRequestError, match=r"in.jsonl has no column 'x1'.*it has 'X1', as far as its first 2 row\(s\) show"
    ):
        score(data, tmp_path, block_bytes=20)
    facts, output, _ = score(data, tmp_path, block_bytes=20, column_types={"x1": "number"})
    assert (facts.rows, predictions_of(output)) == (4, [None, None, None, 5])


@pytest.mark.parametrize("data", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_object_without_rows(data, tmp_path):
    with pytest.raises(handler.InvalidDataError, match=r"in\.jsonl has no rows: name data that has rows"):
        score(data, tmp_path, linear(["x1"], [2.0]))
    facts, output, _ = score(data, tmp_path, linear(["x1"], [2.0]), on_no_rows="succeed")
    assert (facts.rows, output, facts.read.bytes) == (0, data.removeprefix(b"\xef\xbb\xbf"), len(data))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'[\n{"x1":1},\n{"x1":2}\n]\n', "in.jsonl is not JSON Lines but begins with a JSON array: write each object on a line"),
        ('{"x1":1}\n'.encode("utf-16"), "in.jsonl is not JSON Lines but UTF-16: convert it to UTF-8 first"),
        (b"PAR1\0\0", "in.jsonl is not JSON Lines but Parquet: set input_format to parquet"),
        (b"x1,x2\n1,2\n", "in.jsonl is not JSON Lines: none of its first 2 line(s) is a JSON object"),
    ],
)
def test_what_is_no_json_lines_is_named(data, message, tmp_path):
    with pytest.raises(handler.InvalidDataError, match=re.escape(message)):
        score(data, tmp_path)


def test_features_are_what_pandas_reads(tmp_path):
    """Of open columns, too: `pandas.read_json(lines=True, dtype=False)` is what a step of one's own gets."""
    generator = np.random.default_rng(1)
    columns = {
        "number": generator.normal(size=200).tolist(),
        "whole": generator.integers(-9, 9, 200).tolist(),
        "some": [None if row % 7 == 0 else row for row in range(200)],
        "flag": (generator.random(200) < 0.5).tolist(),
        "maybe": [None if row % 5 == 0 else row % 2 == 0 for row in range(200)],
        "city": generator.choice(["Zürich", "New\nYork", "007", "NA", 'a"b'], 200).tolist(),
        "none": [None] * 200,
    }
    rows = [{name: values[row] for name, values in columns.items() if values[row] is not None or row % 2} for row in range(200)]
    path = tmp_path / "in.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    expected = pd.read_json(path, lines=True, dtype=False)[list(columns)]
    seen = []

    class Looks:
        def predict(self, features):
            seen.append(features)
            return np.zeros(len(features))

    score(path.read_bytes(), tmp_path, Looks(), feature_columns=list(columns))
    found = pd.concat(seen[-1:], ignore_index=True)
    expected["none"] = expected["none"].astype(float)  # as of CSV; pandas has objects
    pd.testing.assert_frame_equal(found, expected)


def test_a_model_of_texts_and_numbers_gets_the_same_from_json_as_from_pandas(tmp_path):
    generator = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"city": generator.choice(["Zürich", "Bern", "007"], 300), "a": generator.normal(size=300), "id": range(300)}
    )
    steps = [("city", OneHotEncoder(handle_unknown="ignore"), ["city"]), ("a", FunctionTransformer(np.abs), ["a"])]
    model = make_pipeline(ColumnTransformer(steps), LinearRegression()).fit(frame[["city", "a"]], frame["id"])
    path = tmp_path / "in.jsonl"
    frame.to_json(path, orient="records", lines=True)
    _, output, _ = score(path.read_bytes(), tmp_path, model, feature_columns=None, block_bytes=3000)
    expected = model.predict(pd.read_json(path, lines=True, dtype=False)[["city", "a"]])
    assert predictions_of(output) == pytest.approx(expected)


def test_integers_that_a_double_rounds_are_counted(tmp_path):
    data = b'{"x1":9007199254740993}\n{"x1":9007199254740992}\n{"x1":1e300}\n'
    facts, _, _ = score(data, tmp_path, linear(["x1"], [2.0]))
    assert facts.rounded_integers == 1
    _, _, listed = score(data, tmp_path, linear(["x1"], [2.0]), strict=True, on_bad_row="quarantine")
    assert listed == ["in.jsonl,1,0,column 'x1': '9007199254740993' is an integer too large to be exact (2^53)"]


def test_files_of_different_keys_and_line_ends_are_one_output(tmp_path):
    files = {"a.jsonl": b'\xef\xbb\xbf{"x1":1,"y":2}', "b.jsonl": b'\xef\xbb\xbf{"x1":3}\r\n\r\n', "c.jsonl": b"\n"}
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    paths = [tmp_path / name for name in files]
    facts = handler.score_file(paths, tmp_path / "out.jsonl", linear(["x1"], [2.0]), prediction_column_name="p")
    output = (tmp_path / "out.jsonl").read_bytes()
    assert [json.loads(line)["p"] for line in output.decode().split()] == pytest.approx([2, 6])
    assert output.startswith(b'{"x1":1,"y":2,"p":')
    assert output.endswith(b"}\r\n\r\n\n")
    assert facts.read.bytes == sum(map(len, files.values()))


def test_a_range_is_scored_as_a_share_of_the_whole(s3):
    """Wherever lines end: the shares are the whole."""
    lines = [b'{"x1":%d,"x2":1}\n' % row for row in range(9)]
    lines[4] = b"\n" + lines[4] + b"  \n"
    data = b"\xef\xbb\xbf" + b"".join(lines)
    bucket, key = handler.parse_s3_uri(MODEL)
    s3.put_object(Bucket=bucket, Key=key, Body=dumped(linear()))
    s3.put_object(Bucket=BUCKET, Key="data/in.jsonl", Body=data)

    def part(**fields):
        event = make_event(
            data_s3_uri=f"s3://{BUCKET}/data/in.jsonl", output_s3_uri=f"s3://{BUCKET}/out/p.jsonl", raise_errors=True, **fields
        )
        receipt = handler.lambda_handler(event, None)
        assert receipt["quote_parity"] == 0
        found = s3.get_object(Bucket=BUCKET, Key="out/p.jsonl")
        assert found["ContentType"] == "application/jsonl"
        return found["Body"].read(), receipt

    whole, receipt = part()
    cut = data.index(lines[6])
    (first, one), (second, other) = part(byte_range=[0, cut]), part(byte_range=[cut, len(data)])
    assert first + second == whole
    assert receipt["rows_read"] == one["rows_read"] + other["rows_read"] == 9
    assert (receipt["input_bytes"], one["header_bytes"], other["header_bytes"]) == (len(data), 0, 0)
    assert receipt["layout_sha256"] == one["layout_sha256"] == other["layout_sha256"]
    assert one["input_bytes"] + other["input_bytes"] == len(data)


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_compressed_lines_come_out_compressed(compression, tmp_path):
    ending = {"gzip": "gz", "zstd": "zst"}[compression]
    data = b'\xef\xbb\xbf{"x1":1}\n\n{"x1":2}'
    with pa.output_stream(str(tmp_path / f"in.jsonl.{ending}"), compression=compression) as file:
        file.write(data)
    output = tmp_path / f"out.jsonl.{ending}"
    facts = handler.score_file(tmp_path / f"in.jsonl.{ending}", output, linear(["x1"], [2.0]), prediction_column_name="p")
    with pa.input_stream(str(output), compression=compression) as file:
        lines = file.read().decode().split()
    assert [json.loads(line)["p"] for line in lines] == pytest.approx([2, 4])
    assert (facts.rows, facts.read.bytes) == (2, (tmp_path / f"in.jsonl.{ending}").stat().st_size)
