"""Outputs of another format than the data: the columns have pandas' types, in whatever blocks they are read."""

import io
import json
import math
from decimal import Decimal
from typing import ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from harness import DATA, MODEL, OUTPUT, FirstColumn, invoke, linear, score_locally
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

import prediction_handler as handler
from support.csv_samples import quoted

WORDS = st.text(
    st.one_of(st.sampled_from('"\\,\r\n\té€😀 \x01\x7f'), st.characters(codec="utf-8", exclude_characters="\0")), max_size=6
)
KINDS = {
    "integers": st.integers(-(2**63), 2**63 - 1).map(str),
    "padded": st.sampled_from(["007", "+7", " 7", "-7"]),
    "numbers": st.floats(allow_nan=False).map(str) | st.integers(-99, 99).map(str),
    "booleans": st.sampled_from(["True", "FALSE", "true"]),
    "missing": st.sampled_from(["", "NA", "null", "NaN"]),
    "words": WORDS,
    "dates": st.dates().map(str),
}
MODEL_OF_X = linear(("x",), (1.0,))


@st.composite
def tables(draw):
    """A table of columns of one kind each, some of them with missing values, beside the feature `x`."""
    rows = draw(st.integers(1, 12))
    names = draw(st.lists(st.sampled_from(["a", "b", 'c "d"', "é\n"]), unique=True, max_size=3))
    columns = {"x": draw(st.lists(st.integers(-9, 9).map(str), min_size=rows, max_size=rows))}
    for name in names:
        values = draw(st.sampled_from(list(KINDS.values())))
        values = draw(st.sampled_from([values, values | KINDS["missing"]]))
        columns[name] = draw(st.lists(values, min_size=rows, max_size=rows))
    lines = [
        ",".join(quoted(field, always=False) for field in row) for row in [tuple(columns), *zip(*columns.values(), strict=True)]
    ]
    return rows, "".join(f"{line}\n" for line in lines).encode()


def as_pandas_reads(data, *, has_infinity):
    """The rows as Python's values; None for a missing one."""
    frame = pd.read_csv(io.BytesIO(data), low_memory=False)
    return [{name: plain(value, has_infinity) for name, value in row.items()} for row in frame.astype(object).to_dict("records")]


def plain(value, has_infinity):
    value = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(value, float) and not (math.isfinite(value) or (has_infinity and math.isinf(value))) else value


def rows_of(output, kind):
    if kind == "parquet":
        table = pq.read_table(io.BytesIO(output))
        return table.to_pylist()
    return [json.loads(line) for line in output.decode().split("\n")[:-1]]


def check_any_table(folder, table, block_bytes, kind):
    rows, data = table
    facts, output = score_locally(data, folder, block_bytes, MODEL_OF_X, feature_columns=["x"], output_format=kind)
    assert (facts.rows, facts.header_bytes, facts.bytes) == (rows, {"jsonl": 0, "parquet": 4}[kind], len(output))
    found = rows_of(output, kind)
    expected = as_pandas_reads(data, has_infinity=kind == "parquet")
    assert [list(row) for row in found] == [[*row, "p"] for row in expected]
    assert [repr(row.pop("p")) for row in found] == [repr(float(row["x"])) for row in expected]
    assert list(map(repr, found)) == list(map(repr, expected))  # so that 1, 1.0 and True differ


ANY_KIND = st.sampled_from(["jsonl", "parquet"])


@settings(deadline=None, max_examples=40)
@given(tables(), st.integers(1, 200), ANY_KIND)
def test_an_output_of_any_table_is_what_pandas_reads(tmp_path_factory, table, block_bytes, kind):
    check_any_table(tmp_path_factory.mktemp("any"), table, block_bytes, kind)


@pytest.mark.thorough
@settings(deadline=None, max_examples=1500)
@given(tables(), st.integers(1, 200), ANY_KIND)
def test_outputs_of_thousands_of_tables_are_what_pandas_reads(tmp_path_factory, table, block_bytes, kind):
    check_any_table(tmp_path_factory.mktemp("any"), table, block_bytes, kind)


def lines_of(output):
    return [json.loads(line) for line in output.decode().splitlines()]


def convert(data, folder, **fields):
    options = {"model": MODEL_OF_X, "feature_columns": ["x"], "output_format": "jsonl", **fields}
    facts, output = score_locally(data, folder, **options)
    return facts, lines_of(output)


