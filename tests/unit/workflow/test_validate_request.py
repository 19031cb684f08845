import re

import pytest

from support.samples import BUCKET, EXECUTION, REQUEST, normalised, refusal, rejection, validated
from workflow import validate_request
from workflow.errors import InputNotFoundError, InvalidDataError, InvalidRequestError
from workflow.formats import csv_format
from workflow.work import columns_uri


@pytest.fixture
def s3(s3):
    """An S3 that has the request's model."""
    s3.put_object(Bucket=BUCKET, Key="model.joblib", Body=b"model")
    return s3


def test_a_valid_request_starts_the_document(s3, put):
    etag = put("in/1.csv", "id,a,b\n1,2,3\n")
    document = validated(s3)
    assert document["execution"] == EXECUTION
    assert document["request"]["data_s3_uri"] == ["s3://bucket/in/1.csv"]
    assert document["request"]["scheduled_time"] == "2026-11-24T02:00:00.123000Z"
    assert document["request"]["chunk_size_mb"] is None
    assert document["prediction"]["raise_errors"] is True
    assert document["prediction"]["model_etag"] == s3.head_object(Bucket=BUCKET, Key="model.joblib")["ETag"]
    assert document["probe"] == document["prediction"] | {
        "feature_columns": ["a", "b"],
        "column_types": None,
        "output_columns": None,
        "receipt_s3_uri": columns_uri("s3://bucket/out/result.csv", EXECUTION["arn"]),
        "further_data": [],
        "data_s3_uri": "s3://bucket/in/1.csv",
        "data_etag": etag,
        "probe_rows": 1000,
    }


def test_the_probe_may_look_on_in_further_objects_where_bad_rows_are_quarantined(s3, put):
    put("in/0.csv", "id,a,b\n")
    etags = [put(f"in/{index}.csv", "id,a,b\n1,2,3\n") for index in range(1, 60)]
    assert validated(s3, data_s3_uri="s3://bucket/in/")["probe"]["further_data"] == []
    probe = validated(s3, data_s3_uri="s3://bucket/in/", on_bad_row="quarantine")["probe"]
    assert probe["data_s3_uri"] == "s3://bucket/in/1.csv"
    assert probe["further_data"] == [
        {"data_s3_uri": f"s3://bucket/in/{index}.csv", "data_etag": etags[index - 1]} for index in range(2, 52)
    ]
    put("zst/0.csv.zst", b"\x28\xb5\x2f\xfd")  # nobody but the probe sees whether it has rows
    etag = put("zst/1.csv.zst", b"\x28\xb5\x2f\xfd")
    probe = validated(s3, data_s3_uri="s3://bucket/zst/")["probe"]
    assert probe["further_data"] == [{"data_s3_uri": "s3://bucket/zst/1.csv.zst", "data_etag": etag}]


def test_all_problems_are_listed_at_once():
    message = refusal(
        chunk_size=1, max_concurrency=True, overwrite="yes", feature_columns=[], output_s3_uri="out.csv", scheduled_time="today"
    )
    assert "chunk_size" in message
    assert "did you mean chunk_size_mb?" in message
    for field in ("max_concurrency", "overwrite", "feature_columns", "output_s3_uri", "scheduled_time"):
        assert field in message


@pytest.mark.parametrize(
    ("predictions", "problem"),
    [
        (["labels"], "predictions[0] must be label, probability or probabilities"),
        ([{"top_k": 0}], "top_k must be at least 1, not 0"),
        ([{"threshold": 1.5}], "threshold must be at most 1, not 1.5"),
        ([{"threshold": {"yes": -1}}], 'threshold["yes"] must be at least 0, not -1'),
        ([{"threshold": {}}], "threshold must have at least 1 field, not 0"),
        ([{"topk": 3}], '"topk" is not a field of predictions[0] (did you mean top_k?)'),
        ([{"top_k": 3, "threshold": 0.3}], "predictions[0] must have one field, not 2"),
        (["label", "label"], "predictions names label 2 times: name it once"),
        (["probabilities", {"probabilities": {"classes": ["a"]}}], "predictions names probabilities 2 times: name it once"),
        (
            [{"probabilities": {"classes": ["a" * 96] * 50}}],
            "predictions has 5034 bytes as JSON, more than 5000: name fewer classes",
        ),
    ],
)
def test_what_cannot_be_asked_of_a_classifier_is_told(predictions, problem):
    assert problem in refusal(predictions=predictions)


