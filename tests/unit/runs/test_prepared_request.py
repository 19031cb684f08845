import json
import os
from pathlib import Path

import pytest

from batch_predict.deployed import data_names
from batch_predict.errors import InvalidRequestError
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


def test_a_directory_is_its_csv_files_in_natural_order(prepare_data):
    write("in/part-10.csv", "in/part-2.csv", "in/notes.txt")

    assert keys(prepare_data("in")) == ["data/part-2.csv", "data/part-10.csv"]


@pytest.mark.parametrize("names", [("january.csv", "february.CSV", "march.Csv"), ("part-0.csv",)])
def test_a_directory_is_its_csv_files_in_any_case(prepare_data, names):
    write(*(f"in/{name}" for name in names))

    assert sorted(keys(prepare_data("in"))) == sorted(f"data/{name}" for name in names)


def test_a_directory_is_what_lies_below_it_as_under_a_prefix(prepare_data):
    write("in/_dt=2024-01-02/part-10.csv", "in/_dt=2024-01-02/part-9.csv", "in/_dt=2024-01-01/part-0.csv", "in/b.csv/part-0.csv")
    write("in/a/b/c.csv")
    prepared = prepare_data("in")

    assert [str(path) for path in prepared.uploads][1:] == [
        "in/_dt=2024-01-01/part-0.csv",
        "in/_dt=2024-01-02/part-9.csv",
        "in/_dt=2024-01-02/part-10.csv",
        "in/a/b/c.csv",
        "in/b.csv/part-0.csv",
    ]
    assert not prepared.skipped


HIDDEN = [
    "in/.orders.csv",
    "in/.~lock.orders.csv",
    "in/._orders.csv",
    "in/_SUCCESS",
    "in/.part-0.csv.crc",
    "in/_temporary/0/attempt_1/part-0.csv",
    "in/.ipynb_checkpoints/orders-checkpoint.csv",
    "in/__MACOSX/orders.csv",
    "in/4f1c.csv.metadata",
    "in/out.csv.work/1/2/chunk-00000.csv",
]


@pytest.mark.parametrize("name", HIDDEN)
def test_what_is_hidden_below_a_directory_is_skipped(prepare_data, name):
    write("in/orders.csv", name)
    prepared = prepare_data("in")

    assert keys(prepared) == ["data/orders.csv"]
    assert prepared.skipped == {"hidden": [Path(name)]}


def test_what_was_skipped_is_counted_and_said(prepare_data):
    write("in/orders.csv", "in/_SUCCESS", "in/notes.txt", "in/b.xlsx", *(f"in/.x{number}.csv" for number in range(4)))
    write("in/part-1.csv", text="")
    prepared = prepare_data("in", "in/orders.csv")

    assert prepared.upload_summary() == (
        "2 files, 0.0 MB; 8 files skipped: 5 hidden (in/.x0.csv, in/.x1.csv, in/.x2.csv, …), "
        "2 not CSV (in/b.xlsx, in/notes.txt), 1 empty (in/part-1.csv)"
    )
    assert prepare_data("in/orders.csv").upload_summary() == "2 files, 0.0 MB"


def test_a_folder_that_is_a_model_of_another_tool_is_said():
    write("model/MLmodel", "model/model.pkl", "data.csv")
    with pytest.raises(
        InvalidRequestError, match=r"model file model is a directory, the folder of an MLflow model: give the model.pkl"
    ):
        prepare({"model_s3_uri": "model", "data_s3_uri": ["data.csv"], "output_s3_uri": "out.csv", "prediction_column_name": "p"})


def test_a_directory_without_data_says_what_it_holds(prepare_data):
    write("in/_SUCCESS", "in/a.txt")
    write("in/part-0.csv", text="")

    with pytest.raises(
        InvalidRequestError,
        match=r"^data directory in holds no \*\.csv files \(3 files skipped: 1 hidden \(in/_SUCCESS\), 1 not CSV .*, 1 empty",
    ):
        prepare_data("in")


def test_who_names_a_hidden_directory_or_file_means_it(prepare_data):
    write("_staging/.tmp/1.csv", "_staging/.tmp/_2.csv", "_3.csv")
    prepared = prepare_data("_staging/.tmp", "_3.csv")

    assert keys(prepared) == ["data/1.csv", "data/_3.csv"]
    assert prepared.skipped == {"hidden": [Path(".tmp/_2.csv")]}


@pytest.mark.parametrize("is_there", [True, False])
def test_a_marker_stands_for_its_directory(prepare_data, is_there):
    write("in/1.csv", *(["in/_SUCCESS"] if is_there else []))

    assert keys(prepare_data("in/_SUCCESS")) == ["data/1.csv"]


def test_an_empty_file_that_is_named_goes_to_the_workflow_which_refuses_it(prepare_data):
    write("a.csv", text="")

    assert keys(prepare_data("a.csv")) == ["data/a.csv"]


