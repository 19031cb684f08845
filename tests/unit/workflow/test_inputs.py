import json

import pytest

from support.samples import BUCKET
from workflow import inputs
from workflow.errors import InputNotFoundError, InvalidDataError, InvalidRequestError
from workflow.formats.csv_format import Csv
from workflow.inputs import InputObject, first_objects, glob_of
from workflow.limits import ObjectCount

ROWS = b"a,b\n1,2\n"


@pytest.fixture
def stored(put):
    """Write objects of two lines each."""

    def store(*keys):
        for key in keys:
            put(key, ROWS)

    return store


def resolve(s3, uri):
    return inputs.resolve(s3, uri, ObjectCount())


def names(s3, uri):
    return [found.uri.removeprefix(f"s3://{BUCKET}/") for found in resolve(s3, uri).objects]


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("in/2026-11-*.csv", ["in/2026-11-2.csv", "in/2026-11-10.csv"]),
        ("in/2026-1[01]-?.csv", ["in/2026-10-1.csv", "in/2026-11-2.csv"]),
        ("in/*", ["in/2026-10-1.csv", "in/2026-11-2.csv", "in/2026-11-10.csv", "in/other.csv"]),
        ("in/_SUC*", ["in/_SUCCESS"]),
        ("*.csv", ["root.csv"]),
        ("in/old/*.csv", ["in/old/2026-11-3.csv"]),
    ],
)
def test_a_glob_matches_names_in_one_folder(s3, stored, glob, expected):
    stored(
        "in/2026-10-1.csv",
        "in/2026-11-10.csv",
        "in/2026-11-2.csv",
        "in/other.csv",
        "in/_SUCCESS",
        "in/old/2026-11-3.csv",
        "root.csv",
    )
    assert names(s3, f"s3://bucket/{glob}") == expected


def test_what_a_glob_matches_without_data_is_counted(s3, stored, put):
    stored("in/1.csv", "in/_2.csv", "in/4f1c.csv.metadata")
    put("in/3.csv", b"")
    listing = resolve(s3, "s3://bucket/in/*")
    assert ([found.uri for found in listing.objects], listing.skipped) == (["s3://bucket/in/1.csv"], 3)


def test_a_glob_lists_no_deeper_folders(s3, stored):
    stored("in/1.csv", *(f"in/deep/{number}.csv" for number in range(3)))
    asked = []
    s3.meta.events.register("before-parameter-build.s3.ListObjectsV2", lambda params, **_: asked.append(dict(params)))
    assert names(s3, "s3://bucket/in/*.csv") == ["in/1.csv"]
    assert [(call["Prefix"], call["Delimiter"]) for call in asked] == [("in/", "/")]


@pytest.mark.parametrize("uri", ["s3://bucket/*/1.csv", "s3://bucket/in-?/", "s3://bucket/[ab]/c/d.csv"])
def test_a_wildcard_before_the_last_part_is_refused(uri):
    with pytest.raises(InvalidRequestError, match="before its last part"):
        glob_of(uri)


def test_a_manifest_lists_objects_in_its_own_order(s3, stored, put):
    stored("in/b.csv", "in/a.csv")
    uris = [f"s3://bucket/in/{name}.csv" for name in "ba"]
    put("in/all.manifest.json", json.dumps(uris))
    assert [found.uri for found in resolve(s3, "s3://bucket/in/all.manifest.json").objects] == uris
    assert next(first_objects(s3, "s3://bucket/in/all.manifest.json")).uri == uris[0]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"not json", "is not a manifest"),
        (b"\xff", "is not a manifest"),
        (b'{"entries": []}', "is not a manifest"),
        (b"[]", "is not a manifest"),
        (b"[1]", "entry 1 is a number$"),
        (
            b'["s3://bucket/in/a.csv", "in/b.csv"]',
            "entry 2 is a text that is no such URI, or one of a prefix, a glob or a manifest$",
        ),
        (b'[["Ada", 1815]]', "entry 1 is a list$"),
        (b'[{"name": "Ada"}]', "entry 1 is an object$"),
        (b"[null]", "entry 1 is null$"),
        (b"[true]", "entry 1 is true or false$"),
        (b'["s3://bucket/in/a.csv", "s3://bucket/in/b.csv", "s3://bucket/in/a.csv"]', "lists s3://bucket/in/a.csv more than once"),
        (b'["s3://bucket/in/"]', "entry 1"),
        (b'["s3://bucket/in/*.csv"]', "entry 1"),
        (b'["s3://bucket/in/other.manifest.json"]', "entry 1"),
    ],
)
def test_a_manifest_that_is_none_is_refused(s3, put, body, reason):
    put("in/all.manifest.json", body)
    with pytest.raises(InvalidRequestError, match=reason) as caught:
        resolve(s3, "s3://bucket/in/all.manifest.json")
    assert "s3://bucket/in/all.manifest.json" in str(caught.value)


