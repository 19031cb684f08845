"""CSV that is not written with commas: what pandas reads of it, and the input's own bytes with predictions behind them."""

import gzip
import io
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, invoke, linear, score_locally
from hypothesis import given, settings
from hypothesis import strategies as st

import number_kernel
import prediction_handler as handler
from support.places import dumped

DELIMITERS = [",", ";", "\t", "|", "^", "\x01", " ", "~", "]", "\\"]
LETTERS = {
    "utf-8": "äß€😀日\x85",
    "cp1252": "äß€\x81"[:3],
    "latin-1": "äß\x85\xa0",
    "iso8859-15": "äß€Š",
    "cp1250": "äß€ř",
    "cp437": "äß░Γ",
    "mac_roman": "äß€Ω",
    "utf-8-sig": "ä😀",
    "utf-16": "ä€😀日\x85",
    "utf-16-be": "ä😀日",
}


class Echo:
    """A model of somebody's own whose predictions show what it has read."""

    def predict(self, features):
        return np.array([f"{x!r}/{city!r}" for x, city in zip(features["x"].tolist(), features["city"].tolist(), strict=True)])


class FirstNumber:
    def predict(self, features):
        return np.asarray(features, np.float64)[:, 0]


def field(text, dialect, *, always):
    """A field of a record, quoted if it must be, or always."""
    marks = {dialect["delimiter"], dialect.get("comment") or '"', '"', "\r", "\n"}
    return f'"{text.replace(chr(34), chr(34) * 2)}"' if always or marks.intersection(text) else text


@st.composite
def files(draw):
    """A dialect, a file in it, its records without line ends, and what stands before each and behind all of them."""
    encoding = draw(st.sampled_from([*LETTERS]))
    delimiter = draw(st.sampled_from(DELIMITERS))
    decimal = draw(st.sampled_from([mark for mark in ".," if mark != delimiter]))
    comment = draw(st.sampled_from([mark for mark in (None, "#", "%") if mark != delimiter]))
    line_end = draw(st.sampled_from(["\n", "\r\n"]))
    has_header = draw(st.booleans())
    dialect = {"delimiter": delimiter, "decimal": decimal, "comment": comment, "encoding": encoding, "header": has_header}
    names = ["größe" if encoding != "mac_roman" else "a", "x", "city"]
    letters = st.sampled_from('"\n#%;|,.\t ab1' + LETTERS[encoding])
    texts = st.one_of(st.sampled_from(["", "NA", "1,5", "1.5", "true"]), st.text(letters, max_size=6))
    numbers = st.one_of(
        st.just(""), st.integers(-(2**40), 2**40).map(str), st.floats(allow_nan=False, allow_infinity=False).map(repr)
    )
    rows = draw(st.lists(st.tuples(texts, numbers.map(lambda text: text.replace(".", decimal)), texts), min_size=1, max_size=12))
    always = draw(st.booleans())
    between = ["", line_end, f"  {line_end}" if delimiter != " " else line_end]
    between += [f'{comment} say "x{delimiter}"{line_end}'] if comment else []
    table = [names, *rows] if has_header else rows
    befores = [draw(st.sampled_from(between if index or comment else [""])) for index in range(len(table))]
    behind = draw(st.sampled_from(between))
    bom = "\ufeff" if encoding in ("utf-8-sig", "utf-16") else ""
    records = [delimiter.join(field(text, dialect, always=always) for text in row) for row in table]
    text = bom + line_end.join(before + record for before, record in zip(befores, records, strict=True)) + line_end + behind
    dialect |= {} if has_header else {"column_names": names}
    plain = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(encoding, encoding)
    said = {name: value for name, value in dialect.items() if value is not None}
    befores[0] = bom + befores[0]
    return (
        said,
        text.encode(plain),
        [record.encode(plain) for record in records],
        [one.encode(plain) for one in befores],
        (line_end + behind).encode(plain),
    )