def test_predictions_and_another_method_exclude_each_other():
    assert "exclude each other" in refusal(predictions=["label"], prediction_method="decision_function")


@pytest.mark.parametrize("raw", [None, [], "s3://bucket/in.csv", {}])
def test_anything_but_a_request_is_rejected(raw):
    with pytest.raises(InvalidRequestError):
        validate_request.normalise(raw, EXECUTION)


def test_placeholders_are_resolved_in_utc(s3, put):
    put("in/2026-11-23.csv", "a,b\n1,2\n")
    request = validated(
        s3,
        data_s3_uri="s3://bucket/in/{scheduled_time:%Y-%m-%d}.csv",
        output_s3_uri="s3://bucket/out/{execution_name}/{scheduled_time:%Y/%m}.csv",
        scheduled_time="2026-11-24T01:00:00+02:00",
    )["request"]
    assert request["data_s3_uri"] == ["s3://bucket/in/2026-11-23.csv"]
    assert request["output_s3_uri"] == "s3://bucket/out/run-1/2026/11.csv"
    assert request["scheduled_time"] == "2026-11-23T23:00:00Z"


@pytest.mark.parametrize(
    ("scheduled", "zone", "placeholder", "shown"),
    [
        # 00:30 in Berlin is still the day before in UTC, and 00:30 in Los Angeles is the same day
        ("2026-11-24T23:30:00Z", "UTC", "{scheduled_time:%Y-%m-%d}", "2026-11-24"),
        ("2026-11-24T23:30:00Z", "Europe/Berlin", "{scheduled_time:%Y-%m-%d}", "2026-11-25"),
        ("2026-11-24T23:30:00Z", "Europe/Berlin", "{scheduled_time-1d:%Y-%m-%d}", "2026-11-24"),
        ("2026-11-24T08:30:00Z", "America/Los_Angeles", "{scheduled_time-1d:%Y-%m-%d}", "2026-11-23"),
        ("2026-11-01T02:00:00Z", "UTC", "{scheduled_time-1d:%Y/%m}", "2026/10"),
        ("2026-11-24T02:00:00Z", "UTC", "{scheduled_time+1d:%Y-%m-%d}", "2026-11-25"),
        ("2026-11-24T02:00:00Z", "UTC", "{scheduled_time-3h:%Y-%m-%dT%H}", "2026-11-23T23"),
        # a day of 25 hours, and one of 23: yesterday is the calendar's, hours are real ones
        ("2026-10-25T23:30:00Z", "Europe/Berlin", "{scheduled_time-1d:%Y-%m-%dT%H%M}", "2026-10-25T0030"),
        ("2026-03-29T22:30:00Z", "Europe/Berlin", "{scheduled_time-1d:%Y-%m-%dT%H%M}", "2026-03-29T0030"),
        ("2026-10-25T01:30:00Z", "Europe/Berlin", "{scheduled_time-1h:%H%M}", "0230"),
        ("2026-10-25T01:30:00Z", "Europe/Berlin", "{scheduled_time-24h:%d %H%M}", "24 0330"),
    ],
)
def test_a_time_is_shown_in_the_requests_zone_days_or_hours_away(s3, put, scheduled, zone, placeholder, shown):
    put(f"in/{shown}.csv", "a,b\n1,2\n")
    request = validated(s3, data_s3_uri=f"s3://bucket/in/{placeholder}.csv", scheduled_time=scheduled, time_zone=zone)["request"]
    assert request["data_s3_uri"] == [f"s3://bucket/in/{shown}.csv"]
    assert request["scheduled_time"] == scheduled


@pytest.mark.parametrize("zone", ["Berlin", "", "../UTC", "/etc/passwd", "europe/berlin", "EST5EDT4", "UTC\0", "\ud800"])
def test_a_time_zone_is_one_of_the_databases(zone):
    assert "time_zone must be the name of a time zone such as Europe/Berlin" in refusal(time_zone=zone)