def test_types_are_those_of_whole_columns_in_any_block(tmp_path):
    data = b"x,i,n,b,t,e\n1,1,1,True,1,\n2,2,2,,x,\n3,3,2.5,False,3,\n"
    expected = [
        {"x": 1, "i": 1, "n": 1.0, "b": True, "t": "1", "e": None, "p": 1.0},
        {"x": 2, "i": 2, "n": 2.0, "b": None, "t": "x", "e": None, "p": 2.0},
        {"x": 3, "i": 3, "n": 2.5, "b": False, "t": "3", "e": None, "p": 3.0},
    ]
    for block_bytes in (1, 20, 1000):
        found = convert(data, tmp_path, block_bytes=block_bytes)[1]
        assert list(map(repr, found)) == list(map(repr, expected))


def test_some_columns_are_written_in_the_datas_order(tmp_path):
    data = b"b,x,a\n1,2,3\n"
    assert convert(data, tmp_path, output_columns=["a", "b"])[1] == [{"b": 1, "a": 3, "p": 2.0}]
    assert convert(data, tmp_path, output_columns=[])[1] == [{"p": 2.0}]


def test_columns_of_one_name_are_refused_where_names_tell_values_apart(tmp_path):
    for kind in ("jsonl", "parquet"):
        for data, name in ((b"x,a,a\n1,2,3\n", "'a'"), (b"x,,\n1,2,3\n", "''")):
            with pytest.raises(handler.InvalidDataError, match=f"in.csv has more than one column named {name}: rename one"):
                convert(data, tmp_path, output_format=kind)
    assert convert(b"x,a,a\n1,2,3\n", tmp_path, output_columns=["x"])[1] == [{"x": 1, "p": 1.0}]


def test_a_type_of_any_column_can_be_stated_and_a_value_that_does_not_fit_makes_a_bad_row(tmp_path):
    data = b"id,x,n\n007,1,5\n8,2,5.5\n9,bad,6\n"
    good = data.replace(b"bad", b"3")
    stated = {"id": "text", "n": "integer"}
    with pytest.raises(
        handler.InvalidDataError, match=r"row 2 \(byte 15\), column 'n': a text of 3 character\(s\) is not an integer"
    ):
        convert(good, tmp_path, column_types=stated)
    facts, found = convert(data, tmp_path, column_types=stated, on_bad_row="quarantine")
    assert found == [
        {"id": "007", "x": 1, "n": 5, "p": 1.0},
        {"id": "8", "x": 2, "n": None, "p": None},  # what does not fit is in the list of rejected rows
        {"id": "9", "x": None, "n": 6, "p": None},
    ]
    assert facts.rejected_rows == 2
    with pytest.raises(handler.InvalidRequestError, match=r"not among the model's, nor among the output's: 'N'$"):
        convert(data, tmp_path, column_types={"N": "text"})
    with pytest.raises(handler.InvalidRequestError, match=r"not among the model's: 'id'$"):
        convert(data, tmp_path, column_types={"id": "text"}, output_format="csv")


def test_a_feature_is_written_as_the_model_reads_it(tmp_path):
    """A category of digits stays text, and `NA`, if the model knows it; numbers are integers if all of the column are."""
    train = pd.DataFrame({"code": ["007", "8", "NA"]})
    model = make_pipeline(OneHotEncoder(), LinearRegression()).fit(train, [1.0, 2.0, 3.0])
    found = convert(b"code,other\n007,007\nNA,NA\n", tmp_path, model=model, feature_columns=["code"])[1]
    assert [{**row, "p": None} for row in found] == [
        {"code": "007", "other": 7.0, "p": None},
        {"code": "NA", "other": None, "p": None},
    ]


@pytest.mark.parametrize("number", ["9223372036854775808", "-9223372036854775809", "+99999999999999999999"])
def test_integers_beyond_64_bits_make_a_column_text(tmp_path, number):
    for other in ("1", "1.5", "-9223372036854775808", "9223372036854775807"):
        found = convert(f"x,big\n1,{number}\n2,{other}\n".encode(), tmp_path, block_bytes=1)[1]
        assert [row["big"] for row in found] == [number, other]
    assert convert(b"x,big\n1,-9223372036854775808\n", tmp_path)[1][0]["big"] == -(2**63)