def as_pandas_reads(data, said):
    return pd.read_csv(
        io.BytesIO(data),
        sep=said["delimiter"],
        decimal=said["decimal"],
        comment=said.get("comment"),
        encoding=said["encoding"],
        header=0 if said["header"] else None,
        names=None if said["header"] else said["column_names"],
        low_memory=False,
    )


def assert_as_pandas(table, block_bytes, folder):
    said, data, records, befores, behind = table
    encoding = {"utf-8-sig": "utf-8", "utf-16": "utf-16-le"}.get(said["encoding"], said["encoding"])
    delimiter, behind = said["delimiter"], behind.decode(encoding)
    line_end = "\r\n" if behind.startswith("\r") else "\n"
    facts, output = score_locally(data, folder, block_bytes, Echo(), csv=said, feature_columns=["x", "city"])
    wanted = Echo().predict(as_pandas_reads(data, said)).tolist()
    printed = [field(text, {**said, "comment": None}, always=False) for text in [*["p"] * said["header"], *wanted]]
    lines = [
        before + record + f"{delimiter}{prediction}".encode(encoding)
        for before, record, prediction in zip(befores, records, printed, strict=True)
    ]
    assert output == line_end.encode(encoding).join(lines) + behind.encode(encoding)
    quotes = data.decode(encoding).removesuffix(behind).count('"')
    assert facts.read == handler._Tally(behind.removeprefix(line_end).encode(), len(wanted), len(data), quotes)
    mark = "\ufeff".encode(encoding) if data.decode(encoding).startswith("\ufeff") else b""
    assert facts.header_bytes == (len(lines[0] + line_end.encode(encoding)) if said["header"] else len(mark))


@settings(deadline=None, max_examples=30)
@given(files(), st.integers(1, 300))
def test_each_row_gets_what_pandas_reads_and_keeps_its_bytes(table, block_bytes):
    with tempfile.TemporaryDirectory() as folder:
        assert_as_pandas(table, block_bytes, Path(folder))


@pytest.mark.thorough
@pytest.mark.timeout(3000)
@settings(deadline=None, max_examples=4000)
@given(files(), st.integers(1, 300))
def test_many_files_of_any_dialect(table, block_bytes):
    with tempfile.TemporaryDirectory() as folder:
        assert_as_pandas(table, block_bytes, Path(folder))


SEMICOLONS = {"delimiter": ";", "decimal": ","}
UNLOADED = {"delimiter": "|", "header": False, "column_names": ["id", "x1"]}


@pytest.fixture(params=[True, False], ids=["with kernel", "without"])
def kernel(request, monkeypatch):
    if not request.param:
        own = handler._beside
        monkeypatch.setattr(handler, "_beside", lambda name: None if name == "number_kernel" else own(name))


@pytest.mark.parametrize(
    ("values", "printed"),
    [
        ([1.5, -1e-07, 1234567.25, 3.0, 1e300], ["1,5", "-1e-7", "1234567,25", "3,0", "1e+300"]),
        ([1.5, np.inf, -2.5, np.nan, 0.0], ["1,5", "inf", "-2,5", "nan", "0,0"]),
        ([1, 2, 3, -4, 5], ["1", "2", "3", "-4", "5"]),
        (["a;b", "1.5", 'c"', "d,e", "f"], ['"a;b"', "1.5", '"c"""', "d,e", "f"]),
    ],
    ids=["numbers", "infinite", "integers", "texts"],
)
@pytest.mark.parametrize("bad", [b"", b"f;x\r\n", b"f;1.5\r\n"], ids=["no bad row", "a text", "a point"])
def test_predictions_are_printed_as_the_data_is_written(kernel, tmp_path, values, printed, bad):
    class Model:
        def predict(self, features):
            return np.array(values)[: len(features)]

    records = [b"a;1,5", b"b;-2", b"c;3,25e2", b"d;004", b"e;,5"]
    data = b"\r\n".join([b"id;x1", *records, b""]) + bad
    stated = {"x1": "number"}
    facts, output = score_locally(data, tmp_path, model=Model(), csv=SEMICOLONS, column_types=stated, on_bad_row="quarantine")
    lines = [b"id;x1;p", *(record + b";" + text.encode() for record, text in zip(records, printed, strict=True))]
    assert output == b"\r\n".join([*lines, b""]) + bad.replace(b"\r", b";\r")
    assert facts.rejected_rows == bool(bad)