@pytest.mark.parametrize(
    ("scheduled", "zone", "shift"),
    [
        ("0001-01-01T00:00:00Z", "UTC", "-1d"),
        ("0001-01-01T00:00:00Z", "America/New_York", ""),
        ("9999-12-31T23:30:00Z", "UTC", "+1h"),
        ("9999-12-31T23:30:00Z", "Europe/Berlin", ""),
    ],
)
def test_a_time_outside_of_the_calendar_is_a_problem(scheduled, zone, shift):
    uri = f"s3://bucket/{{scheduled_time{shift}:%Y}}.csv"
    message = refusal(output_s3_uri=uri, scheduled_time=scheduled, time_zone=zone)
    assert "output_s3_uri has a time before the year 1 or after 9999" in message


def test_a_marker_stands_for_the_folder_that_it_completes(s3, put):
    put("in/day=1/part-0.csv", "a,b\n1,2\n")
    put("in/day=1/_SUCCESS", "")
    put("in/day=1/_committed_1", "{}")
    document = validated(s3, data_s3_uri="s3://bucket/in/day=1/_SUCCESS")
    assert document["request"]["data_s3_uri"] == ["s3://bucket/in/day=1/"]
    assert document["probe"]["data_s3_uri"] == "s3://bucket/in/day=1/part-0.csv"


def test_a_marker_of_a_whole_bucket_is_no_folder():
    assert "resolves to s3://bucket/, which is not an S3 URI" in refusal(data_s3_uri="s3://bucket/_SUCCESS")


def test_an_output_is_not_written_under_the_folder_of_a_marker():
    message = refusal(data_s3_uri="s3://bucket/in/_SUCCESS", output_s3_uri="s3://bucket/in/out.csv")
    assert "lies under data_s3_uri s3://bucket/in/" in message


@pytest.mark.parametrize(
    "uri",
    [
        "s3://bucket/{scheduled_time-d:%Y}.csv",
        "s3://bucket/{scheduled_time-1m:%Y}.csv",
        "s3://bucket/{scheduled_time - 1d:%Y}.csv",
        "s3://bucket/{scheduled_time-99999d:%Y}.csv",
        "s3://bucket/{execution_name-1d:%Y}.csv",
        "s3://bucket/{date}.csv",
        "s3://bucket/{scheduled_time}.csv",
        "s3://bucket/{scheduled_time:}.csv",
        "s3://bucket/{scheduled_time:%Q}.csv",
        "s3://bucket/{execution_name.csv",
        "s3://bucket/x/{scheduled_time:/}",
    ],
)
def test_a_wrong_placeholder_is_a_problem(uri):
    assert "output_s3_uri" in refusal(output_s3_uri=uri)


@pytest.mark.parametrize("time", ["2026-11-24", "2026-11-24T02:00:00", "<scheduled-time>", "0001-01-01T00:00:00+23:00"])
def test_a_scheduled_time_must_be_an_instant(time):
    assert "scheduled_time must be an instant" in refusal(scheduled_time=time)


def test_a_missing_model_is_named(s3):
    missing = "s3://bucket/other.joblib"
    assert f"{missing} does not exist" in rejection(s3, InputNotFoundError, model_s3_uri=missing)


def test_a_version_of_the_model_is_looked_for_and_passed_on(s3, put):
    put("in/1.csv", "a,b\n1,2\n")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    first, _ = (s3.put_object(Bucket=BUCKET, Key="model.joblib", Body=body) for body in (b"first", b"second"))
    document = validated(s3, model_version_id=first["VersionId"])
    for fields in (document["request"], document["prediction"], document["probe"]):
        assert fields["model_version_id"] == first["VersionId"]
    assert document["prediction"]["model_etag"] == first["ETag"]
    missing = rejection(s3, InputNotFoundError, model_version_id="7" * 32)
    assert f"s3://bucket/model.joblib version {'7' * 32}" in missing


def test_all_missing_data_is_named(s3, put):
    put("empty/", b"")
    put("empty/_SUCCESS", b"x")
    message = rejection(s3, InputNotFoundError, data_s3_uri=["s3://bucket/1.csv", "s3://bucket/empty/", "s3://nowhere/2.csv"])
    for uri in ("s3://bucket/1.csv", "s3://bucket/empty/", "s3://nowhere/2.csv"):
        assert uri in message


def test_columns_that_do_not_fit_are_listed_with_suggestions(s3, put):
    put("in/1.csv", "id,A,prediction\n1,2,3\n")
    message = rejection(s3)
    assert "has no column 'a' (it has 'A', with other capitals), 'b'; it has 'id', 'A', 'prediction'" in message
    assert "has a column 'prediction' already: correct feature_columns" in message
    assert "choose another prediction_column_name" in message