def test_a_manifest_s_missing_or_empty_objects_are_named(s3, put):
    put("in/all.manifest.json", json.dumps(["s3://bucket/in/a.csv"]))
    with pytest.raises(InputNotFoundError, match=r"in/a\.csv"):
        resolve(s3, "s3://bucket/in/all.manifest.json")
    put("in/a.csv", b"")
    with pytest.raises(InvalidDataError, match=r"in/a\.csv is empty"):
        resolve(s3, "s3://bucket/in/all.manifest.json")


def test_a_prefix_is_read_page_by_page(s3, stored):
    stored(*(f"in/{number}.csv" for number in range(3)))
    assert [found.uri[-5:] for found in first_objects(s3, "s3://bucket/in/")] == ["0.csv", "1.csv", "2.csv"]
    assert inputs.is_object_uri("s3://bucket/in/0.csv")
    assert not inputs.is_object_uri("s3://bucket")


def test_what_is_hidden_below_a_prefix_is_counted(s3, stored):
    data = ["in/_date=2024-01-01/part-0.csv", "in/dt=2024-01-02/part-00000", "in/part-0.csv"]
    hidden = [
        "in/.ipynb_checkpoints/part-0-checkpoint.csv",
        "in/__MACOSX/part-0.csv",
        "in/_temporary/0/_temporary/attempt_1/part-0.csv",
        "in/_temporary/0/dt=2024-01-03/part-0.csv",
        "in/dt=2024-01-02/.part-00000.crc",
        "in/4f1c.csv.metadata",
        "in/out.csv.work/1/2/chunk-00000.csv",
    ]
    stored(*data, *hidden)
    listing = resolve(s3, "s3://bucket/in/")
    assert [found.uri.removeprefix("s3://bucket/") for found in listing.objects] == data
    assert listing.skipped == len(hidden)
    assert [found.uri for found in first_objects(s3, "s3://bucket/in/")] == [found.uri for found in listing.objects]


@pytest.mark.parametrize("prefix", ["_staging/", ".tmp/x/", "_a/_b/"])
def test_who_names_a_hidden_folder_means_it(s3, stored, prefix):
    stored(f"{prefix}1.csv", f"{prefix}_2.csv", f"{prefix}_sub/3.csv")
    assert names(s3, f"s3://bucket/{prefix}") == [f"{prefix}1.csv"]
    assert names(s3, f"s3://bucket/{prefix}*.csv") == [f"{prefix}1.csv"]
    assert names(s3, f"s3://bucket/{prefix}_2.csv") == [f"{prefix}_2.csv"]


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b"a,b\n1,2\n", True),
        (b"a,b\n1,2\n\n\n", True),
        (b"a,b\n\n\n1,2\n", True),
        (b"a,b\n" + b"\n" * 200_000 + b"1,2\n", True),
        (b"a,b\n ", False),
        (b"a,b\n \n\t\n", False),
        (b"a,b", False),
        (b"a,b\n", False),
        (b"a,b\n\n", False),
        (b"a,b\r\n\r\n\r\n", False),
        (b'"a\n",b\n' + b"\n" * 200_000, False),
    ],
    ids=lambda value: repr(value[:12]) if isinstance(value, bytes) else value,
)
def test_blank_lines_behind_a_header_are_no_rows(s3, put, body, rows):
    found = InputObject("s3://bucket/in/1.csv", len(body), put("in/1.csv", body))
    header = Csv().read_header(s3, found)
    assert header.columns[1] == "b"
    assert header.has_rows is rows


def test_a_header_is_read_once_where_rows_follow(s3, put):
    body = b"a,b\n" + b"1,2\n" * 100_000
    found = InputObject("s3://bucket/in/1.csv", len(body), put("in/1.csv", body))
    reads = []
    s3.meta.events.register("before-parameter-build.s3.GetObject", lambda params, **_: reads.append(params["Range"]))
    Csv().read_header(s3, found)
    assert reads == ["bytes=0-65535"]