def test_what_json_has_no_word_for_is_null(tmp_path):
    class NotFinite:
        def predict(self, features):
            return np.array([np.inf, np.nan])[: len(features)]

    found = convert(b"x,n\n1,inf\n2,-inf\n", tmp_path, model=NotFinite())[1]
    assert found == [{"x": 1, "n": None, "p": None}, {"x": 2, "n": None, "p": None}]


def test_labels_and_several_predictions(tmp_path):
    class Labels:
        def predict(self, features):
            return np.array(['a "b"', None, True, 7], dtype=object)[: len(features)]

    assert [row["p"] for row in convert(b"x\n1\n2\n3\n4\n", tmp_path, model=Labels())[1]] == ['a "b"', None, True, 7]

    class Two:
        def predict(self, features):
            return np.column_stack([np.arange(len(features)), np.zeros(len(features))])

    assert convert(b"x\n1\n2\n", tmp_path, model=Two())[1] == [{"x": 1, "p_0": 0.0, "p_1": 0.0}, {"x": 2, "p_0": 1.0, "p_1": 0.0}]


def test_blank_lines_are_no_rows_and_data_without_rows_have_no_lines(tmp_path):
    assert convert(b"x,y\n\n1,2\n \n", tmp_path)[1] == [{"x": 1, "y": 2, "p": 1.0}]
    assert convert(b"x,y\n\n", tmp_path, on_no_rows="succeed")[1] == []


def test_a_run_decides_the_types_of_all_columns(put, get):
    """The probe says them, a chunk keeps to them, and a value that does not fit leads to a wider plan."""
    put(MODEL, linear(("x",), (1.0,)))
    put(DATA, "x,i\n1,1\n2,2\n")
    fields = {"feature_columns": ["x"], "output_format": "jsonl"}
    probed = invoke(probe_rows=2, output_s3_uri=None, **fields)[1]
    assert (probed["column_types"], probed["numeric_columns"]) == ({"x": "integer", "i": "integer"}, ["x"])
    assert "i" not in invoke(probe_rows=2, output_s3_uri=None, feature_columns=["x"])[1]["column_types"]

    def chunk(kinds):
        uri = OUTPUT.replace("predictions.csv", "w.work/decision.json")
        put(uri, json.dumps({"column_types": kinds, "prediction_columns": ["prediction"]}))
        places = {"decision_s3_uri": uri, "receipt_s3_uri": uri.replace("decision", "chunk-00000")}
        return *invoke(**fields, **places, output_s3_uri=OUTPUT.replace(".csv", ".jsonl")), places["receipt_s3_uri"]

    for kind, value in (("integer", 1), ("number", 1.0), ("text", "1")):
        assert chunk({"x": "number", "i": kind})[0] == 200
        assert repr(lines_of(get(OUTPUT.replace(".csv", ".jsonl")))[0]["i"]) == repr(value)
    put(DATA, "x,i\n1,1\n2,\n3,99999999999999999999\n")
    status, body, receipt = chunk({"x": "integer", "i": "integer"})
    assert (status, body["error"]) == (400, "ColumnTypeError")
    assert json.loads(get(handler._types_uri(receipt))) == {"i": "text"}
    assert "the run has not decided the type of 'i'" in chunk({"x": "integer"})[1]["message"]
    put(DATA, "x,i\n1.5,1\n")
    assert chunk({"x": "integer", "i": "integer"})[1]["error"] == "ColumnTypeError"


def test_the_name_of_the_output_decides_and_a_contradiction_is_refused(put, get):
    put(MODEL, FirstColumn())
    put(DATA, "x1,x2\n1,2\n")
    output = OUTPUT.replace(".csv", ".jsonl")
    assert invoke(output_s3_uri=output)[0] == 200
    assert get(output) == b'{"x1":1,"x2":2,"prediction":1}\n'
    status, body = invoke(output_s3_uri=output, output_format="csv")
    assert status == 400
    assert "ends in .jsonl, and output_format is csv: choose a name that ends in .csv, or another output_format" in body["message"]
    assert "output_format must be one of csv, jsonl, parquet" in invoke(output_format="xml")[1]["message"]