def test_the_list_of_columns_is_bounded(s3, put):
    put("in/1.csv", ",".join(f"c{index}" for index in range(60)) + "\n1\n")
    assert "'c49' and 10 more" in rejection(s3)


def test_columns_that_nobody_uses_may_be_called_alike_and_by_no_name(s3, put):
    put("in/1.csv", ",note,a,note,b,,\n0,x,1,y,2,,\n")
    assert validated(s3)


def test_a_file_without_header_is_said_and_its_values_are_not(s3, put):
    put("in/1.csv", "31337,secret\n1,2\n")
    message = rejection(s3)
    assert "s3://bucket/in/1.csv seems to have no header: its first line holds values: put the names" in message
    assert "31337" not in message


def test_columns_of_the_output_are_passed_on_and_must_be_there_once(s3, put):
    put("in/1.csv", b"a,b,note,x,x\n1,2,3,4,5\n")
    for kept in (None, [], ["note", "a"]):
        assert validated(s3, output_columns=kept)["probe"]["output_columns"] == kept
    message = rejection(s3, output_columns=["Note", "b"])
    assert "s3://bucket/in/1.csv has no column 'Note' (it has 'note', with other capitals); it has 'a'" in message
    assert "correct output_columns, or the names in the header" in message
    assert "has more than one column named 'x'" in rejection(s3, InvalidDataError, output_columns=["x"])
    assert 'output_columns names "a" twice' in refusal(output_columns=["a", "a"])


def test_a_prediction_may_be_called_as_a_column_that_the_output_does_not_have(s3, put):
    put("in/1.csv", b"a,b,prediction\n1,2,3\n")
    assert "has a column 'prediction' already" in rejection(s3)
    assert "prediction_column_name prediction is also one of output_columns" in refusal(output_columns=["a", "prediction"])
    assert validated(s3, output_columns=["a"])
    features = ["a", "prediction"]
    assert "prediction_column_name prediction is also one of feature_columns" in refusal(feature_columns=features)
    assert validated(s3, feature_columns=features, output_columns=["a"])


def test_the_name_of_the_output_decides_its_format_unless_the_request_does(s3, put):
    put("in/1.csv", b"a,b\n1,2\n")
    put("in/2.jsonl", b'{"a":1,"b":2}\n')

    def resolved(**fields):
        document = validated(s3, **fields)
        found = document["request"]["output_format"], document["request"]["output_compression"]
        assert found == (document["probe"]["output_format"], document["probe"]["output_compression"])
        return found

    assert resolved() == ("csv", "none")
    assert resolved(output_s3_uri="s3://bucket/out/result") == ("csv", "none")
    assert resolved(output_s3_uri="s3://bucket/out/result.jsonl.gz") == ("jsonl", "gzip")
    assert resolved(output_s3_uri="s3://bucket/out/result", output_format="jsonl") == ("jsonl", "none")
    jsonl = {"data_s3_uri": "s3://bucket/in/2.jsonl", "output_s3_uri": "s3://bucket/out/result"}
    assert resolved(**jsonl) == ("jsonl", "none")
    says = "ends in .csv, and output_format is jsonl: choose a name that ends in .jsonl, or another output_format"
    assert says in refusal(output_format="jsonl")


def test_each_column_of_a_converted_output_may_have_a_stated_type():
    types = {"note": "text"}
    assert normalised(output_s3_uri="s3://bucket/out/result.jsonl", column_types=types)["column_types"] == types
    assert "not among feature_columns: 'note'" in refusal(column_types=types)


def test_stated_types_are_passed_on(s3, put):
    put("in/1.csv", b"a,b\n1,2\n")
    types = {"b": "text"}
    assert validated(s3, column_types=types)["probe"]["column_types"] == types
    assert validated(s3)["probe"]["column_types"] is None


def test_a_type_of_a_column_that_is_no_feature_is_a_problem():
    message = refusal(column_types={"A": "text", "zip": "number", "b": "integer"})
    assert message == "column_types names columns that are not among feature_columns: 'A' (did you mean 'a'?), 'zip'"


