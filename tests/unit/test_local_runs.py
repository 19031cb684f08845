"""The folders of local runs: what the next run of a request gets of an earlier one, what is kept, and for how long."""

import json
import os
from pathlib import Path

import pytest

from batch_predict import kept_work
from batch_predict.local_run import RunInterrupted, prepare
from batch_predict.local_runs import KEPT_RUNS, KEPT_WORK, LocalRuns
from batch_predict.runs import RunError

BUCKET = "000000000000/batch-predict"
WORK = f"{BUCKET}/output/out.csv.work/identity/fingerprint"
CHUNK = {
    f"{WORK}/chunk-00000.csv": "part",
    f"{WORK}/chunk-00000.json": "receipt",
    f"{WORK}/chunk-00001.error.json": "lost",
    f"{WORK}/plan.json": "plan",
}
COPIES = {f"{BUCKET}/models/model.joblib": "model", f"{BUCKET}/data/data.csv": "data", f"{BUCKET}/.deploy/x.zip": "code"}


@pytest.fixture
def prepared(tmp_path, monkeypatch):
    """A request for local files, with other fields."""
    monkeypatch.chdir(tmp_path)
    Path("model.joblib").write_bytes(b"model")
    Path("data.csv").write_text("a\n1\n")

    def prepared(**fields):
        request = {"model_s3_uri": "model.joblib", "data_s3_uri": ["data.csv"], "output_s3_uri": "out.csv"}
        return prepare({**request, "prediction_column_name": "p", "feature_columns": ["a"], **fields})

    return prepared


@pytest.fixture
def runs(tmp_path):
    return LocalRuns(tmp_path / "runs")


@pytest.fixture
def ended(runs):
    """Make a run that has ended so, and has left these objects; of one that was killed, nobody has written the end down."""

    def ended(local_run, status="FAILED", name=None, objects=CHUNK):
        run = runs.create(local_run, name)
        write(run, objects)
        if status:
            (run.path / "ended.json").write_text(json.dumps({"status": status, "error": "X", "cause": "x", "seconds": 1.0}))
        return run

    return ended


def write(run, objects):
    for key, text in objects.items():
        path = run.objects / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.with_name(f"{path.name}.meta.json").write_text("{}")


def left(run):
    return {str(path.relative_to(run.objects)) for path in run.objects.rglob("*") if path.is_file() and ".meta." not in path.name}


@pytest.mark.parametrize("status", ["FAILED", "ABORTED", None])
def test_the_same_request_goes_on_with_what_an_unfinished_run_has_left(prepared, ended, runs, status):
    earlier = ended(prepared(), status)
    run = runs.create(prepared())

    assert left(run) == set(CHUNK) == left(earlier)
    part = f"{WORK}/chunk-00000.csv"
    assert (run.objects / part).samefile(earlier.objects / part)  # no byte is stored twice
    assert (run.objects / f"{part}.meta.json").exists()


@pytest.mark.parametrize("fields", [{"overwrite": True}, {"max_concurrency": 2}, {"tolerated_failure_percentage": 50}])
def test_what_a_chunk_does_not_depend_on_may_change(prepared, ended, runs, fields):
    ended(prepared())
    assert left(runs.create(prepared(**fields)))


@pytest.mark.parametrize("fields", [{"on_bad_row": "quarantine"}, {"prediction_column_name": "q"}, {"output_s3_uri": "other.csv"}])
def test_another_request_starts_anew(prepared, ended, runs, fields):
    ended(prepared())
    assert not left(runs.create(prepared(**fields)))


@pytest.mark.parametrize("name", ["model.joblib", "data.csv"])
def test_changed_data_or_a_changed_model_starts_anew_and_the_same_again_does_not(prepared, ended, runs, name):
    ended(prepared())
    before = Path(name).read_bytes()
    Path(name).write_bytes(before.swapcase() + b"0")
    assert not left(runs.create(prepared()))
    Path(name).write_bytes(before)
    os.utime(name, (0, 0))  # not the file's time: its content
    assert left(runs.create(prepared()))


def test_after_a_success_the_request_starts_anew(prepared, ended, runs):
    ended(prepared())
    ended(prepared(), "SUCCEEDED")
    assert not left(runs.create(prepared()))


def test_a_run_that_goes_on_shares_nothing(prepared, ended, runs):
    with ended(prepared(), None)._locked():
        assert not left(runs.create(prepared()))


def test_where_files_cannot_be_linked_they_are_copied(prepared, ended, runs, monkeypatch):
    def refused(*_):
        raise OSError

    earlier = ended(prepared())
    monkeypatch.setattr(os, "link", refused)
    run = runs.create(prepared())

    part = f"{WORK}/chunk-00000.csv"
    assert (run.objects / part).read_text() == "part"
    assert not (run.objects / part).samefile(earlier.objects / part)


