"""Some of the data's columns in the output: each field is its own bytes, in the data's order, before the predictions."""

import csv
import hashlib
import io
import json
import re

import numpy as np
import pandas as pd
import pytest
from harness import BUCKET, DATA, MODEL, OUTPUT, FirstColumn, invoke, linear, make_event, score_locally
from hypothesis import given, settings
from hypothesis import strategies as st

import prediction_handler as handler
from support.csv_samples import quoted

TEXT = st.text(st.one_of(st.sampled_from('",\r\né '), st.characters(codec="utf-8", exclude_characters="\0")), max_size=8)
NAMES = ["a", 'b "x"', "x1", "d,e", "f", "ü"]


class Labels:
    """A model of somebody's own that gives back its feature, a text."""

    def predict(self, features):
        return np.asarray(features).astype(str)[:, 0]


@st.composite
def tables(draw):
    """Rows of raw fields, some of them quoted without need, blank lines among them, the line end, a byte order mark or none."""
    width = draw(st.integers(1, len(NAMES)))
    names = draw(st.permutations(NAMES[:width])) if "x1" in NAMES[:width] else [*NAMES[: width - 1], "x1"]
    number = st.integers(-9, 9).map(str)
    row = st.tuples(*(number if name == "x1" else TEXT for name in names), st.booleans(), st.sampled_from([0, 0, 0, 1, 2]))
    rows = draw(st.lists(row, min_size=1, max_size=40))
    raw = [([quoted(field, always=always).encode() for field in fields], blank) for *fields, always, blank in rows]
    header = [quoted(name, always=draw(st.booleans())).encode() for name in names]
    return names, header, raw, draw(st.sampled_from([b"\n", b"\r\n"])), draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))


def chosen_of(names):
    return st.lists(st.sampled_from(names), unique=True)


def check_any_table(folder, data, block_bytes, *, kernel):
    names, header, rows, line_end, mark = data.draw(tables())
    chosen = data.draw(chosen_of(names))
    content = mark + b",".join(header) + line_end
    content += b"".join(b",".join(fields) + line_end * (1 + blank) for fields, blank in rows)
    own = handler._beside
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(handler, "_beside", lambda name: None if name == "field_kernel" else own(name))
        facts, output = score_locally(content, folder, block_bytes, output_columns=chosen, column_types={"x1": "integer"})

    def line(fields, prediction):
        kept = [field for name, field in zip(names, fields, strict=True) if name in chosen]
        return b",".join([*kept, prediction]) + line_end

    place = names.index("x1")
    printed = [fields[place].strip(b'"') for fields, _ in rows]
    expected = [line(fields, number) for (fields, _), number in zip(rows, printed, strict=True)]
    assert output == mark + line(header, b"p") + b"".join(expected)
    assert facts.columns == [name for name in names if name in chosen]
    assert (facts.rows, facts.read.bytes, facts.header_bytes) == (len(rows), len(content), len(mark + line(header, b"p")))
    read = list(csv.reader(io.StringIO(output.decode("utf-8-sig"), newline=""), strict=True))
    assert read[0] == [*facts.columns, "p"]
    assert len(read) == 1 + len(rows)


@settings(deadline=None, max_examples=40)
@given(st.data(), st.integers(1, 300), st.booleans())
def test_fields_keep_their_own_bytes_in_any_table(tmp_path_factory, data, block_bytes, kernel):
    check_any_table(tmp_path_factory.mktemp("some"), data, block_bytes, kernel=kernel)


@pytest.mark.thorough
@settings(deadline=None, max_examples=3000)
@given(st.data(), st.integers(1, 300), st.booleans())
def test_fields_keep_their_own_bytes_in_thousands_of_tables(tmp_path_factory, data, block_bytes, kernel):
    check_any_table(tmp_path_factory.mktemp("some"), data, block_bytes, kernel=kernel)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_predictions_alone_have_a_line_for_each_row(tmp_path, line_end):
    """Also for one that is empty, or blank: readers skip a line without anything, so it is quoted."""
    labels = ["a", "", " ", "\t \t", '"', "b,c", "NA"]
    data = "".join(f'"{label.replace(chr(34), chr(34) * 2)}",1{line_end}' for label in labels)
    options = {"feature_columns": ["x"], "column_types": {"x": "text"}, "model": Labels()}
    _, output = score_locally(f"x,y{line_end}{data}".encode(), tmp_path, output_columns=[], **options)
    expected = ["p", "a", "nan", '" "', '"\t \t"', '""""', '"b,c"', "nan"]
    assert output.decode() == line_end.join([*expected, ""])
    assert len(pd.read_csv(io.BytesIO(output), keep_default_na=False)) == len(labels)


