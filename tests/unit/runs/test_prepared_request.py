import json
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from batch_predict.deployed import data_names
from batch_predict.errors import InvalidRequestError
from batch_predict.runs.local_files import find_files
from batch_predict.runs.prepared_request import NAMED_FILES, prepare
from batch_predict.runs.transfer import upload
from batch_predict.runs.value_here import with_local_paths
from workflow.confinement import ambiguous
from workflow.inputs import is_object_uri


@pytest.fixture(autouse=True)
def directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.joblib").write_bytes(b"model")
    return tmp_path


@pytest.fixture
def prepare_data():
    def prepare_data(*data):
        fields = {"prediction_column_name": "p", "feature_columns": ["a"], "output_s3_uri": "out.csv"}
        return prepare({"model_s3_uri": "model.joblib", "data_s3_uri": list(data), **fields})

    return prepare_data


def write(*paths, text="a\n1\n"):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def keys(prepared):
    return [uri.removeprefix("s3://batch-predict/") for uri in prepared.request["data_s3_uri"]]


@pytest.mark.parametrize(
    ("files", "data", "names"),
    [
        pytest.param(["in/part-10.csv", "in/part-2.csv", "in/notes.txt"], ["in"], ["part-2.csv", "part-10.csv"], id="in order"),
        pytest.param(["in/b.CSV", "in/c.Csv", "in/a.csv"], ["in"], ["a.csv", "b.CSV", "c.Csv"], id="in any case"),
        pytest.param(
            [
                *("in/_dt=2024-01-02/part-10.csv", "in/_dt=2024-01-02/part-9.csv", "in/_dt=2024-01-01/part-0.csv"),
                *("in/b.csv/part-1.csv", "in/a/b/c.csv"),
            ],
            ["in"],
            ["part-0.csv", "part-9.csv", "part-10.csv", "c.csv", "part-1.csv"],
            id="all below it",
        ),
        pytest.param(["in/1.csv", "in/_SUCCESS"], ["in/_SUCCESS"], ["1.csv"], id="the marker of a folder"),
        pytest.param(["in/1.csv"], ["in/_SUCCESS"], ["1.csv"], id="a marker that is not there"),
        pytest.param(["_new/.tmp/1.csv", "_new/.tmp/_2.csv", "_3.csv"], ["_new/.tmp", "_3.csv"], ["1.csv", "_3.csv"], id="hidden"),
        pytest.param(["x/a.csv", "y/a.csv", "b.csv"], ["y/a.csv", "b.csv", "x/a.csv"], ["1/a.csv", "b.csv", "3/a.csv"], id="alike"),
        pytest.param(["a.csv"], ["a.csv", "a.csv"], ["a.csv", "a.csv"], id="twice"),
        pytest.param(["a{b}*.csv"], ["a{b}*.csv"], ["a_b__.csv"], id="placeholders and patterns"),
        pytest.param([os.fsdecode(b"in/caf\xe9.csv")], ["in"], ["caf_.csv"], id="no text"),
        pytest.param(
            [f"in/{name}" for name in ("x[1].csv", "x_1_.csv", "x{1}.csv")],
            ["in"],
            ["1/x_1_.csv", "2/x_1_.csv", "3/x_1_.csv"],
            id="alike in S3",
        ),
    ],
)
def test_files_and_folders_have_keys_in_the_order_of_the_output(prepare_data, files, data, names):
    write(*files)
    prepared = prepare_data(*data)

    assert keys(prepared) == [f"data/{name}" for name in names]
    assert len(prepared.uploads) == 1 + len({*keys(prepared)})  # with the model, each once