def test_the_kernel_reads_numbers_between_any_delimiters():
    """Of the same bits as with commas and points, wherever the data end."""
    generator = np.random.default_rng(0)
    texts = [
        f"{value:.{digits}f}" for value, digits in zip(generator.normal(0, 99, 300), generator.integers(0, 16, 300), strict=True)
    ]
    texts += ["1e5", "-.5", "5.", "9" * 17, ""]

    def read(delimiter, decimal):
        data = "".join(f"\n{text}|x|{text}".replace(".", decimal).replace("|", delimiter) for text in texts).encode() + b"\n"
        offsets = np.append(np.flatnonzero(np.frombuffer(data, np.uint8) == ord("\n"))[:-1], len(data) - 1).astype(np.int32)
        return number_kernel.read(data, offsets, 1, ["a", "t", "b"], ["a", "b"], ["t"], delimiter, decimal)

    usual = read(",", ".")
    for delimiter, decimal in [(";", ","), ("\x01", "."), ("|", ","), (" ", ","), (";", ".")]:
        other = read(delimiter, decimal)
        assert other.matrix.view(np.uint64).tolist() == usual.matrix.view(np.uint64).tolist()
        assert (other.declined, bytes(other.copied)) == (frozenset(), bytes(usual.copied))
    assert read(";", "_").declined == frozenset()  # nothing but the mark makes a number


NO_HEADER = {"header": False, "column_names": ["id", "x1"]}


@pytest.mark.parametrize(
    ("data", "output", "header_bytes"),
    [
        (b"a|1\nb|2\n", b"a|1|1\nb|2|2\n", 0),
        (b"a|1\r\nb|2", b"a|1|1\r\nb|2|2\r\n", 0),
        (b"a|1", b"a|1|1\n", 0),
        (b"\n \na|1\n\n", b"\n \na|1|1\n\n", 0),
        (b"\xef\xbb\xbfa|1\n", b"\xef\xbb\xbfa|1|1\n", 3),
        (b"", b"", 0),
        (b"\n", b"\n", 0),
        (b"#\n# a\n", b"#\n# a\n", 0),
        (b"\xef\xbb\xbf", b"\xef\xbb\xbf", 3),
    ],
    ids=repr,
)
def test_data_without_a_header_have_an_output_without_one(tmp_path, data, output, header_bytes):
    if not data:
        with pytest.raises(handler.InvalidDataError, match="is empty: it needs at least one row"):
            score_locally(data, tmp_path, csv=UNLOADED)
        return
    said = UNLOADED | {"comment": "#"}
    facts, found = score_locally(data, tmp_path, csv=said, column_types={"x1": "integer"}, on_no_rows="succeed")
    assert (found, facts.header_bytes, facts.read.bytes) == (output, header_bytes, len(data))


def test_objects_without_headers_are_scored_as_one(tmp_path):
    """Each with its own byte order mark or none, and with or without a last line end: only the line ends must agree."""
    contents = [b"a|1", b"\xef\xbb\xbfb|2\r\n\r\n", b"c|3\r\n", b"d|4"]
    paths = [tmp_path / f"{number}.csv" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)
    options = {"feature_columns": ["x1"], "prediction_column_name": "p", "csv": UNLOADED}
    facts = handler.score_file(paths, tmp_path / "part.csv", FirstNumber(), **options)
    assert (tmp_path / "part.csv").read_bytes() == b"a|1|1.0\r\nb|2|2.0\r\n\r\nc|3|3.0\r\nd|4|4.0\r\n"
    assert facts.read.bytes == sum(map(len, contents))
    paths[2].write_bytes(b"c|3\n")
    with pytest.raises(handler.InvalidDataError, match=r"2.csv ends its lines in LF, 1.csv in CRLF"):
        handler.score_file(paths, tmp_path / "part.csv", FirstNumber(), **options)