def test_a_rejected_row_has_a_line_among_predictions_alone(tmp_path):
    data, stated = b"x1,y\n1,2\nbad,3\n4,5\n", {"column_types": {"x1": "number"}}
    facts, output = score_locally(data, tmp_path, output_columns=[], on_bad_row="quarantine", **stated)
    assert (facts.rows, facts.rejected_rows, output) == (3, 1, b'p\n1.0\n""\n4.0\n')
    assert pd.read_csv(io.BytesIO(output))["p"].isna().tolist() == [False, True, False]
    _, output = score_locally(data, tmp_path, output_columns=["y"], on_bad_row="quarantine", **stated)
    assert output == b"y,p\n2,1.0\n3,\n5,4.0\n"


def test_several_predictions_alone(tmp_path):
    class Three:
        def predict(self, features):
            first = np.asarray(features)[:, 0]
            return np.column_stack([first, first + 0.5, first * np.nan])

    _, output = score_locally(b"x1\r\n1\r\n2\r\n", tmp_path, model=Three(), output_columns=[])
    assert output == b"p_0,p_1,p_2\r\n1.0,1.5,nan\r\n2.0,2.5,nan\r\n"


def test_blank_lines_are_left_out_with_some_columns(tmp_path):
    data = b"id,x1\n\n7,1\n \n\n8,2\n\n"
    assert score_locally(data, tmp_path, output_columns=["id"])[1] == b"id,p\n7,1\n8,2\n"
    assert score_locally(data, tmp_path, output_columns=["id", "x1"])[1] == b"id,x1,p\n7,1,1\n8,2,2\n"
    assert score_locally(data, tmp_path)[1] == b"id,x1,p\n\n7,1,1\n \n\n8,2,2\n\n"


def test_columns_keep_the_datas_order_and_the_list_may_have_any(tmp_path):
    data = b"c,x1,a\n1,2,3\n"
    assert score_locally(data, tmp_path, output_columns=["a", "c"])[1] == b"c,a,p\n1,3,2\n"


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        (["ID"], r"in.csv has no column 'ID' \(it has 'id', with other capitals\); it has 'id', 'x1', 'y', 'y'"),
        (["x1", "p"], "in.csv has no column 'p'; it has"),
        (["id", "y"], "in.csv has more than one column named 'y'"),
        (["id", "id"], "output_columns must be a list of at most 10000 different column names"),
        ("id", "output_columns must be a list of at most 10000 different column names"),
    ],
)
def test_columns_that_are_not_there_once_are_refused(tmp_path, wanted, says):
    with pytest.raises((handler.InvalidRequestError, handler.InvalidDataError), match=says) as refused:
        score_locally(b"id,x1,y,y\n1,2,3,4\n", tmp_path, output_columns=wanted)
    assert "feature_columns" not in str(refused.value)


def test_a_prediction_may_be_called_as_a_column_that_is_not_in_the_output(tmp_path):
    data = b"id,x1,p\n7,2,3\n"
    for kept in (None, ["p"], ["id", "p"]):
        with pytest.raises(handler.InvalidRequestError, match="has a column 'p' already"):
            score_locally(data, tmp_path, output_columns=kept)
    assert score_locally(data, tmp_path, output_columns=["id"])[1] == b"id,p\n7,2\n"


def test_objects_of_a_group_have_one_selection(put, get):
    put(MODEL, FirstColumn())
    uris = [f"{DATA}-{index}.csv" for index in range(3)]
    for uri, body in zip(uris, [b'x1,x2,"i"\n1,2,"007"\n\n', b"x1,x2,i\n", b"x1,x2,i\n3,4,8"], strict=True):
        put(uri, body)
    event = make_event(data_s3_uri=None, segments=[{"data_s3_uri": uri} for uri in uris], output_columns=["i"])
    assert handler.lambda_handler(event, None)["statusCode"] == 200
    assert get(OUTPUT) == b'"i",prediction\n"007",1\n8,3\n'