@pytest.mark.parametrize(
    ("files", "data", "says"),
    [
        (
            ["in/_SUCCESS", "in/a.txt"],
            "in",
            r"^data directory in holds no CSV, JSON Lines or Parquet files \(2 files skipped: 1 hidden \(in/_S.*1 not CSV",
        ),
        ([], "data/day=9/*.csv", "data directory data/day=9 does not exist"),
        (["data/_hidden.csv"], "data/*.tsv", "data glob data/[*].tsv matches no files"),
        (["data/_hidden.csv"], "data/*", r"matches no files \(1 file skipped: 1 hidden"),
        (["all.manifest.json"], "all.manifest.json", r"all\.manifest\.json is a manifest of objects in S3: name the files"),
        (["a.csv", "out.csv.report.json"], "a.csv", r"^out\.csv\.report\.json exists already"),
    ],
)
def test_what_is_wrong_with_local_files_is_said(prepare_data, files, data, says):
    write(*files)
    with pytest.raises(InvalidRequestError, match=says):
        prepare_data(data)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        (
            {"model_s3_uri": "model"},
            r"model file model is a directory, the folder of an MLflow model: make a bundle of it with batch-predict bundle",
        ),
        (
            {"output_s3_uri": "out.xlsx"},
            "output out.xlsx ends in .xlsx, and what is written is CSV.*: choose a name that ends in .csv",
        ),
        (
            {"output_s3_uri": "out.csv.gz", "output_compression": "zstd"},
            "output out.csv.gz ends in .csv.gz, and output_compression is zstd: choose a name",
        ),
    ],
)
def test_what_is_wrong_with_model_and_output_is_said(fields, says):
    write("model/MLmodel", "model/model.pkl", "in.csv")
    request = {"model_s3_uri": "model.joblib", "data_s3_uri": ["in.csv"], "output_s3_uri": "out.csv", "prediction_column_name": "p"}
    with pytest.raises(InvalidRequestError, match=says):
        prepare(request | fields)


def test_what_was_skipped_is_counted_and_said(prepare_data):
    write("in/orders.csv", "in/_SUCCESS", "in/notes.txt", "in/b.xlsx", *(f"in/.x{number}.csv" for number in range(4)))
    write("in/part-1.csv", text="")
    prepared = prepare_data("in", "in/orders.csv")

    assert prepared.upload_summary() == (
        "2 files, 0.0 MB; 8 files skipped: 5 hidden (in/.x0.csv, in/.x1.csv, in/.x2.csv, …), "
        "2 not CSV (in/b.xlsx, in/notes.txt), 1 empty (in/part-1.csv)"
    )
    assert prepare_data("in/part-1.csv").upload_summary() == "2 files, 0.0 MB"  # the workflow refuses it


@pytest.mark.parametrize(
    ("input_format", "names"),
    [(None, ["in/a.CSV", "in/b.csv.gz"]), ("jsonl", ["in/c.jsonl"]), ("parquet", ["in/d.parquet", "in/e.pq"])],
)
def test_of_a_folder_the_files_of_one_format_are_data(input_format, names):
    write("in/a.CSV", "in/b.csv.gz", "in/c.jsonl", "in/d.parquet", "in/e.pq", "in/f.txt")
    found = find_files("data", ["in"], takes_s3=False, input_format=input_format)
    assert list(map(str, found.files)) == names
    (kind,) = found.skipped
    assert kind == {"jsonl": "not JSON Lines", "parquet": "not Parquet"}.get(input_format, "not CSV")


def test_a_folder_without_csv_has_the_format_that_it_holds():
    write("in/d.parquet", "in/notes.txt")
    assert list(map(str, find_files("data", ["in"], takes_s3=False).files)) == ["in/d.parquet"]


def test_linked_files_are_data_and_linked_directories_are_not_followed(prepare_data):
    write("in/a.csv", "elsewhere/b.csv")
    Path("in/b.csv").symlink_to("../elsewhere/b.csv")
    Path("in/round").symlink_to("..", target_is_directory=True)
    prepared = prepare_data("in")

    assert keys(prepared) == ["data/a.csv", "data/b.csv"]
    assert prepared.skipped == {"linked folder": [Path("in/round")]}
    Path("in/gone.csv").symlink_to("nowhere.csv")
    with pytest.raises(InvalidRequestError, match=r"^data file in/gone\.csv does not exist$"):
        prepare_data("in")


SPECIAL_NAMES = [
    "100%.csv",
    "a b+c.csv",
    "q?.csv",
    "sp ace (2).CSV",
    "x[1].csv",
    "ünï.csv",
    "a*.csv",
    "{x}.csv",
    "back\\slash.csv",
    "%2e.csv",
]


