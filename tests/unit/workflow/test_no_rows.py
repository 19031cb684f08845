"""`on_no_rows: succeed`: an empty day is no failure. The data may be a header alone, or no object at all."""

import json
from pathlib import Path

import pytest

from support.merging import predict
from support.samples import BUCKET, validated
from workflow import merge_outputs, plan_chunks
from workflow.errors import InputChangedError, InputNotFoundError, InvalidDataError, InvalidRequestError

SUCCEED = {"on_no_rows": "succeed"}
EMPTY_DAYS = {
    "an empty prefix": "s3://bucket/in/day=1/",
    "a glob that matches nothing": "s3://bucket/in/2026-*.csv",
    "an empty manifest": "s3://bucket/in/none.manifest.json",
    "an empty object": "s3://bucket/in/empty.csv",
    "a manifest of empty objects": "s3://bucket/in/empty.manifest.json",
    "a list of these": ["s3://bucket/in/day=1/", "s3://bucket/in/empty.csv"],
}
HEADER_DAYS = {
    "an object": "s3://bucket/in/header.csv",
    "a prefix": "s3://bucket/in/headers/",
    "a glob": "s3://bucket/in/head*.csv",
    "a list with an empty prefix": ["s3://bucket/in/day=1/", "s3://bucket/in/header.csv"],
}


STORED = {
    "model.joblib": b"model",
    "in/empty.csv": b"",
    "in/none.manifest.json": b"[]",
    "in/empty.manifest.json": b'["s3://bucket/in/empty.csv"]',
    "in/header.csv": b"a,b\n",
    "in/headers/1.csv": b"\xef\xbb\xbfa,b\r\n",
    "in/headers/2.csv": b"a,b",
    "in/full/1.csv": b"a,b\n1,2\n",
}


@pytest.fixture
def s3(s3):
    """An S3 that has these objects."""
    for key, body in STORED.items():
        s3.put_object(Bucket=BUCKET, Key=key, Body=body)
    return s3


def without_rows(document, uri, **changed):
    """The execution's document as a probe without rows leaves it."""
    made = document(data_s3_uri=[uri] if isinstance(uri, str) else uri, **SUCCEED, **changed)
    made["model"] |= {"rows": 0, "row_bytes": 0.0, "rows_per_second": 0.0}
    return made


def published(s3, document, get):
    """Do all that follows the probe; returns the output."""
    document["plan"] = plan_chunks.plan_chunks(s3, document)
    assert document["plan"]["pending_chunks"] == document["plan"]["chunks"]
    for chunk in json.loads(get(document["plan"]["plan_key"])):
        predict(s3, chunk)
    return merge_outputs.merge_outputs(s3, document)


@pytest.mark.parametrize("uri", [*EMPTY_DAYS.values(), *HEADER_DAYS.values()], ids=[*EMPTY_DAYS, *HEADER_DAYS])
def test_without_the_option_it_is_an_error_that_names_it(s3, uri):
    with pytest.raises((InputNotFoundError, InvalidDataError, InvalidRequestError)) as caught:
        validated(s3, data_s3_uri=uri)
    assert isinstance(caught.value, InvalidRequestError) or "on_no_rows" in str(caught.value)  # an empty manifest is none


@pytest.mark.parametrize("uri", EMPTY_DAYS.values(), ids=EMPTY_DAYS)
def test_of_no_object_the_model_alone_is_probed(s3, uri):
    document = validated(s3, data_s3_uri=uri, **SUCCEED)
    assert document["probe"]["data_s3_uri"] is None
    assert document["probe"]["data_etag"] is None
    assert document["probe"]["on_no_rows"] == "succeed"


@pytest.mark.parametrize("uri", HEADER_DAYS.values(), ids=HEADER_DAYS)
def test_a_header_alone_is_probed_and_its_columns_are_checked(s3, uri):
    assert validated(s3, data_s3_uri=uri, **SUCCEED)["probe"]["data_s3_uri"].startswith("s3://bucket/in/header")
    with pytest.raises(InvalidRequestError, match="has no column 'c'"):
        validated(s3, data_s3_uri=uri, **SUCCEED, feature_columns=["a", "c"])