@pytest.mark.parametrize(
    ("types", "message"),
    [
        ({"a": "category"}, 'column_types\\["a"\\] must be one of boolean, integer, number, text, not "category"'),
        ({"a": None}, 'column_types\\["a"\\] must be a string, not null'),
        (["a"], "column_types must be an object or null"),
        ({"a": "optional_boolean"}, "must be one of boolean, integer, number, text"),
    ],
)
def test_a_type_is_one_of_the_stated_kinds(types, message):
    assert re.search(message, refusal(column_types=types))


def test_the_prediction_must_not_be_a_feature():
    assert "prediction_column_name a is also one of feature_columns" in refusal(prediction_column_name="a")


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "is empty"),
        (b"a,b\n", "no rows"),
        (b"a,b", "no rows"),
        (b"a,b\n\n\n", "holds a header but no rows"),
        (b"PAR1\x00\x00", "Parquet"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"a,\xf6\n1,2\n", "not UTF-8"),
        (b"a,b,a\n1,2,3\n", "more than one column named 'a'"),
        (b'"a";"b"\n1;2\n', "its fields are separated by ';'"),
        (b'a,"b\n1,2\n', "unclosed quote"),
    ],
)
def test_data_that_cannot_be_scored_says_why(s3, put, body, reason):
    put("in/1.csv", body)
    message = rejection(s3, InvalidDataError)
    assert reason in message
    assert "s3://bucket/in/1.csv" in message


def test_quoted_names_and_a_bom_are_read(s3, put):
    put("in/1.csv", '\ufeffa,"income, ""net""\n(EUR)"\r\n1,2\r\n')
    assert validated(s3, feature_columns=["a", 'income, "net"\n(EUR)'])


def test_a_long_header_is_read_in_growing_steps(s3, put):
    names = [f"column_{index:06}" for index in range(20_000)]
    put("in/1.csv", ",".join(["a", "b", *names]) + "\n" + "1," * 20_001 + "1\n")
    assert validated(s3)


@pytest.mark.parametrize("asked", [{}, {"input_format": "auto"}, {"input_format": "csv"}])
def test_the_format_of_the_data_is_known_from_here_on(s3, put, asked):
    put("in/1.csv", "a,b\n1,2\n")
    found = validated(s3, data_s3_uri="s3://bucket/in/", **asked)
    assert {found[part]["input_format"] for part in ("request", "prediction", "probe")} == {"csv"}


def test_the_dialect_of_the_data_is_known_from_here_on(s3, put):
    put("m.joblib", b"model")
    put("in/1.csv", "größe;x\n1,5;2\n".encode("cp1252"))
    request = {"data_s3_uri": "s3://bucket/in/", "feature_columns": ["größe"], "output_s3_uri": "s3://bucket/out/1.csv"}
    document = validated(s3, **request, csv={"delimiter": ";", "encoding": "Windows-1252", "decimal": ",", "header": None})
    said = {"delimiter": ";", "encoding": "cp1252", "decimal": ","}
    assert [document[part]["csv"] for part in ("request", "prediction", "probe")] == [said] * 3
    assert validated(s3, **request | {"feature_columns": ["größe;x"]}, csv={"encoding": "cp1252"})["request"]["csv"]
    assert "encoding" in rejection(s3, InvalidDataError, **request)
    message = rejection(s3, **request, csv={"encoding": "cp1252"})
    assert "separated by ';'. What to do: " in message.replace(": say", ". What to do: say")
    assert 'csv: {"delimiter": ";", "encoding": "cp1252"}' in message


def test_a_usual_dialect_is_none(s3, put):
    put("m.joblib", b"model")
    put("in/1.csv", b"a,b\n1,2\n")
    assert validated(s3, data_s3_uri="s3://bucket/in/", csv={"delimiter": ",", "encoding": "UTF8"})["request"]["csv"] is None


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"csv": {"delimiter": ";;"}}, "csv.delimiter must be one ASCII character"),
        ({"csv": {"delimeter": ";"}}, "did you mean delimiter?"),
        ({"csv": {"encoding": "gbk"}}, "csv.encoding 'gbk' is none that can be read"),
        ({"csv": {"header": False}}, "csv.column_names is missing"),
        ({"csv": {"delimiter": "\t"}, "output_s3_uri": "s3://bucket/out.psv"}, "choose a name that ends in .tsv"),
        (
            {"csv": {"header": False, "column_names": ["é" * 15_000]}, "feature_columns": ["x" * 9_000]},
            "bytes as JSON, more than 180000",
        ),
    ],
)
def test_what_no_dialect_is_is_told_with_all_else(fields, problem):
    assert problem in refusal(**fields)