@pytest.mark.parametrize(
    ("data", "said", "message"),
    [
        (b"id;x1\na;1\n", {}, 'fields are separated by \';\': say so in the request: csv: {"delimiter": ";"}'),
        (b"id|x1\na|1\n", {"decimal": ","} | SEMICOLONS, 'csv: {"delimiter": "|", "decimal": ","}'),
        (b"id\tx1\na\t1\n", {}, r'csv: {"delimiter": "\t"}'),
        (b"id,x1\na,1\n", SEMICOLONS, "separated by ';': its fields are separated by commas: leave csv.delimiter out"),
        (b"sep=;\nid;x1\na;1\n", {}, 'delete it, and say it in the request: csv: {"delimiter": ";"}'),
        (b"# made today\nid,x1\na,1\n", {}, 'csv: {"comment": "#"}'),
        (b"7,1\n8,2\n", {}, 'or say them in the request, all 2: csv: {"header": false, "column_names": […]}'),
        ("größe,x1\na,1\n".encode("cp1252"), {}, 'say in the request how it is encoded: perhaps csv: {"encoding": "cp1252"}'),
        (b"gr\x81;x1\na;1\n", {"delimiter": ";"}, 'say in the request how it is encoded: csv: {"encoding": …}'),
        (
            b"id;x1\n\xe4;1\n",
            {"delimiter": ";"},
            'bytes that are not UTF-8: save it as UTF-8, or say in the request how it is encoded: perhaps csv: {"delimi',
        ),
        (b"id,x1\n\x81,1\n", {"encoding": "cp1252"}, "in.csv row 1 (byte 6): bytes that are not CP1252"),
        (
            b"id;x1\na;1,5\n",
            {"delimiter": ";"},
            'if that is a decimal comma, say so in the request: csv: {"delimiter": ";", "decimal": ","}; else',
        ),
        (b"id;x1\na;1.5\n", SEMICOLONS, 'if that is a decimal point, say so in the request: csv: {"delimiter": ";"}; else'),
        (b'id,x1\na,"1,5"\n', {}, "write numbers with decimal points, or keep such rows aside"),
        (b"a|1|\n", UNLOADED, "has 3 field(s), csv.column_names has 2: take away the delimiter at the end of the lines"),
        (b"a\\|b|1\n", UNLOADED, "a backslash escapes nothing here (Redshift: ADDQUOTES or CSV, not ESCAPE)"),
        (b'"a\\"b"|1\n"c"d"|2\n', UNLOADED, "a backslash escapes nothing here"),
        (
            b'id,x1\n# 5" long\na,1\nb,"2"\n# 6"\n',
            {"comment": "#"},
            "a comment with a single quote in it: take quotes out of comments, or write them in pairs",
        ),
        (b"id;x\na;1\n", SEMICOLONS, "has no column 'x1' (did you mean 'x'?)"),
        (b"# a\n\n# b", {"comment": "#"}, "in.csv has comments and nothing else: it needs a header and at least one row"),
        (b"# a\n", UNLOADED | {"comment": "#"}, "in.csv has no rows: name data that has rows"),
    ],
    ids=lambda value: repr(value)[:40] if isinstance(value, bytes) else "",
)
def test_what_does_not_fit_is_said_with_the_field_that_makes_it_fit(tmp_path, data, said, message):
    with pytest.raises(handler.PredictionError) as error:
        score_locally(data, tmp_path, csv=said, column_types={"x1": "number"})
    assert message in str(error.value)