def test_what_is_named_must_be_there_all_the_same(s3):
    for missing in ("s3://bucket/in/typo.csv", "s3://bucket/in/typo.manifest.json"):
        with pytest.raises(InputNotFoundError):
            validated(s3, data_s3_uri=["s3://bucket/in/day=1/", missing], **SUCCEED)


def test_a_day_with_rows_is_as_ever_also_beside_an_empty_one(s3, document):
    uris = ["s3://bucket/in/day=1/", "s3://bucket/in/empty.csv", "s3://bucket/in/header.csv", "s3://bucket/in/full/"]
    assert validated(s3, data_s3_uri=uris, **SUCCEED)["probe"]["data_s3_uri"] == "s3://bucket/in/full/1.csv"
    plan = plan_chunks.plan_chunks(s3, document(data_s3_uri=uris, **SUCCEED))
    assert (plan["chunks"], plan["objects"], plan["skipped_objects"], plan["input_bytes"]) == (1, 1, 2, 8)


@pytest.mark.parametrize("changed", [{}, {"on_bad_row": "quarantine"}, {"keep_work": True}], ids=str)
@pytest.mark.parametrize("uri", EMPTY_DAYS.values(), ids=EMPTY_DAYS)
def test_of_no_object_the_output_is_empty(s3, document, get, report, uri, changed):
    output = published(s3, without_rows(document, uri, **changed), get)

    assert get("out/result.csv") == b""
    assert (output["rows"], output["bytes"], output["chunks"], output["complete"]) == (0, 0, 0, True)
    assert report()["rows"] == {"read": 0, "predicted": 0, "rejected": 0}
    assert (report()["plan"]["objects"], report()["estimated_cost"]) == (0, None)


@pytest.mark.parametrize("uri", HEADER_DAYS.values(), ids=HEADER_DAYS)
def test_of_headers_the_first_is_the_output(s3, document, get, report, uri):
    output = published(s3, without_rows(document, uri), get)

    assert get("out/result.csv").removeprefix(b"\xef\xbb\xbf").replace(b"\r", b"") == b"a,b,prediction\n"
    assert (output["rows"], output["chunks"], report()["plan"]["objects"]) == (0, 1, 1)


@pytest.mark.parametrize("uri", ["s3://bucket/in/day=1/", "s3://bucket/in/header.csv"])
def test_the_same_request_again_finds_what_is_published(s3, document, get, uri):
    first = published(s3, without_rows(document, uri), get)
    again = without_rows(document, uri)

    again["plan"] = plan_chunks.plan_chunks(s3, again)
    assert again["plan"]["pending_chunks"] == 0
    assert merge_outputs.merge_outputs(s3, again) == first


@pytest.mark.parametrize("uri", ["s3://bucket/in/day=1/", "s3://bucket/in/header.csv"])
def test_a_dry_run_says_that_nothing_is_to_be_done(s3, document, uri):
    plan = plan_chunks.plan_chunks(s3, without_rows(document, uri, dry_run=True))
    assert (plan["estimate"]["rows"], plan["chunks"]) == (0, int(uri.endswith(".csv")))


def test_data_that_come_or_go_after_the_probe_are_a_changed_input(s3, document):
    with pytest.raises(InputChangedError, match="had no rows when the model was probed, and now it has rows"):
        plan_chunks.plan_chunks(s3, without_rows(document, "s3://bucket/in/full/"))
    for uri in ("s3://bucket/in/day=1/", "s3://bucket/in/header.csv"):
        with pytest.raises(InputChangedError, match="had rows when the model was probed, and now it has no rows"):
            plan_chunks.plan_chunks(s3, document(data_s3_uri=[uri], **SUCCEED))


def test_the_samples_of_a_schedule_succeed():
    """A day without data must not wake anybody at night."""
    events = Path(__file__).parents[3] / "events"
    for name in ("schedule_request.json", "schedule_yesterday.json"):
        assert json.loads((events / name).read_text())["on_no_rows"] == "succeed"