class TestParquet:
    def test_columns_have_one_type_each_and_pandas_reads_them_as_those_of_the_csv(self, tmp_path):
        data = b"x,i,n,b,t,e,o\n1,1,1,True,1,,True\n2,2,2.5,False,x,,\n"
        _, output = score_locally(data, tmp_path, 1, MODEL_OF_X, feature_columns=["x"], output_format="parquet")
        found = pd.read_parquet(io.BytesIO(output))
        expected = pd.read_csv(io.BytesIO(data))
        assert found.pop("p").tolist() == [1.0, 2.0]
        pd.testing.assert_frame_equal(found.drop(columns="o"), expected.drop(columns="o"))
        assert (found["o"][0], pd.isna(found["o"][1])) == (True, True)

    def test_row_groups_have_some_megabytes_each(self, tmp_path, monkeypatch):
        monkeypatch.setattr(handler, "ROW_GROUP_BYTES", 1000)
        data = b"x,t\n" + b"".join(b"%d,%d\n" % (row, row) for row in range(1000))
        _, output = score_locally(data, tmp_path, 200, MODEL_OF_X, feature_columns=["x"], output_format="parquet")
        file = pq.ParquetFile(io.BytesIO(output))
        sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
        assert (sum(sizes), min(sizes) > 0, 10 < len(sizes) < 40) == (1000, True, True)
        assert file.read()["t"].to_pylist() == list(range(1000))

    def test_rows_that_are_not_predicted_are_null_and_a_chunk_without_predictions_has_the_runs_types(self, put, get):
        put(MODEL, linear(("x",), (1.0,)))
        put(DATA, "x,t\nbad,1\nworse,2\n")
        uri, output = OUTPUT.replace("predictions.csv", "w.work/decision.json"), OUTPUT.replace(".csv", ".parquet")
        decision = {
            "column_types": {"x": "number", "t": "text"},
            "prediction_columns": ["prediction"],
            "prediction_types": ["double"],
        }
        put(uri, json.dumps(decision))
        fields = {"decision_s3_uri": uri, "feature_columns": ["x"], "output_s3_uri": output, "on_bad_row": "quarantine"}
        status, body = invoke(**fields)
        assert (status, body["rejected_rows"]) == (200, 2)
        table = pq.read_table(io.BytesIO(get(output)))
        assert table.schema == pa.schema([("x", pa.float64()), ("t", pa.string()), ("prediction", pa.float64())])
        assert table.to_pylist() == [{"x": None, "t": text, "prediction": None} for text in ("1", "2")]
        put(DATA, "x,t\n1,1\n")
        assert invoke(**fields)[1]["layout_sha256"] == body["layout_sha256"]

    def test_some_columns_none_and_no_rows(self, tmp_path):
        def converted(data, **fields):
            options = {"model": MODEL_OF_X, "feature_columns": ["x"], "output_format": "parquet", **fields}
            return pq.read_table(io.BytesIO(score_locally(data, tmp_path, **options)[1]))

        assert converted(b"b,x,a\n1,2,3\n", output_columns=["a", "b"]).to_pylist() == [{"b": 1, "a": 3, "p": 2.0}]
        assert converted(b"b,x\n1,2\n", output_columns=[]).to_pylist() == [{"p": 2.0}]
        assert converted(b"x,y\n", on_no_rows="succeed").schema.names == ["x", "y", "p"]

    def test_a_probe_says_the_types_of_predictions(self, put):
        put(MODEL, linear(("x",), (1.0,)))
        put(DATA, "x\n1\n")
        probe = {"probe_rows": 1, "output_s3_uri": None, "feature_columns": ["x"]}
        assert invoke(**probe, output_format="parquet")[1]["prediction_types"] == ["double"]
        assert "prediction_types" not in invoke(**probe)[1]