@pytest.mark.parametrize("name", ["p", "größe", "日"])
@pytest.mark.parametrize("label", ["a", "ä,;", "日"])
def test_what_the_encoding_cannot_hold_is_refused(tmp_path, name, label):
    class Model:
        def predict(self, features):
            return np.array([label] * len(features))

    data = "größen;x1\nß;1\n".encode("cp1252")
    said = {"delimiter": ";", "encoding": "cp1252"}
    options = {"model": Model(), "csv": said, "prediction_column_name": name}
    if "日" in name + label:
        kind = handler.ModelError if label == "日" else handler.InvalidRequestError
        with pytest.raises(kind, match="CP1252, the encoding of the data"):
            score_locally(data, tmp_path, **options)
        return
    _, output = score_locally(data, tmp_path, **options)
    assert output.decode("cp1252") == f"größen;x1;{name}\nß;1;{label if label == 'a' else chr(34) + label + chr(34)}\n"


def test_a_null_of_hive_is_missing_in_a_column_of_numbers_of_such_data(tmp_path):
    options = {"on_bad_row": "quarantine", "column_types": {"x1": "number"}, "model": FirstNumber()}
    facts, output = score_locally(b"a|1\nb|\\N\n", tmp_path, csv=UNLOADED, **options)
    assert (facts.rejected_rows, output) == (0, b"a|1|1.0\nb|\\N|nan\n")
    facts, _ = score_locally(b"id,x1\na,1\nb,\\N\n", tmp_path, **options)
    assert facts.rejected_rows == 1


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ([], "csv must be an object"),
        ({"separator": ";"}, "csv has no field separator: it has delimiter, header,"),
        *(
            ({"delimiter": mark}, "csv.delimiter must be one ASCII character")
            for mark in ["", ";;", "é", "a", "7", '"', "\n", "\r", "-", ".", "\0", 1]
        ),
        ({"delimiter": ";", "decimal": ";"}, "csv.decimal must be '.' or ','"),
        ({"decimal": ","}, "csv.delimiter and csv.decimal are both ',': they must differ"),
        ({"comment": ","}, "csv.delimiter and csv.comment are both ','"),
        *(({"comment": mark}, "csv.comment must be as csv.delimiter, and to be seen") for mark in ["", "//", " ", "\t", '"', "1"]),
        ({"header": "no"}, "csv.header must be true or false"),
        ({"header": False}, "csv.column_names is missing"),
        ({"column_names": ["a"]}, "csv.column_names are for data without a header"),
        *(
            ({"header": False, "column_names": names}, "csv.column_names must be a list of different names")
            for names in ["ab", [], ["a", "a"], [""], [1], ["\ud800"], ["a" * 9000, "b" * 9000]]
        ),
        *(
            ({"encoding": name}, f"csv.encoding {name!r} is none that can be read")
            for name in [
                "shift_jis",
                "gbk",
                "big5",
                "euc_kr",
                "utf-32",
                "utf-7",
                "cp037",
                "mac_arabic",
                "hex",
                "idna",
                "unicode_escape",
                "none",
                "a\0",
            ]
        ),
        ({"encoding": 1}, "csv.encoding must be the name of an encoding"),
    ],
    ids=str,
)
def test_what_no_dialect_is(said, problem):
    assert problem in "; ".join(handler.dialect_problems(said))


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({}, None),
        ({"delimiter": ",", "header": True, "encoding": "UTF8", "decimal": ".", "comment": None, "column_names": None}, None),
        ({"encoding": "utf-8-sig"}, None),
        ({"encoding": "Latin-1", "delimiter": ";"}, {"encoding": "iso8859-1", "delimiter": ";"}),
        ({"header": False, "column_names": ["a"]}, {"header": False, "column_names": ["a"]}),
    ],
)
def test_a_dialect_is_said_in_one_way(said, field):
    assert not list(handler.dialect_problems(said))
    assert handler.field_of(handler.dialect_of(said)) == field
    assert handler.field_of(handler.dialect_of(field)) == field


