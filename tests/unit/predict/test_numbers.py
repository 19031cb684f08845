"""Numbers by the kernel beside pyarrow's and Python's own: every bit, every message and every row that comes out."""

import csv
import functools
import io
import math
import random
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from harness import score_locally
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor

import number_kernel
import predict_kernel
import prediction_handler as handler


def read(texts, line_end=b"\n"):
    """Read texts as a column of one field each; the first and the last have something behind them in memory, or nothing."""
    data = b"".join([line_end, *(text + line_end for text in texts)])
    offsets = np.cumsum([0, *(len(text) + len(line_end) for text in texts)]).astype(np.int32)
    return number_kernel.read(data, offsets, len(line_end), ["x"], ["x"], [])


def taken(text):
    """The number that the kernel reads, None if it is missing, or "declined"."""
    numbers = read([text])
    if numbers.declined:
        return "declined"
    assert numbers.missing.tolist() == [not text]
    return None if not text else float(numbers.matrix[0, 0])


def bits(number):
    return struct.pack("<d", number)


# --- numbers ----------------------------------------------------------------------------------------------------------------------


def spellings(generator):
    """A number of up to 19 digits that count, spelled in any way that the kernel takes, or nearly so."""
    digits = "".join(generator.choices("0123456789", k=generator.randint(1, 19)))
    if generator.random() < 0.2:  # nearly halfway between two doubles
        value = abs(struct.unpack("<d", generator.randbytes(8))[0])
        if math.isfinite(value):
            digits = f"{value + math.ulp(value) / 2 if generator.random() < 0.5 else value:.18e}".replace(".", "").partition("e")[0]
    point = generator.randint(0, len(digits))
    text = generator.choice(["", "-"]) + "0" * generator.choice([0, 0, 0, 1, 30]) + digits[:point]
    if point < len(digits) or generator.random() < 0.1:
        text += "." + "0" * generator.choice([0, 0, 30]) * (not digits[:point].strip("0")) + digits[point:]
    if generator.random() < 0.4:
        sign = generator.choice(["", "+", "-"])
        text += generator.choice("eE") + sign + str(generator.choice([generator.randint(0, 30), generator.randint(280, 350)]))
    return text


def assert_numbers(texts):
    numbers = read([text.encode() for text in texts])
    wanted = [float(text) for text in texts]
    finite = [value for value in wanted if math.isfinite(value)]
    if len(finite) < len(texts):
        assert numbers.declined
        numbers = read([text.encode() for text, value in zip(texts, wanted, strict=True) if math.isfinite(value)])
    assert not numbers.declined
    wrong = np.flatnonzero(numbers.matrix[:, 0].view(np.uint64) != np.array(finite).view(np.uint64))
    assert not len(wrong), [text for text in texts if float(text) == finite[wrong[0]]]
    assert ("x" in numbers.exact) == (not any(abs(value) >= 2.0**53 for value in finite))


@settings(deadline=None)
@given(st.integers(0, 2**64))
def test_numbers_are_rounded_as_python_rounds_them(seed):
    generator = random.Random(seed)
    assert_numbers([spellings(generator) for _ in range(200)])


@pytest.mark.thorough
def test_a_million_numbers_are_rounded_as_python_rounds_them():
    generator = random.Random(1)
    for _ in range(1000):
        assert_numbers([spellings(generator) for _ in range(1000)])


def test_every_power_of_ten():
    """With the smallest, largest and most numbers of digits: so each word of the table counts."""
    assert_numbers(
        [f"{number}e{power}" for power in range(-400, 330) for number in (1, 3, 9007199254740993, 10**19 - 1, 1234567890123456789)]
    )


def first_numbers(pairs):
    """The bits of the first field of each record of two, or what they are instead."""
    data = b"\n" + b"".join(b"%s,%s\n" % pair for pair in pairs)
    offsets = np.cumsum([0, *(len(b"%s,%s\n" % pair) for pair in pairs)]).astype(np.int32)
    numbers = number_kernel.read(data, offsets, 1, ["x", "y"], ["x", "y"], [])
    if numbers is None or numbers.declined:
        return "another number of fields" if numbers is None else numbers.declined
    return numbers.matrix[:, 0].view(np.uint64).tolist()