class TestOfJsonLines:
    @pytest.fixture
    def scored(self, tmp_path):
        def scored(lines, block_bytes=2_000_000, **fields):
            (tmp_path / "in.jsonl").write_bytes(lines)
            options = {"feature_columns": ["x"], "prediction_column_name": "p", **fields}
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(handler, "BLOCK_BYTES", block_bytes)
                facts = handler.score_file(tmp_path / "in.jsonl", tmp_path / "out", MODEL_OF_X, **options)
            output = (tmp_path / "out").read_bytes()
            assert facts.bytes == len(output)
            return output

        return scored

    def test_values_have_pandas_types_and_csv_prints_them(self, scored):
        lines = b"""{"id":"007","x":1,"n":1.5,"b":true,"t":"a,\\"b\\"\\u00e9","big":99999999999999999999}
            {"x":2,"n":2,"t":null,"id":"8","b":false,"big":1,"more":0}\n\n{"x":3}\n"""
        kept = {"output_columns": ["t", "id", "n", "b", "x", "big"]}
        for block_bytes in (1, 2_000_000):
            table = pq.read_table(io.BytesIO(scored(lines, block_bytes, output_format="parquet", **kept))).to_pylist()
            assert list(map(repr, table)) == list(
                map(
                    repr,
                    [
                        {"t": 'a,"b"é', "id": "007", "n": 1.5, "b": True, "x": 1, "big": "99999999999999999999", "p": 1.0},
                        {"t": None, "id": "8", "n": 2.0, "b": False, "x": 2, "big": "1", "p": 2.0},
                        {"t": None, "id": None, "n": None, "b": None, "x": 3, "big": None, "p": 3.0},
                    ],
                )
            )
            assert scored(lines, block_bytes, output_format="csv", **kept).decode().splitlines() == [
                "t,id,n,b,x,big,p",
                '"a,""b""é",007,1.5,True,1,99999999999999999999,1.0',
                ",8,2.0,False,2,1,2.0",
                ",,,,3,,3.0",
            ]

    def test_the_columns_have_to_be_named_as_each_line_has_its_own(self, scored):
        for kind, name in (("csv", "CSV"), ("parquet", "Parquet")):
            with pytest.raises(
                handler.InvalidRequestError, match=f"JSON Lines is written as {name} only with output_columns: name"
            ):
                scored(b'{"x":1}\n', output_format=kind)

    def test_a_line_that_cannot_be_read_has_nothing_but_its_place(self, scored):
        lines = b'{"x":1,"y":1}\n[1]\n{"x":"bad","y":2}\n{"x":3,"y":[3]}\n'
        fields = {"output_format": "csv", "on_bad_row": "quarantine"}
        assert scored(lines, output_columns=["y"], **fields) == b"y,p\n1,1.0\n,\n2,\n,\n"
        assert scored(lines, output_columns=[], **fields) == b'p\n1.0\n""\n""\n3.0\n'

    def test_a_value_that_cannot_be_read_takes_no_other_of_its_line_with_it(self, scored):
        lines = b'{"x":1,"y":1,"z":"a"}\n{"x":2,"y":[2],"z":"b"}\n{"x":3,"y":"\\ud800","z":"c"}\n{"z":"d","x":4,"y":4,"y":5}\n[]\n'
        expected = b"x,y,z,p\n1,1,a,1.0\n2,,b,\n3,,c,\n4,,d,\n,,,\n"
        for block_bytes in (1, 2_000_000):
            fields = {"output_columns": ["x", "y", "z"], "output_format": "csv", "on_bad_row": "quarantine"}
            assert scored(lines, block_bytes, **fields) == expected


@settings(deadline=None, max_examples=15)
@given(tables(), st.integers(1, 200))
def test_a_table_that_goes_through_json_lines_comes_back(tmp_path_factory, table, block_bytes):
    """CSV becomes JSON Lines, and these CSV again, in which pandas sees what it sees in the first."""
    folder, (_, data) = tmp_path_factory.mktemp("round"), table
    options = {"model": MODEL_OF_X, "feature_columns": ["x"], "prediction_column_name": "q"}
    _, lines = score_locally(data, folder, block_bytes, output_format="jsonl", **options)
    (folder / "in.jsonl").write_bytes(lines)
    names = [*json.loads(lines.decode().split("\n")[0])]
    options = {"feature_columns": ["x"], "prediction_column_name": "p", "output_columns": names[:-1], "output_format": "csv"}
    handler.score_file(folder / "in.jsonl", folder / "out.csv", MODEL_OF_X, **options)
    rows = as_pandas_reads((folder / "out.csv").read_bytes(), has_infinity=False)
    assert [row.pop("p") for row in rows] == [float(row["x"]) for row in rows]
    assert rows == as_pandas_reads(data, has_infinity=False)