def test_a_dialect_is_of_csv_alone(s3):
    for fields in ({"input_format": "jsonl"}, {"data_s3_uri": f"{DATA}.parquet"}):
        status, answer = invoke(csv={"delimiter": ";"}, **fields)
        assert status == 400
        assert "csv says how CSV is written, and the data are " in answer["message"]


def test_load_data_reads_a_dialect(tmp_path):
    (tmp_path / "in.csv").write_bytes("größe;x1\nä;1,5\n".encode("cp1252"))
    frame = handler.load_data(tmp_path / "in.csv", ["größe", "x1"], SEMICOLONS | {"encoding": "cp1252"})
    assert frame.to_dict("list") == {"größe": ["ä"], "x1": [1.5]}


@pytest.mark.parametrize(
    ("columns", "named", "unnamed"),
    [
        (["id", "t"], 'id;"ü;";p\na;"1;";1,5\n;b;nan\n', 'a;"1;";1,5\n;b;nan\n'),
        (["x1"], "x1;p\n1,5;1,5\n;nan\n", "1,5;1,5\n;nan\n"),
        ([], "p\n1,5\nnan\n", "1,5\nnan\n"),
    ],
)
def test_an_output_of_some_columns_is_of_the_same_dialect(kernel, tmp_path, columns, named, unnamed):
    header, rows = '# c\n\nid;x1;"ü;"\n', '# "d"\na;1,5;"1;"\n\n;;b\n#e\n'
    columns = ["ü;" if name == "t" else name for name in columns]
    said = SEMICOLONS | {"comment": "#", "encoding": "latin-1"}
    for names, data, output in [(None, header + rows, named), (["id", "x1", "ü;"], rows, unnamed)]:
        more = {} if names is None else {"header": False, "column_names": names}
        options = {"csv": said | more, "model": FirstNumber(), "column_types": {"x1": "number"}, "output_columns": columns}
        facts, found = score_locally(data.encode("latin-1"), tmp_path, **options)
        assert found.decode("latin-1") == output
        assert facts.header_bytes == (0 if names else len(output.encode("latin-1").splitlines(keepends=True)[0]))


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
@pytest.mark.parametrize("data", [b"a|1\n\nb|2", b"\xef\xbb\xbfa|1\r\n", b"\n\na|1\n\n", b"\n\n", b"\xef\xbb\xbf"], ids=repr)
def test_a_compressed_output_without_a_header_holds_the_plain_one(tmp_path, data, compression):
    options = {"csv": UNLOADED, "column_types": {"x1": "integer"}, "on_no_rows": "succeed"}
    _, plain = score_locally(data, tmp_path, **options)
    _, stored = score_locally(data, tmp_path, **options, output_compression=compression)
    assert pa.CompressedInputStream(pa.BufferReader(stored), compression).read() == plain


WIDE = {"encoding": "utf-16", "delimiter": "\t"}


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("header", [True, False])
def test_utf_16_is_written_in_utf_16_also_if_it_is_compressed(tmp_path, compression, mark, header):
    text = f"{mark}id\tx1\n" * header + f"{'' if header else mark}a\t1.5\n\n日\t2\n"
    said = WIDE | ({} if header else {"header": False, "column_names": ["id", "x1"]})
    data = text.encode("utf-16-le")
    options = {"csv": said, "model": FirstNumber(), "column_types": {"x1": "number"}, "output_compression": compression}
    facts, output = score_locally(gzip.compress(data), tmp_path, **options)
    assert facts.read.bytes == len(gzip.compress(data))
    plain = gzip.decompress(output) if compression == "gzip" else output
    expected = f"{mark}id\tx1\tp\n" * header + f"{'' if header else mark}a\t1.5\t1.5\n\n日\t2\t2.0\n"
    assert plain.decode("utf-16-le") == expected