def test_a_name_is_taken_but_by_the_run_that_goes_on(prepared, ended, runs):
    ended(prepared(), name="nightly")
    run = runs.create(prepared(), "nightly")

    # Its own error records are still to be written: those that are there bear the same execution's name.
    assert left(run) == set(CHUNK) - {f"{WORK}/chunk-00001.error.json"}
    assert not run.status().result
    with pytest.raises(RunError, match="there is a run nightly already: choose another name"):
        runs.create(prepared(prediction_column_name="q"), "nightly")
    (run.path / "ended.json").write_text(json.dumps({"status": "SUCCEEDED"}))
    with pytest.raises(RunError, match="there is a run nightly already"):
        runs.create(prepared(), "nightly")


def test_a_run_that_was_killed_is_written_down_and_its_copies_go(prepared, ended, runs):
    killed = ended(prepared(), None, objects={**CHUNK, **COPIES})
    runs.create(prepared(output_s3_uri="other.csv"))

    assert killed.status().status == "ABORTED"
    assert killed.status().result["cause"] == "its process was killed"
    assert left(killed) == set(CHUNK)


def test_parts_of_few_requests_are_kept_and_what_explains_of_all(prepared, ended):
    all_of_them = [ended(prepared(output_s3_uri=f"out-{number}.csv"), name=f"{number}") for number in range(KEPT_WORK + 2)]
    kept = [f"{WORK}/chunk-00000.csv" in left(run) for run in all_of_them]

    # The last one has begun, and ended, after the others were looked at.
    assert kept == [False, *[True] * (KEPT_WORK + 1)]
    assert f"{WORK}/chunk-00001.error.json" in left(all_of_them[0])


def test_old_runs_go(prepared, ended, runs):
    for number in range(KEPT_RUNS + 2):
        ended(prepared(), "SUCCEEDED", name=f"{number:02}", objects={})
    assert len(runs.all()) == KEPT_RUNS


def test_publishing_deletes_the_parts_of_all_runs_for_that_output(prepared, ended, runs):
    fixed, other = ended(prepared(prediction_column_name="q")), ended(prepared(output_s3_uri="other.csv"))
    run = ended(prepared(), "SUCCEEDED", objects={**CHUNK, f"{BUCKET}/output/out.csv": "rows"})
    run._forget_work(type("Result", (), {"output": "out.csv"}))

    assert [f"{WORK}/chunk-00000.csv" in left(one) for one in (fixed, run, other)] == [False, False, True]
    assert f"{BUCKET}/output/out.csv" not in left(run)
    assert f"{WORK}/plan.json" in left(fixed)


def test_kept_work_is_kept_where_it_was_asked_for(prepared, ended):
    run = ended(prepared(keep_work=True), "SUCCEEDED")
    run._forget_work(type("Result", (), {"output": "out.csv"}))
    assert left(run) == set(CHUNK)


def test_keys_that_are_no_paths_are_known_by_their_metadata(tmp_path):
    folder = tmp_path / BUCKET / kept_work.ENCODED_KEYS
    folder.mkdir(parents=True)
    for name, key in (("sha256-0", "models/m"), ("sha256-1", "output/o.csv.work/i/f/chunk-00000.csv")):
        (folder / name).write_text("x")
        (folder / f"{name}.meta.json").write_text(json.dumps({"key": key}))
    kept_work.delete_copies(tmp_path)
    assert [path.name for path in folder.iterdir() if ".meta." not in path.name] == ["sha256-1"]
    kept_work.delete_parts(tmp_path)
    assert not list(folder.iterdir())


def test_finished_chunks_are_those_of_one_plan(tmp_path):
    for plan, number in (("one", 3), ("two", 2)):
        for chunk in range(number):
            path = tmp_path / BUCKET / f"output/o.csv.work/identity/{plan}/chunk-{chunk:05}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("{}")
    assert kept_work.finished_chunks(tmp_path) == 3


def test_a_run_that_is_stopped_before_it_begins_says_so(prepared, runs, monkeypatch):
    run = runs.create(prepared(), "early")

    def stopped(*_, **__):
        raise KeyboardInterrupt("SIGINT")

    monkeypatch.setattr("batch_predict.local_runs.local_aws", stopped)
    with pytest.raises(RunInterrupted, match=r"^Run early is over: the same command starts again, as no chunk was"):
        run.execute()
    assert run.status().status == "ABORTED"
    assert run.status().result["cause"] == "stopped by SIGINT"
