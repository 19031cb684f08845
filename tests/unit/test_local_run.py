import json
from pathlib import Path
from typing import ClassVar

import pytest
from botocore.exceptions import EndpointConnectionError

from batch_predict.local_run import (
    NAMED_FILES,
    InvalidRequestError,
    LocalRun,
    _download,
    prepare,
    upload,
    with_local_paths,
)
from batch_predict.runs import message_of


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


def write(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(exist_ok=True)
        path.write_text("a\n1\n")


def keys(local_run):
    return [uri.removeprefix("s3://batch-predict/") for uri in local_run.request["data_s3_uri"]]


def test_a_directory_is_its_csv_files_in_natural_order(prepare_data):
    write("in/part-10.csv", "in/part-2.csv", "in/notes.txt")

    assert keys(prepare_data("in")) == ["data/part-2.csv", "data/part-10.csv"]


def test_more_files_than_a_request_should_name_are_listed_in_a_manifest(prepare_data):
    write(*(f"in/part-{number}.csv" for number in range(NAMED_FILES)))
    assert len(keys(prepare_data("in"))) == NAMED_FILES
    write(f"in/part-{NAMED_FILES}.csv")
    local_run = prepare_data("in")
    assert keys(local_run) == ["data/files.manifest.json"]

    stored = {}

    class Aws:
        title = "AWS"

        def client(self, _):
            return self

        def upload_file(self, path, bucket, key):
            stored[f"s3://{bucket}/{key}"] = Path(path).read_bytes()

        def put_object(self, Bucket, Key, Body):  # noqa: N803  # boto3's names
            stored[f"s3://{Bucket}/{Key}"] = Body

    upload(Aws(), local_run)
    listed = json.loads(stored[local_run.request["data_s3_uri"][0]])
    assert [uri.rpartition("/")[2] for uri in listed] == [f"part-{number}.csv" for number in range(NAMED_FILES + 1)]
    assert set(listed) < set(stored)


def test_files_of_one_name_have_keys_of_their_own(prepare_data):
    write("x/a.csv", "y/a.csv", "b.csv")
    local_run = prepare_data("y/a.csv", "b.csv", "x/a.csv")

    assert keys(local_run) == ["data/1/a.csv", "data/b.csv", "data/3/a.csv"]
    assert len(set(local_run.uploads.values())) == 4


def test_a_file_that_is_named_twice_is_data_twice_and_uploaded_once(prepare_data):
    write("a.csv")
    local_run = prepare_data("a.csv", "a.csv")

    assert keys(local_run) == ["data/a.csv", "data/a.csv"]
    assert len(local_run.uploads) == 2


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


class TestDownload:
    PUBLISHED: ClassVar = {
        "output_s3_uri": "s3://batch-predict/output/out.csv",
        "report_s3_uri": "s3://batch-predict/output/out.csv.report.json",
    }

    @pytest.fixture
    def aws(self):
        """A local AWS that serves each object until its connection breaks midway through `broken`."""

        class Aws:
            broken = None

            def client(self, service):
                assert service == "s3"
                return self

            def download_fileobj(self, bucket, key, file):
                file.write(f"{bucket}/{key}".encode())
                if key == self.broken:
                    raise EndpointConnectionError(endpoint_url="http://127.0.0.1")

        return Aws()

    def test_output_and_report_are_all_that_is_written(self, aws):
        Path("to").mkdir()
        written = _download(aws, LocalRun({}, {}, Path("to")), self.PUBLISHED)

        assert written == {"output_s3_uri": Path("to/out.csv"), "report_s3_uri": Path("to/out.csv.report.json")}
        assert {path.name: path.read_text() for path in Path("to").iterdir()} == {
            "out.csv": "batch-predict/output/out.csv",
            "out.csv.report.json": "batch-predict/output/out.csv.report.json",
        }

    @pytest.mark.parametrize("broken", ["output/out.csv", "output/out.csv.report.json"])
    def test_nothing_half_is_written(self, aws, directory, broken):
        aws.broken = broken
        Path("out.csv").write_text("old")
        before = set(directory.iterdir())

        with pytest.raises(EndpointConnectionError):
            _download(aws, LocalRun({"overwrite": True}, {}, Path()), self.PUBLISHED)
        assert set(directory.iterdir()) == before
        assert Path("out.csv").read_text() == "old"


@pytest.mark.parametrize("cause", ['{"errorMessage": "row 2", "errorType": "E", "stackTrace": ["f.py"]}', "row 2"])
def test_a_cause_that_nobody_explained_is_itsmessage_of(cause):
    assert message_of(cause) == "row 2"


@pytest.mark.parametrize("cause", ["", "[1]", "{}", "7", '"text"', "null"])
def test_a_cause_that_only_looks_like_json_is_itself(cause):
    assert message_of(cause) == cause