def test_linked_files_are_data_and_linked_directories_are_not_followed(prepare_data):
    write("in/a.csv", "elsewhere/b.csv")
    Path("in/b.csv").symlink_to("../elsewhere/b.csv")
    Path("in/round").symlink_to("..", target_is_directory=True)
    prepared = prepare_data("in")

    assert keys(prepared) == ["data/a.csv", "data/b.csv"]
    assert prepared.skipped == {"linked folder": [Path("in/round")]}


def test_what_cannot_be_read_below_a_directory_is_a_problem(prepare_data):
    write("in/a.csv")
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


def test_names_that_become_alike_stay_apart(prepare_data):
    write(*(f"in/{name}" for name in ("x[1].csv", "x{1}.csv", "x_1_.csv")))

    assert len(set(keys(prepare_data("in")))) == 3


def test_a_name_that_is_no_text_has_a_key(prepare_data):
    Path("in").mkdir()
    Path(os.fsdecode(b"in/caf\xe9.csv")).write_text("a\n1\n")

    assert keys(prepare_data("in")) == ["data/caf_.csv"]


def test_more_files_than_a_request_should_name_are_listed_in_a_manifest(prepare_data):
    write(*(f"in/part-{number}.csv" for number in range(NAMED_FILES)))
    assert len(keys(prepare_data("in"))) == NAMED_FILES
    write(f"in/part-{NAMED_FILES}.csv")
    prepared = prepare_data("in")
    assert keys(prepared) == ["data/files.manifest.json"]

    stored = {}

    class Aws:
        title = "AWS"

        def client(self, _):
            return self

        def upload_file(self, path, bucket, key):
            stored[f"s3://{bucket}/{key}"] = Path(path).read_bytes()

        def put_object(self, Bucket, Key, Body):  # noqa: N803  # boto3's names
            stored[f"s3://{Bucket}/{Key}"] = Body

    upload(Aws(), prepared)
    listed = json.loads(stored[prepared.request["data_s3_uri"][0]])
    assert [uri.rpartition("/")[2] for uri in listed] == [f"part-{number}.csv" for number in range(NAMED_FILES + 1)]
    assert set(listed) < set(stored)


def test_files_of_one_name_have_keys_of_their_own(prepare_data):
    write("x/a.csv", "y/a.csv", "b.csv")
    prepared = prepare_data("y/a.csv", "b.csv", "x/a.csv")

    assert keys(prepared) == ["data/1/a.csv", "data/b.csv", "data/3/a.csv"]
    assert len(set(prepared.uploads.values())) == 4


def test_a_file_that_is_named_twice_is_data_twice_and_uploaded_once(prepare_data):
    write("a.csv")
    prepared = prepare_data("a.csv", "a.csv")

    assert keys(prepared) == ["data/a.csv", "data/a.csv"]
    assert len(prepared.uploads) == 2


def test_what_means_something_to_the_workflow_is_not_in_a_key(prepare_data):
    write("a{b}*.csv")

    assert keys(prepare_data("a{b}*.csv")) == ["data/a_b__.csv"]


def test_a_manifest_of_s3_objects_means_nothing_here(prepare_data):
    write("all.manifest.json")

    with pytest.raises(InvalidRequestError, match=r"all\.manifest\.json is a manifest of objects in S3: name the files"):
        prepare_data("all.manifest.json")


def test_a_report_in_the_way_is_a_problem_too(prepare_data):
    write("a.csv", "out.csv.report.json")

    with pytest.raises(InvalidRequestError, match=r"^out\.csv\.report\.json exists already"):
        prepare_data("a.csv")


def test_messages_name_the_local_paths():
    uploads = {Path("in/a.csv"): "s3://b/data/a.csv", Path("old/a.csv.old"): "s3://b/data/a.csv.old"}

    text = with_local_paths("s3://b/data/a.csv.old and s3://b/data/a.csv row 2", uploads)

    assert text == "old/a.csv.old and in/a.csv row 2"


def test_an_output_that_is_called_as_another_format_is_refused():
    write("in.csv")
    for output in ("out.parquet", "out.csv.gz"):
        fields = {"prediction_column_name": "p", "output_s3_uri": output}
        with pytest.raises(InvalidRequestError, match=f"output {output} ends in .*, and what is written is CSV: choose a name"):
            prepare({"model_s3_uri": "model.joblib", "data_s3_uri": ["in.csv"], **fields})


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


def test_a_glob_that_matches_nothing_says_so_and_what_it_has_skipped(prepare_data):
    write("data/_hidden.csv")
    for glob, says in (
        ("data/*.tsv", "data glob data/[*].tsv matches no files"),
        ("data/*", r"matches no files \(1 file skipped: 1 hidden"),
    ):
        with pytest.raises(InvalidRequestError, match=says):
            prepare_data(glob)


def test_a_glob_below_a_folder_that_is_not_there_says_so(prepare_data):
    with pytest.raises(InvalidRequestError, match="data directory data/day=9 does not exist"):
        prepare_data("data/day=9/*.csv")
