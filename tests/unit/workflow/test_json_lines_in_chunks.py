"""JSON Lines through the workflow's states: however they are cut, the output is that of one invocation, byte for byte."""

import io
import json
from itertools import pairwise

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.tree import DecisionTreeRegressor
from test_any_csv_any_chunks import Ones, Workflow

import prediction_handler as handler
from support.samples import BUCKET, rejection, validated
from workflow import sampling
from workflow.chunking import Span
from workflow.column_types import BOOLEAN, EMPTY, INTEGER, NUMBER, OPTIONAL_BOOLEAN, TEXT
from workflow.errors import InvalidDataError
from workflow.formats import recognised
from workflow.formats.json_lines import JsonLines, line_stop
from workflow.inputs import InputObject
from workflow.s3 import head_object

LINE_ENDS = st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n", b" \n \r\n"])
OTHERS = st.dictionaries(st.text(max_size=3).filter(lambda key: key not in ("x", "prediction")), st.text('\n",}{'), max_size=2)
ROWS = st.lists(st.tuples(st.integers(0, 99), OTHERS, LINE_ENDS), min_size=1, max_size=12)


class LinesWorkflow(Workflow):
    """The state machine, of JSON Lines."""

    def execute(self, **changed):
        output = changed.get("output_s3_uri", self.request["output_s3_uri"]).replace(".csv", ".jsonl")
        return super().execute(**changed | {"output_s3_uri": output})

    def published(self, **changed):
        output = f"out/{self.runs}.jsonl"
        ended = self.execute(output_s3_uri=f"s3://{BUCKET}/{output}", **changed)
        assert ended.get("complete"), ended
        return self.get(output)

    def directly(self, body, **more):
        self.put("whole.jsonl", body)
        places = {"data_s3_uri": f"s3://{BUCKET}/whole.jsonl", "output_s3_uri": f"s3://{BUCKET}/whole-output.jsonl"}
        fields = ("model_s3_uri", "feature_columns", "prediction_column_name")
        handler.predict_chunk(self.s3, {field: self.request[field] for field in fields} | places | more)
        return self.get("whole-output.jsonl")


few = settings(max_examples=4, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.fixture
def numbers(s3, put, get):
    frame = pd.DataFrame({"x": range(100)})
    model = DecisionTreeRegressor(random_state=0).fit(frame, frame.x * 1.5)
    return LinesWorkflow(s3, put, get, model, feature_columns=["x"])


@pytest.fixture
def types(s3, put, get, monkeypatch):
    """A workflow of a model that leaves types open; the first line of each chunk decides them, so often too narrowly."""
    monkeypatch.setattr(handler, "BLOCK_BYTES", 20)
    monkeypatch.setattr(sampling, "WINDOW_BYTES", 12)
    return LinesWorkflow(s3, put, get, Ones(), feature_columns=["x"], keep_work=True)


def lines_of(rows):
    return [json.dumps({**others, "x": number}).encode() + end for number, others, end in rows]


@pytest.mark.thorough
@few
@given(rows=ROWS, chunk_bytes=st.integers(8, 300), mark=st.sampled_from([b"", b"\xef\xbb\xbf"]), has_last_end=st.booleans())
def test_one_object_in_any_chunks(numbers, rows, chunk_bytes, mark, has_last_end):
    body = mark + b"".join(lines_of(rows))
    body = body if has_last_end else body.rstrip()
    numbers.put("in/1.jsonl", body)
    output = numbers.published(chunk_size_mb=chunk_bytes / 1e6)
    assert output == numbers.directly(body)
    assert [json.loads(line)["prediction"] for line in output.decode().splitlines() if line.strip()] == [
        number * 1.5 for number, _, _ in rows
    ]


@pytest.mark.thorough
@settings(few, max_examples=30)
@given(rows=ROWS, chunk_bytes=st.integers(8, 2000), cuts=st.lists(st.integers(0, 25), max_size=4))
def test_any_objects_in_any_chunks(numbers, rows, chunk_bytes, cuts):
    """Every other one with a byte order mark, which is left out."""
    lines = lines_of(rows)
    edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(lines)}), len(lines)]
    prefix = f"objects/{numbers.runs}/"
    for number, (start, stop) in enumerate(pairwise(edges)):
        numbers.put(f"{prefix}{number}.jsonl", number % 2 * b"\xef\xbb\xbf" + b"".join(lines[start:stop]))
    output = numbers.published(data_s3_uri=f"s3://{BUCKET}/{prefix}", chunk_size_mb=chunk_bytes / 1e6)
    assert output == numbers.directly(b"".join(lines))


VALUES = st.sampled_from([None, True, False, 7, -3, 1.5, "a", "7", 10**18, float("nan"), float("inf")])


@few
@given(values=st.lists(VALUES, min_size=1, max_size=12), chunk_bytes=st.integers(5, 60))
def test_all_chunks_are_scored_under_one_type(types, values, chunk_bytes):
    """Whatever the first lines say: the type is that of all values, as one invocation on the whole finds it."""
    body = b"".join(json.dumps({"x": value}).encode() + b"\n" for value in values)
    types.put("in/1.jsonl", body)
    types.put("whole.jsonl", body)
    types.published(chunk_size_mb=chunk_bytes / 1e6)
    header, tally = handler._json_header(b"", ""), handler._Tally()
    blocks = handler._read_lines(io.BytesIO(body), header, handler._Source("", 0), 0, 10**6, tally)
    kinds = handler._infer_kinds(blocks, handler._Columns(["x"], {}, open=frozenset(["x"])))
    assert types.decision()["column_types"] == kinds