@pytest.mark.parametrize(
    ("data", "said", "message"),
    [
        ("id\tx1\na\t1\n".encode("utf-16"), {}, 'is not CSV but UTF-16: say so in the request: csv: {"encoding": "utf-16"}'),
        ("\ufeffid\tx1\n".encode("utf-16-be"), {}, 'csv: {"encoding": "utf-16-be"}'),
        ("id,x1\na,1\n".encode("utf-16-le"), {}, 'csv: {"encoding": "utf-16"}'),
        ("\ufeffid\tx1\n".encode("utf-16-be"), WIDE, "is UTF-16 of the other byte order: say utf-16-be in csv.encoding"),
        (b"id\tx1\na\t1\n", WIDE, "in.csv is not UTF-16: leave csv.encoding out, or say another one there"),
        ("id\tx1\na\t1\n".encode("utf-16-le")[:-1], WIDE, "in.csv holds what is not UTF-16, after 9 bytes of its text in UTF-8"),
        ("id\tx1\na\t1\n".encode("utf-16-le") + b"\x00\xd8\n\0", WIDE, "holds what is not UTF-16"),
        ("id\tx\na\t1\n".encode("utf-16-le"), WIDE, "has no column 'x1'"),
    ],
)
def test_what_is_wrong_with_utf_16_is_said(tmp_path, data, said, message):
    with pytest.raises(handler.PredictionError) as error:
        score_locally(data, tmp_path, csv=said, column_types={"x1": "number"})
    assert message in str(error.value)


def test_utf_16_is_read_whole_from_s3(s3, monkeypatch):
    """A probe of its first bytes, an object in one piece, two in a group; no range of one."""
    data = "\ufeffx1\tx2\r\n".encode("utf-16-le") + "1\t2\r\n3\t4,5\r\n".encode("utf-16-le")
    said = WIDE | {"decimal": ","}
    for uri, content in ((MODEL, linear()), (DATA, data), (f"{DATA}2", data)):
        s3.put_object(Bucket=BUCKET, Key=uri.split("/", 3)[3], Body=dumped(content))
    probed = invoke(csv=said, probe_rows=10)[1]
    assert (probed["rows"], probed["row_bytes"]) == (2, 12.0)
    status, receipt = invoke(csv=said, byte_range=[0, len(data)])
    assert (status, receipt["input_bytes"], receipt["rows"]) == (200, len(data), 2)
    written = s3.get_object(Bucket=BUCKET, Key=OUTPUT.split("/", 3)[3])["Body"].read()
    assert written[: receipt["header_bytes"]].decode("utf-16-le") == "\ufeffx1\tx2\tprediction\r\n"
    lines = [line.rpartition("\t") for line in written.decode("utf-16-le").splitlines()[1:]]
    assert [line[0] for line in lines] == ["1\t2", "3\t4,5"]
    assert [round(float(line[2].replace(",", ".")), 6) for line in lines] == [0.0, 1.5]
    status, receipt = invoke(csv=said, data_s3_uri=None, segments=[{"data_s3_uri": DATA}, {"data_s3_uri": f"{DATA}2"}])
    assert (status, receipt["input_bytes"], receipt["rows"]) == (200, 2 * len(data), 4)
    # An object's size is known at the end of its download, which the reader may be ahead of.
    download = handler._download

    def late(*arguments):
        found = download(*arguments)
        time.sleep(0.2)
        return found

    monkeypatch.setattr(handler, "_download", late)
    long = data + "3\t4,5\r\n".encode("utf-16-le") * 200_000
    s3.put_object(Bucket=BUCKET, Key=DATA.split("/", 3)[3], Body=long)
    segments = [{"data_s3_uri": DATA, "byte_range": [0, len(long)]}, {"data_s3_uri": f"{DATA}2", "byte_range": [0, len(data)]}]
    assert invoke(csv=said, data_s3_uri=None, segments=segments)[0] == 200
    for byte_range in ([0, 30], [26, len(data)]):
        status, answer = invoke(csv=said, byte_range=byte_range)
        assert status == 400
        assert "is UTF-16, of which no range of bytes can be read: leave byte_range out" in answer["message"]