@pytest.mark.parametrize("name", SPECIAL_NAMES)
def test_a_local_name_is_never_a_pattern(prepare_data, name):
    """The workflow takes its key for one object, named directly or in a folder, and messages name the file."""
    write(f"in/{name}")
    for prepared in (prepare_data(f"in/{name}"), prepare_data("in")):
        (uri,) = prepared.request["data_s3_uri"]
        assert prepared.uploads[Path(f"in/{name}")] == uri
        assert is_object_uri(uri)
        assert ambiguous(uri) is None
        assert not set("{}").intersection(uri)
        assert with_local_paths(f"{uri} row 2", prepared.uploads) == f"in/{name} row 2"


def test_more_files_than_a_request_should_name_are_listed_in_a_manifest(prepare_data, s3, get):
    write(*(f"in/part-{number}.csv" for number in range(NAMED_FILES)))
    assert len(keys(prepare_data("in"))) == NAMED_FILES
    write(f"in/part-{NAMED_FILES}.csv")
    prepared = prepare_data("in")
    assert keys(prepared) == ["data/files.manifest.json"]

    s3.create_bucket(Bucket="batch-predict")
    upload(SimpleNamespace(title="AWS", client=lambda _: s3), prepared)
    listed = json.loads(get(prepared.request["data_s3_uri"][0]))
    assert [uri.rpartition("/")[2] for uri in listed] == [f"part-{number}.csv" for number in range(NAMED_FILES + 1)]
    assert {get(uri) for uri in listed} == {b"a\n1\n"}


def test_messages_name_the_local_paths():
    uploads = {Path("in/a.csv"): "s3://b/data/a.csv", Path("old/a.csv.old"): "s3://b/data/a.csv.old"}

    text = with_local_paths("s3://b/data/a.csv.old and s3://b/data/a.csv row 2", uploads)

    assert text == "old/a.csv.old and in/a.csv row 2"


HIVE = ("data/day=2013-02-01/flights.csv", "data/day=2013-02-02/flights.csv", "data/_year=2013/day=10/x.csv")


@pytest.mark.parametrize(
    ("glob", "files"),
    [
        ("data", [*HIVE[:2], "data/notes.csv", HIVE[2]]),
        ("data/*.csv", ["data/notes.csv"]),
        ("data/*", ["data/README.txt", "data/notes.csv"]),  # as in S3: what is called so directly there, and is not hidden
        ("data/day=2013-02-*", HIVE[:2]),  # folders alone: what is in them
        ("data/day=*/flights.csv", HIVE[:2]),
        ("data/**/*.csv", [*HIVE[:2], "data/notes.csv", HIVE[2]]),
        ("data/n**.csv", ["data/notes.csv"]),
        ("**/flights.csv", HIVE[:2]),
        ("data/**", ["data/README.txt", *HIVE[:2], "data/notes.csv", HIVE[2]]),
        ("data/day=2013-02-0[12]/*", HIVE[:2]),
        ("data/_late*", ["data/_late.csv"]),  # which is asked for by its name
        ("data/odd[1].csv", ["data/odd[1].csv"]),  # a file of this very name is one
    ],
)
def test_globs_and_hive_folders_are_read_as_under_a_prefix(prepare_data, glob, files):
    hidden = ("data/_late.csv", "data/.ipynb_checkpoints/a.csv", "data/_temporary/0/b.csv", "data/day=2013-02-01/.c.csv")
    write(*HIVE, "data/notes.csv", "data/README.txt", *hidden)
    write("data/day=2013-02-01/empty.csv", text="")
    if "odd" in glob:
        write("data/odd[1].csv")
    prepared = prepare_data(glob)
    assert sorted(map(str, prepared.uploads)) == sorted([*files, "model.joblib"])
    order = {uri: str(path) for path, uri in prepared.uploads.items()}
    named = [order[uri] for uri in prepared.request["data_s3_uri"]]
    assert named == sorted(named, key=data_names.natural_order)
    assert not set(map(str, prepared.skipped.get("hidden", ()))) & set(named)