def test_bad_lines_keep_their_places_in_any_chunks(numbers):
    lines = [b'{"x":%d}\n' % row for row in range(40)]
    lines[7], lines[20], lines[33] = b'{"x":"no"}\n', b'{"x":1\n', b"[]\n"
    body = b"".join(lines)
    numbers.put("in/1.jsonl", body)
    with pytest.raises(
        handler.InvalidDataError, match=r"in/1\.jsonl row 21 \(byte 173\), the line is not JSON"
    ):  # the probe says so
        numbers.execute(chunk_size_mb=50 / 1e6)
    output = numbers.published(chunk_size_mb=50 / 1e6, on_bad_row="quarantine").splitlines()
    assert (output[7], output[20], output[33]) == (b'{"x":"no","prediction":null}', b'{"x":1', b"[]")
    listed = numbers.get(f"out/{numbers.runs - 1}.jsonl.rejected.csv").decode().splitlines()[1:]
    assert [line.split(",")[0] for line in listed] == [f"s3://{BUCKET}/in/1.jsonl"] * 3
    places = [tuple(map(int, line.split(",")[1:3])) for line in listed]
    assert [byte for _, byte in places] == [body.index(line) for line in (lines[7], lines[20], lines[33])]


def test_formats_are_recognised(s3, put):
    """By the name, else by the first line; what is asked for stands."""
    put("model.joblib", b"x")
    for key, body, expected in [
        ("a.jsonl", b"x\n", "jsonl"),
        ("b.NDJSON", b"\n", "jsonl"),
        ("c", b'\xef\xbb\xbf {"a":1,"b":[1]} \r\n{', "jsonl"),
        ("d", b"{a},b\n1,2\n", "csv"),
        ("e", b'"{""a"":1}",b\n', "csv"),
    ]:
        put(f"in/{key}", body)
        request = validated_format(s3, key)
        assert request == expected, key
    for output, expected in [("out", "csv"), ("out.jsonl", "jsonl")]:
        request = {"input_format": "auto", "data_s3_uri": ["s3://bucket/nothing/"], "output_s3_uri": f"s3://bucket/{output}"}
        assert recognised(s3, None, request) == expected


def validated_format(s3, key):
    uri = f"s3://{BUCKET}/in/{key}"
    head = head_object(s3, uri)
    return recognised(s3, InputObject(uri, head.size, head.etag), {"input_format": "auto", "data_s3_uri": [uri]})


def test_names_and_fields_of_another_format_are_refused(s3, put):
    put("model.joblib", b"x")
    put("in/1.jsonl", b'{"a":1,"b":2}\n')
    lines = {"data_s3_uri": "s3://bucket/in/1.jsonl", "output_s3_uri": "s3://bucket/out/result.jsonl"}
    assert validated(s3, **lines)["prediction"]["input_format"] == "jsonl"
    refused = rejection(s3, **lines | {"output_s3_uri": "s3://bucket/out/result.json"})
    assert "result.json ends in .json, and what is written is" in refused
    assert "csv says how CSV is written, and the data are JSON Lines" in rejection(s3, **lines, csv={"delimiter": ";"})


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b'[{"a":1}]', "is not JSON Lines but begins with a JSON array"),
        ('{"a":1}\n'.encode("utf-16"), "is not JSON Lines but UTF-16"),
        (b"\n \n", "holds no rows"),
    ],
)
def test_what_is_no_json_lines_is_named(s3, put, body, says):
    put("model.joblib", b"x")
    put("in/1.jsonl", body)
    lines = {"data_s3_uri": "s3://bucket/in/1.jsonl", "output_s3_uri": "s3://bucket/out/result.jsonl"}
    assert says in rejection(s3, error=InvalidDataError, **lines)


@given(st.lists(st.integers(1, 40), min_size=1, max_size=20), st.data())
def test_a_line_ends_at_its_line_feed(monkeypatch_module, lengths, data):
    text = b"".join(b"x" * (length - 1) + b"\n" for length in lengths)
    target = data.draw(st.integers(1, len(text)))
    stops = [sum(lengths[: number + 1]) for number in range(len(lengths))]
    assert line_stop(lambda start, stop: text[start:stop], target, len(text)) == min(stop for stop in stops if stop >= target)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("workflow.formats.json_lines.LINE_READ_BYTES", 7)
        yield patch


def test_kinds_are_those_of_the_values(s3, put):
    values = {"e": [None, None], "b": [True, False], "o": [True, None], "i": [1, -2], "n": [1, 2.5], "m": [1, None], "t": ["7", 8]}
    lines = [{name: both[row] for name, both in values.items() if both[row] is not None or row} for row in (0, 1)]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines) + b"[1]\nbroken\n\n"
    put("in/1.jsonl", body)
    head = head_object(s3, "s3://bucket/in/1.jsonl")
    span = Span(InputObject("s3://bucket/in/1.jsonl", head.size, head.etag), 0, head.size)
    assert JsonLines().kinds(s3, [span], None, values) == {
        "e": EMPTY, "b": BOOLEAN, "o": OPTIONAL_BOOLEAN, "i": INTEGER, "n": NUMBER, "m": NUMBER, "t": TEXT,
    }  # fmt: skip
    assert JsonLines().kinds(s3, [], None, values) == {}
    assert JsonLines().row_bytes(s3, [span]) == pytest.approx((len(body) - 1) / 4)