class TestOfParquet:
    COLUMNS: ClassVar = {
        "x": pa.array([1.0, 2.0, 3.0]),
        "i": pa.array([1, None, 2**62], pa.int64()),
        "f": pa.array([0.5, None, float("inf")], pa.float32()),
        "t": pa.array(['a,"b"', None, "é\n"]),
        "b": pa.array([True, None, False]),
        "c": pa.array(["k", "l", "k"]).dictionary_encode(),
        "day": pa.array([0, None, 19000], pa.date32()),
        "at": pa.array([0, None, 1_700_000_000_123], pa.timestamp("ms")),
        "zoned": pa.array([0, None, 1_700_000_000_000], pa.timestamp("ms", "Europe/Berlin")),
        "d": pa.array([Decimal("1.50"), None, Decimal("-7.00")]),
        "u": pa.array([2**64 - 1, None, 0], pa.uint64()),
    }

    @pytest.fixture
    def scored(self, tmp_path):
        def scored(kind, kept, groups=2, **fields):
            pq.write_table(
                pa.table({**self.COLUMNS, "l": pa.array([[1], None, []])}), tmp_path / "in.parquet", row_group_size=groups
            )
            options = {"feature_columns": ["x"], "prediction_column_name": "p", "output_columns": kept, "output_format": kind}
            handler.score_file(tmp_path / "in.parquet", tmp_path / "out", MODEL_OF_X, **options, **fields)
            return (tmp_path / "out").read_bytes().decode()

        return scored

    def test_values_are_printed_as_documented(self, scored):
        assert scored("csv", [*self.COLUMNS]) == (
            "x,i,f,t,b,c,day,at,zoned,d,u,p\n"
            '1.0,1,0.5,"a,""b""",True,k,1970-01-01,1970-01-01 00:00:00.000,1970-01-01 00:00:00.000Z,1.50,18446744073709551615,1.0\n'
            "2.0,,,,,l,,,,,,2.0\n"
            '3.0,4611686018427387904,inf,"é\n",False,k,2022-01-08,2023-11-14 22:13:20.123,2023-11-14 22:13:20.000Z,-7.00,0,3.0\n'
        )
        found = [json.loads(line) for line in scored("jsonl", [*self.COLUMNS], groups=1).splitlines()]
        texts = {"at": "1970-01-01 00:00:00.000", "zoned": "1970-01-01 00:00:00.000Z", "d": "1.50", "day": "1970-01-01"}
        first = {"x": 1.0, "i": 1, "f": 0.5, "t": 'a,"b"', "b": True, "c": "k", "u": 2**64 - 1, "p": 1.0, **texts}
        assert found[0] == first
        assert found[1] == {**dict.fromkeys(first), "x": 2.0, "c": "l", "p": 2.0}
        assert (found[2]["f"], found[2]["i"]) == (None, 2**62)

    def test_bytes_are_text_each_by_itself_whatever_lies_beside_them(self, tmp_path):
        table = pa.table({"x": [1.0, 2.0, 3.0], "b": [b"a", b"\xff", None]})
        for groups in (1, 3):
            pq.write_table(table, tmp_path / "in.parquet", row_group_size=groups)
            options = {"prediction_column_name": "p", "output_columns": ["b"], "output_format": "csv"}
            handler.score_file(tmp_path / "in.parquet", tmp_path / "out", MODEL_OF_X, **options)
            assert (tmp_path / "out").read_text() == "b,p\na,1.0\nb'\\xff',2.0\n,3.0\n"

    def test_columns_have_to_be_named_and_to_be_single_values(self, scored):
        assert scored("csv", []) == "p\n1.0\n2.0\n3.0\n"
        with pytest.raises(handler.InvalidRequestError, match="Parquet is written as CSV only with output_columns"):
            scored("csv", None)
        with pytest.raises(
            handler.InvalidRequestError, match="column 'l' has lists, maps or groups, which JSON Lines would not have"
        ):
            scored("jsonl", ["l"])
        with pytest.raises(handler.InvalidRequestError, match="has no column 'X'"):
            scored("jsonl", ["X"])


def test_score_file_goes_by_the_outputs_name_too_and_refuses_what_cannot_be(tmp_path):
    (tmp_path / "in.csv").write_bytes(b"x\n1\n")

    def scored(name, **fields):
        handler.score_file(tmp_path / "in.csv", tmp_path / name, MODEL_OF_X, prediction_column_name="p", **fields)
        return (tmp_path / name).read_bytes()

    assert pq.read_table(io.BytesIO(scored("out.parquet"))).to_pylist() == [{"x": 1, "p": 1.0}]
    assert scored("out.jsonl") == b'{"x":1,"p":1.0}\n'
    assert scored("out") == b"x,p\n1,1.0\n"
    for name, fields in (("out", {"output_format": "parquet", "output_compression": "gzip"}), ("out.parquet.gz", {})):
        with pytest.raises(handler.InvalidRequestError, match=f"{name} is Parquet, which compresses its own pages"):
            scored(name, **fields)