def test_a_run_decides_the_columns_of_all_its_chunks(put, get):
    put(MODEL, linear())
    put(DATA, "x1,x2,id\n1,2,a\n")
    decision = {"column_types": {}, "prediction_columns": ["prediction"], "output_columns": ["id"]}
    uri = f"s3://{BUCKET}/out/w.work/decision.json"
    put(uri, json.dumps(decision))
    named = {"decision_s3_uri": uri, "decision_sha256": hashlib.sha256(json.dumps(decision).encode()).hexdigest()}
    status, body = invoke(**named)
    assert (status, get(OUTPUT).splitlines()[0]) == (200, b"id,prediction")
    other = invoke(**named, output_columns=["x1"])[1]
    assert other["message"].startswith("output_columns names other columns than the run has decided")
    layouts = {kept: invoke(output_columns=kept and [*kept])[1]["layout_sha256"] for kept in (None, ("id",), ("x1",))}
    assert len(set(layouts.values())) == 3  # parts of one run must have the same
    assert layouts["id",] == body["layout_sha256"]


def test_a_probe_says_which_columns_the_run_keeps(put):
    put(MODEL, linear())
    put(DATA, "x1,x2,id\n1,2,a\n")
    probe = {"probe_rows": 1, "output_s3_uri": None}
    assert invoke(**probe, output_columns=["id"])[1]["output_columns"] == ["id"]
    assert invoke(**probe)[1]["output_columns"] is None
    status, body = invoke(**probe, output_columns=["i"])
    assert (status, body["error"]) == (400, "InvalidRequestError")
    assert re.search("has no column 'i'.*correct output_columns, or the names in the header", body["message"])


def test_an_object_without_rows_has_the_header_of_the_output(tmp_path):
    options = {"on_no_rows": "succeed", "output_columns": ["id"], "model": linear(("x1",), (1.0,))}
    assert score_locally(b"id,x1\n\n", tmp_path, **options)[1] == b"id,p\n"


SPELLED = ["1", "1.50", "-0", "1e3", '"a"', '"\\u00e9\\n"', "true", "null", '{"a" : [1, {"b": "}"}]}', "[ ]", '"é\\"}"', '""']


@st.composite
def objects(draw):
    """Lines with some keys in any order, and what each of them has."""
    keys = ["id", "o p", "é", 'q"']
    lines, rows = [], []
    for _ in range(draw(st.integers(1, 20))):
        row = {key: draw(st.sampled_from(SPELLED)) for key in draw(st.permutations(keys))[: draw(st.integers(0, 4))]}
        row["x1"] = str(draw(st.integers(-9, 9)))
        gap, spelled = (
            draw(st.sampled_from(["", " ", "\t "])),
            draw(st.sampled_from([json.dumps, lambda key: json.dumps(key, ensure_ascii=False)])),
        )
        pairs = (gap + "," + gap).join(f"{spelled(key)}{gap}:{gap}{value}" for key, value in row.items())
        lines.append(f"{{{gap}{pairs}{gap}}}\n" + draw(st.sampled_from(["", "", "\n", " \r\n"])))
        rows.append(row)
    lines[0] = draw(st.sampled_from(["", "\ufeff"])) + lines[0]
    return "".join(lines), rows


def check_any_lines(folder, drawn, chosen, block_bytes, kernel):
    text, rows = drawn
    chosen = [key for key in chosen if key in rows[0]]  # one of the first rows must have it
    (folder / "in.jsonl").write_text(text, newline="")
    own = handler._beside
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(handler, "BLOCK_BYTES", block_bytes)
        if not kernel:
            patch.setattr(handler, "_beside", lambda name: None if name == "json_kernel" else own(name))
        options = {"feature_columns": ["x1"], "prediction_column_name": "p", "column_types": {"x1": "integer"}}
        facts = handler.score_file(folder / "in.jsonl", folder / "out.jsonl", FirstColumn(), output_columns=chosen, **options)
    expected = []
    for row in rows:
        pairs = [f"{json.dumps(key, ensure_ascii=False)}:{row.get(key, 'null')}" for key in chosen]
        expected.append("{" + ",".join([*pairs, f'"p":{row["x1"]}']) + "}\n")
    assert (folder / "out.jsonl").read_bytes().decode() == "".join(expected)  # a byte order mark is left out
    assert (facts.rows, facts.header_bytes) == (len(rows), 0)