@settings(deadline=None)
@given(st.integers(0, 2**64))
def test_a_text_is_read_the_same_after_numbers_of_one_form(seed):
    """The kernel expects that form then: it may be another one, or no number, by one character."""
    generator = random.Random(seed)
    digits = generator.randint(1, 17)
    decimals = generator.randint(-1, digits)

    def spelled():
        text = "".join(generator.choices("0123456789", k=digits))
        return generator.choice(["", "-"]) + (text if decimals < 0 else f"{text[: digits - decimals]}.{text[digits - decimals :]}")

    usual = [spelled() for _ in range(12)]
    assert_numbers(usual)
    pairs = [(text.encode(), b"1.5") for text in usual]
    for _ in range(20):
        odd = bytearray(spelled().encode())
        place = generator.randint(0, len(odd))
        odd[place : place + generator.randint(0, 1)] = generator.choice(
            [b"", bytes([generator.choice(b'0159.-+eE, "\n\r\0/:\xae\xff')])]
        )
        pair = (bytes(odd), b"2.5")
        alone, behind = first_numbers([pair]), first_numbers([*pairs, pair, *pairs])
        assert behind == (alone if isinstance(alone, (str, frozenset)) else first_numbers(pairs) + alone + first_numbers(pairs))


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("", None),
        ("0", 0.0),
        ("-0", -0.0),
        ("-0.000e-999", -0.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("-.5e1", -5.0),
        ("000000000000000000000000007", 7.0),
        ("0.0000000000000000000000000000000000000000001234567890123456789", 1.234567890123456789e-43),
        ("9007199254740993", 9007199254740992.0),
        ("9007199254740993e-3", 9007199254740.993),
        ("2.4703282292062328e-324", 5e-324),
        ("2.4703282292062327e-324", 0.0),
        ("2.2250738585072011e-308", 2.2250738585072011e-308),
        ("1.7976931348623157e308", 1.7976931348623157e308),
        ("1E+05", 1e5),
    ],
)
def test_what_is_read(text, number):
    assert repr(taken(text.encode())) == repr(number)


LEFT = "-|.|-.|e5|.e5|1e|1e+|1e-|1e1.5|1.2.3|1-|--1|+1| 1|1 |1\t|0x10|1_0|1'0|inf|-inf|nan|NaN|NA|null|true|1.8e308|1e309|1e00001"
LEFT += '|12345678901234567890|0.12345678901234567891|1d5|1f|1\0|\0|1é|\u0661|\uff11|1e5é|\ufeff1|1;2|(1)|5%|"1"|""'


@pytest.mark.parametrize("text", LEFT.split("|"))
def test_what_is_left_to_pyarrow(text):
    assert taken(text.encode()) == "declined"


def test_no_byte_but_digits_are_digits():
    for octet in set(range(256)) - set(b"0123456789,\n"):
        for text in (b"%c", b"%c1", b"1%c", b"1234567%c", b"12345678%c1", b"1.5%c2", b"1e%c"):
            assert taken(text % octet) == ("declined" if (text, octet) not in TAKEN else float((text % octet).decode()))


TAKEN = {(b"%c1", ord("-")), (b"%c1", ord(".")), (b"1%c", ord(".")), (b"1234567%c", ord(".")), (b"12345678%c1", ord("."))}
TAKEN |= {(b"12345678%c1", ord(e)) for e in "eE"} | {(b"1.5%c2", ord(e)) for e in "eE"}


# --- records ----------------------------------------------------------------------------------------------------------------------

NAMES = ["id", "x2", "city", "x1", "note"]
PLAIN = ["0", "1", "-1.5", "3.25", "12345678.12345678", "0.30000000000000004", "", "", "1e5"]
ODD = (
    "-0|.5|5.|1E+05|1e-400|1e308|1e309|5e-324|-|.|e5|1e|+1| 1|1 |1\t|inf|-Infinity|nan|-nan|NaN|nan(1)|NA|n/a|null|None|true|FALSE"
    "|0x10|1_0|1\0|é|\uff11|9007199254740992|9007199254740993|-9007199254740993|18446744073709551617|99999999999999999999|0000000000007"
    '|1.00000000000000000000000000000000001|\ufeff1|"1"|"1.5"|""|" 1"|"NA"|"1,5"|"1\n5"|"1\r\n5"|"1""5"'
)
TEXTS = ["", "Bern", "Zürich", "NA", "a\0b", '"a,b"', '"a\nb"', '"say ""a"""', '""', " ", "\ufeff", "x" * 40]


@st.composite
def hostile_files(draw):
    """A file of two numbers and three texts a record, in which anything may be wrong."""
    odd = draw(st.sampled_from([0, 0.05, 0.5]))
    generator = random.Random(draw(st.integers(0, 2**64)))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    may_quote = draw(st.booleans())

    def field(name):
        often, seldom = (PLAIN, ODD.split("|")) if name[0] == "x" else (TEXTS[:3], TEXTS)
        text = generator.choice(seldom if generator.random() < odd else often)
        return text if may_quote or '"' not in text else "1"

    lines = [",".join(map(field, NAMES)) for _ in range(draw(st.integers(1, 40)))]
    if odd and draw(st.booleans()):
        place = generator.randrange(len(lines))
        short, whole = lines[place].rpartition(",")[0], lines[place]
        damage = generator.choice(["", " ", "\t", "1", whole + ",", short, ",,,,", "\r" + whole])
        lines.insert(place, damage)
    last = draw(st.sampled_from([line_end, "", "\r", "\n", line_end * 2]))
    return (draw(st.sampled_from(["", "\ufeff"])) + line_end.join([",".join(NAMES), *lines]) + last).encode()