def test_a_header_without_end_is_given_up(s3, put, monkeypatch):
    monkeypatch.setattr(csv_format, "HEADER_READS", (4, 16))
    put("in/1.csv", "x" * 100 + "\n1\n")
    assert "does not end within 16 bytes" in rejection(s3, InvalidDataError)


def test_the_probe_is_the_first_object_with_rows(s3, put):
    put("in/_SUCCESS", b"x")
    put("in/part-2.csv", "a,b\n")
    put("in/part-10.csv", "a,b\n1,2\n")
    put("in/part-9.csv", "a,b\n1,2\n")
    assert validated(s3, data_s3_uri="s3://bucket/in/")["probe"]["data_s3_uri"] == "s3://bucket/in/part-9.csv"


def test_an_entry_that_is_there_twice_is_refused_also_by_way_of_placeholders():
    twice = ["s3://bucket/2026.csv", "s3://bucket/{scheduled_time:%Y}.csv"]
    assert "data_s3_uri names s3://bucket/2026.csv more than once" in refusal(data_s3_uri=twice)


@pytest.mark.parametrize("name", ["result.xlsx", "{scheduled_time:%Y-%m-%d}.json.gz", "result.JSON"])
def test_an_output_that_is_called_as_another_format_is_refused(name):
    refused = refusal(output_s3_uri=f"s3://bucket/out/{name}", input_format="csv")
    assert re.search(r"ends in \S+, and what is written is CSV.*: choose a name that ends in \.csv(\.gz)?$", refused)


def created(key="in/day=1/_SUCCESS"):
    return {"version": "0", "bucket": {"name": "bucket"}, "object": {"key": key, "size": 0}, "reason": "PutObject"}


def started_by_object(s3, put, key):
    put(key, b"a,b\n1,2\n")
    uris = {"data_s3_uri": "s3://bucket/{object_key}", "output_s3_uri": "s3://bucket/out/{scheduled_time:%Y}.csv"}
    raw = {"object_created": created(key), "time": "2031-01-01T00:00:00Z", "request": {**REQUEST, **uris}}
    return validate_request.validate_request(s3, raw, EXECUTION)["request"]


KEYS = [
    *("in/1.csv", "in/\\.csv", "in/{execution_name}.csv", "in/{.csv", "in/ü 1.csv"),
    'in/","model_sha256":null,"overwrite":true,"x":".csv',
]


@pytest.mark.parametrize("key", KEYS)
def test_the_key_of_an_object_that_starts_is_a_key_and_nothing_else(s3, put, key):
    request = started_by_object(s3, put, key)
    assert request["data_s3_uri"] == [f"s3://bucket/{key}"]
    assert request["output_s3_uri"] == "s3://bucket/out/2031.csv"
    assert (request["overwrite"], request["scheduled_time"]) == (False, "2031-01-01T00:00:00Z")


@pytest.mark.parametrize("key", ["in/*.csv", "in/?.csv", "in/[a].csv", "in/a\nb.csv", "in/../model.joblib", "in/x.csv.work/1.csv"])
def test_a_key_that_would_name_something_else_is_refused(s3, put, key):
    with pytest.raises(InvalidRequestError, match="data_s3_uri"):
        started_by_object(s3, put, key)


@pytest.mark.parametrize(
    "raw",
    [
        {"object_created": created(), "request": REQUEST},
        {"object_created": created(), "time": "2031-01-01T00:00:00Z", "request": REQUEST, "more": 1},
        {"object_created": None, "time": "2031-01-01T00:00:00Z", "request": REQUEST},
        {"object_created": {"object": {"key": 1}}, "time": "2031-01-01T00:00:00Z", "request": REQUEST},
        {**REQUEST, "object_created": created(), "time": "2031-01-01T00:00:00Z"},
    ],
)
def test_an_input_that_no_object_starts_with_is_refused(raw):
    with pytest.raises(InvalidRequestError, match="the input is not what an object starts with"):
        validate_request.normalise(raw, EXECUTION)


def test_the_key_of_an_object_is_unknown_where_none_has_started():
    assert "unknown placeholder {object_key}" in refusal(output_s3_uri="s3://bucket/{object_key}.csv")