CHOSEN = st.lists(st.sampled_from(["id", "o p", "é", 'q"', "x1"]), unique=True)


@settings(deadline=None, max_examples=25)
@given(objects(), CHOSEN, st.integers(1, 300), st.booleans())
def test_values_of_json_lines_keep_their_own_text(tmp_path_factory, drawn, chosen, block_bytes, kernel):
    check_any_lines(tmp_path_factory.mktemp("lines"), drawn, chosen, block_bytes, kernel)


@pytest.mark.thorough
@settings(deadline=None, max_examples=2000)
@given(objects(), CHOSEN, st.integers(1, 300), st.booleans())
def test_values_of_json_lines_keep_their_own_text_in_thousands_of_files(tmp_path_factory, drawn, chosen, block_bytes, kernel):
    check_any_lines(tmp_path_factory.mktemp("lines"), drawn, chosen, block_bytes, kernel)


def test_lines_that_are_no_objects_have_nulls_and_a_key_that_no_row_has_is_refused(tmp_path):
    path = tmp_path / "in.jsonl"
    path.write_text('{"id":1,"x1":1}\n[1]\n{"id":2,"x1":"bad"}\n{"id":3,"id":4,"x1":3}\n')
    options = {
        "feature_columns": ["x1"],
        "prediction_column_name": "p",
        "column_types": {"x1": "integer"},
        "on_bad_row": "quarantine",
    }
    facts = handler.score_file(path, tmp_path / "out.jsonl", FirstColumn(), output_columns=["id"], **options)
    assert (tmp_path / "out.jsonl").read_text().splitlines() == [
        '{"id":1,"p":1}',
        '{"id":null,"p":null}',
        '{"id":2,"p":null}',
        '{"id":4,"p":3}',
    ]
    assert facts.rejected_rows == 2
    with pytest.raises(handler.InvalidRequestError, match=r"in.jsonl has no column 'ID' .* show: correct output_columns"):
        handler.score_file(path, tmp_path / "out.jsonl", FirstColumn(), output_columns=["ID"], **options)


def test_no_line_becomes_a_comment_because_its_first_field_is_left_out(tmp_path):
    """What stood behind another field, or is predicted, is quoted where it would begin a line with the comments' mark."""
    data = 'x1;#t;u\r\n#c\r\n1;#é;#2\r\n2;;\r\n3;b;#\r\n4;"#";u\r\n'.encode()
    fields = {"csv": {"comment": "#", "delimiter": ";"}, "column_types": {"x1": "integer"}}
    lines = b'"#t";p\r\n"#\xc3\xa9";1\r\n;2\r\nb;3\r\n"#";4\r\n'
    assert score_locally(data, tmp_path, output_columns=["#t"], **fields)[1] == lines
    assert score_locally(data, tmp_path, block_bytes=1, output_columns=["#t"], **fields)[1] == lines
    wide = {**fields, "csv": {**fields["csv"], "encoding": "utf-16-le"}}
    assert score_locally(data.decode().encode("utf-16-le"), tmp_path, output_columns=["#t"], **wide)[1] == lines.decode().encode(
        "utf-16-le"
    )
    expected = b'"#t";u;p\r\n"#\xc3\xa9";#2;1\r\n;;2\r\nb;#;3\r\n"#";u;4\r\n'
    assert score_locally(data, tmp_path, output_columns=["#t", "u"], **fields)[1] == expected
    labels = {**fields, "model": Labels(), "feature_columns": ["u"], "column_types": {"u": "text"}, "output_columns": []}
    predicted = score_locally(data, tmp_path, prediction_column_name="#p", on_bad_row="quarantine", **labels)[1]
    assert predicted.split(b"\r\n") == [b'"#p"', b'"#2"', b"nan", b'"#"', b"u", b""]