@functools.cache
def model_of(kind):
    numbers = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["x1", "x2"])
    frame = numbers.assign(city=["Bern", "Zürich"] * 20)
    if kind == "mixed":
        parts = [("city", OneHotEncoder(handle_unknown="ignore"), ["city"]), ("numbers", SimpleImputer(), ["x2", "x1"])]
        return make_pipeline(ColumnTransformer(parts), LinearRegression()).fit(frame, frame["x1"])
    if kind == "changes":
        fills = FunctionTransformer(np.nan_to_num, kw_args={"copy": False, "nan": 7.0})
        model = make_pipeline(fills, StandardScaler(copy=False), LinearRegression())
        return model.fit(numbers.to_numpy(copy=True), frame["x1"])
    if kind == "shared":
        scalers = [("one", MinMaxScaler(copy=False)), ("other", StandardScaler(copy=False))]
        return make_pipeline(FeatureUnion(scalers), DecisionTreeRegressor()).fit(numbers, frame["x1"])
    return make_pipeline(*([SimpleImputer()] if kind == "missing" else []), LinearRegression()).fit(numbers, frame["x1"])


def outcome(data, folder, block_bytes, kind, **fields):
    """All that scoring gives: what is counted, the output and the list of rejected rows, or the error."""
    columns = ["city", "x1", "x2"] if kind == "mixed" else ["x1", "x2"]
    try:
        facts, output = score_locally(data, folder, block_bytes, model_of(kind), feature_columns=columns, **fields)
    except handler.PredictionError as error:
        return type(error), str(error)
    rejected = folder / "part.csv.rejected.csv"
    return repr(facts), output, rejected.read_bytes() if rejected.exists() else None


def both_outcomes(*arguments, **fields):
    """With the kernel and without."""
    own = handler._beside
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "_beside", lambda name: None if name == "number_kernel" else own(name))
        without = outcome(*arguments, **fields)
    return outcome(*arguments, **fields), without


WAYS = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(["linear", "missing", "mixed"]),
        "block_bytes": st.sampled_from([60, 300, 100_000]),
        "on_bad_row": st.sampled_from(["fail", "quarantine"]),
        "strict": st.booleans(),
    }
)


@settings(deadline=None, max_examples=12)
@given(hostile_files(), WAYS)
def test_hostile_files_give_the_same_with_and_without(tmp_path_factory, data, way):
    with_kernel, without = both_outcomes(data, tmp_path_factory.mktemp("any"), **way)
    assert with_kernel == without


def features_of(data, block_bytes, kinds):
    """The features of each block, the integers that are rounded, the rows that are rejected, and the error that ends it."""
    columns = handler._Columns([*kinds], kinds, known={"city": ("NA",)})
    found = []

    def reject(row, reason):
        found.append((row, reason))

    try:
        header = handler._read_header(data, "data.csv")
        records = io.BytesIO(data[header.size :])
        for block in handler._read_blocks(records, header, handler._Source("data.csv", 0), header.size, block_bytes):
            features = block.features(columns, reject)
            features.table.validate(full=True)
            arrays = [column.to_numpy().tobytes() for column in features.table.columns if pa.types.is_floating(column.type)]
            assert features.matrix is None or [column.tobytes() for column in features.matrix.T] == arrays
            found += [features.table.combine_chunks().to_pydict(), arrays, handler._rounded_integers(block, columns, features)]
    except handler.PredictionError as error:
        found.append((type(error), str(error)))
    return repr(found)


def assert_same_features(data, block_bytes, has_text):
    kinds = {"x1": handler.NUMBER, "x2": handler.NUMBER} | ({"city": handler.TEXT} if has_text else {})
    own, with_kernel = handler._beside, features_of(data, block_bytes, kinds)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "_beside", lambda name: None if name == "number_kernel" else own(name))
        assert with_kernel == features_of(data, block_bytes, kinds)


BLOCKS = (hostile_files(), st.sampled_from([60, 300, 100_000]), st.booleans())


@settings(deadline=None)
@given(*BLOCKS)
def test_hostile_blocks_are_read_the_same_with_and_without(data, block_bytes, has_text):
    assert_same_features(data, block_bytes, has_text)


@pytest.mark.thorough
@pytest.mark.timeout(3000)
@settings(deadline=None, max_examples=30_000)
@given(*BLOCKS)
def test_many_hostile_blocks_are_read_the_same_with_and_without(data, block_bytes, has_text):
    assert_same_features(data, block_bytes, has_text)


def parsed(data, names=("x1", "x2"), kinds=None):
    """The features of a file's only block."""
    header = handler._read_header(data, "data.csv")
    block = handler._first_block(data, "data.csv", is_whole=True)
    columns = handler._Columns([*names], dict.fromkeys(names, handler.NUMBER) | (kinds or {}))
    assert header
    return block.features(columns, pytest.fail)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_plain_numbers_come_from_the_kernel_without_a_copy(line_end):
    features = parsed(line_end.join(["id,x2,x1,note", "a,1,,b", 'a,,2.5,"b,\n"']).encode())
    assert features.table.to_pydict() == {"x1": [None, 2.5], "x2": [1.0, None]}
    assert np.array_equal(features.matrix, [[np.nan, 1.0], [2.5, np.nan]], equal_nan=True)
    assert features.matrix.flags.f_contiguous
    features.table.validate(full=True)
    address = features.table["x2"].chunk(0).buffers()[1].address
    assert address == features.matrix[:, 1].ctypes.data


def test_only_the_column_with_odd_spellings_is_left_to_pyarrow(monkeypatch):
    asked, own = [], handler._parse_columns
    monkeypatch.setattr(handler, "_parse_columns", lambda block, names, *more: asked.append(names) or own(block, names, *more))
    features = parsed(b"x1,city,x2\n1,a,NA\n2,b,3\n", ["x1", "x2", "city"], {"city": handler.TEXT})
    assert features.table.to_pydict() == {"x1": [1.0, 2.0], "x2": [None, 3.0], "city": ["a", "b"]}
    assert asked == [["x2", "city"]]
    assert (features.matrix, features.exact) == (None, {"x1"})


@pytest.mark.parametrize("fields", [1, 2, 3])
def test_fields_are_counted_to_the_end_of_the_data(fields):
    """Of any length: the kernel looks at several bytes at once, and no byte behind the data is there to be looked at."""
    for size in range(1, 40):
        for text in ("x" * size, "1" * size, "x" * size + ",", "," + "x" * size, f'"{"," * size}"', f'"{"x" * size}""",1'):
            data = f"\n{text}\n".encode()
            read = number_kernel.read(data, np.array([0, len(data) - 1], np.int32), 1, ["a", "b", "c"][:fields], ["a"], [])
            assert (read is not None) == (len(next(csv.reader([text], strict=True))) == fields)


def test_a_model_may_change_its_features_where_they_are(tmp_path):
    """The kernel's array serves the statistics as well: such a model gets a copy."""
    data = b"id,x2,city,x1,note\n" + b"".join(f"a,{number},b,{-number},c\na,,b,1,c\n".encode() for number in range(49))
    with_kernel, without = both_outcomes(data, tmp_path, 400, "changes")
    assert with_kernel == without
    assert b"-48" in with_kernel[1]


@pytest.mark.parametrize("odd", ["1.5", "+1.5", "x"], ids=["plain", "odd", "bad"])
def test_a_step_that_changes_its_features_changes_none_of_another_step(odd, tmp_path):
    """As of a DataFrame: neither with the kernel nor without, and whatever stands in another row."""
    data = b"id,x2,city,x1,note\n" + b"".join(f"a,{n / 7},b,{(n - 9) / 5},c\n".encode() for n in range(19))
    for result in both_outcomes(data + f"a,1.5,b,{odd},c\n".encode(), tmp_path, 10_000, "shared", on_bad_row="quarantine"):
        found = pd.read_csv(io.BytesIO(result[1]), nrows=19)
        assert found["p"].tolist() == model_of("shared").predict(found[["x1", "x2"]]).tolist()


@pytest.mark.parametrize("lacking", ["module", "library"])
def test_without_the_kernel_pyarrow_reads(lacking, monkeypatch, tmp_path):
    data = b"id,x2,city,x1,note\na,1,b,2.5,c\na,1,b,,c\n"
    expected = outcome(data, tmp_path, 400, "missing")
    if lacking == "module":
        monkeypatch.setitem(handler.sys.modules, "number_kernel", None)
    else:
        monkeypatch.setenv(predict_kernel.LIBRARY_VARIABLE, str(Path(tmp_path, "absent.so")))
    for cached in (handler._beside, predict_kernel.kernel):
        cached.cache_clear()
    try:
        assert outcome(data, tmp_path, 400, "missing") == expected
        assert (handler._beside("number_kernel") is None) == (lacking == "module")
    finally:
        for cached in (handler._beside, predict_kernel.kernel):
            cached.cache_clear()
