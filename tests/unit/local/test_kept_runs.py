"""The folders of local runs: what the next run of a request gets of an earlier one, what is kept, and for how long."""

import http.client
import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from batch_predict.cli.app import app
from batch_predict.errors import BatchPredictError
from batch_predict.local import kept_work
from batch_predict.local.aws import LocalAws
from batch_predict.local.interruption import RunInterrupted
from batch_predict.local.kept_run import KeptRun
from batch_predict.local.kept_runs import KEPT_RUNS, KEPT_WORK, KeptRuns
from batch_predict.runs.outcome import Failed, Published, as_json
from batch_predict.runs.prepared_request import prepare

PUBLISHED = Published(output="out.csv", report="out.csv.report.json", rows=1, chunks=1, output_bytes=1)
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
    return KeptRuns(tmp_path / "runs")


@pytest.fixture
def ended(runs):
    """Make a run that has ended so, and has left these objects; of one that was killed, nobody has written the end down."""

    def ended(prepared_request, status="FAILED", name=None, objects=CHUNK):
        run = runs.create(prepared_request, name)
        write(run, objects)
        if status:
            outcome = PUBLISHED if status == "SUCCEEDED" else Failed(status=status, error="X", cause="x", seconds=1.0)
            (run.path / "ended.json").write_text(json.dumps(as_json(outcome)))
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


@pytest.mark.parametrize(
    ("fields", "shares"),
    [
        *(
            ({field: value}, True)
            for field, value in (("overwrite", True), ("max_concurrency", 2), ("tolerated_failure_percentage", 50))
        ),
        *(({field: value}, False) for field, value in (("on_bad_row", "quarantine"), ("prediction_column_name", "q"))),
        ({"output_s3_uri": "other.csv"}, False),
    ],
)
def test_only_what_a_chunk_does_not_depend_on_may_change(prepared, ended, runs, fields, shares):
    ended(prepared())
    assert bool(left(runs.create(prepared(**fields)))) == shares


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
    with ended(prepared(), None).lock.held():
        assert not left(runs.create(prepared()))


def test_what_a_killed_process_has_left_is_waited_for(prepared, ended, runs):
    """Its embedded AWS, say, which writes down what it knows, and holds the folder until then."""
    killed = ended(prepared(), None)
    process = subprocess.Popen(["sleep", "60"])
    with killed.lock.held() as lock:
        # Another process has the same open file, and lives on.
        holder = subprocess.Popen(["sleep", "1"], pass_fds=(lock.fileno(),))
        lock.truncate(0)
        lock.write(str(process.pid))
        lock.flush()
    assert killed.status() == "RUNNING"
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie, as its parent has not looked yet, is none that lives
    assert left(runs.create(prepared()))
    assert holder.poll() is not None
    process.wait()


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
    assert run.outcome() is None
    with pytest.raises(BatchPredictError, match="there is a run nightly already: choose another name"):
        runs.create(prepared(prediction_column_name="q"), "nightly")
    (run.path / "ended.json").write_text(json.dumps(as_json(PUBLISHED)))
    with pytest.raises(BatchPredictError, match="there is a run nightly already"):
        runs.create(prepared(), "nightly")


def test_a_run_that_was_killed_is_written_down_and_its_copies_go(prepared, ended, runs):
    killed = ended(prepared(), None, objects={**CHUNK, **COPIES})
    runs.create(prepared(output_s3_uri="other.csv"))

    assert killed.status() == "ABORTED"
    assert killed.outcome().cause == "its process was killed"
    assert left(killed) == set(CHUNK)


def test_an_end_that_is_written_while_somebody_looks_is_not_written_over(prepared, ended, runs, monkeypatch):
    """A process lets go of the folder before it writes how its run ended."""
    run = ended(prepared(), None, "late")

    def created(kept):
        (kept.path / "ended.json").write_text(json.dumps(as_json(PUBLISHED), default=str))
        return datetime.fromisoformat(kept.about["created"])

    monkeypatch.setattr(KeptRun, "created", property(created))
    run.settle()
    assert run.status() == "SUCCEEDED"


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
    runs._forget_work(run, PUBLISHED)

    assert [f"{WORK}/chunk-00000.csv" in left(one) for one in (fixed, run, other)] == [False, False, True]
    assert f"{BUCKET}/output/out.csv" not in left(run)
    assert f"{WORK}/plan.json" in left(fixed)


def test_kept_work_is_kept_if_it_was_asked_for(prepared, ended, runs):
    run = ended(prepared(keep_work=True), "SUCCEEDED")
    runs._forget_work(run, PUBLISHED)
    assert left(run) == set(CHUNK)


def test_keys_that_are_no_paths_are_known_by_their_metadata(tmp_path):
    folder = tmp_path / BUCKET / kept_work.ENCODED_KEYS
    folder.mkdir(parents=True)
    for name, key in (("sha256-0", "models/m"), ("sha256-1", "output/o.csv.work/i/f/chunk-00000.csv")):
        (folder / name).write_text("x")
        (folder / f"{name}.meta.json").write_text(json.dumps({"key": key}))
    kept_work.delete(tmp_path, kept_work.COPIES)
    assert [path.name for path in folder.iterdir() if ".meta." not in path.name] == ["sha256-1"]
    kept_work.delete(tmp_path, kept_work.PARTS)
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

    monkeypatch.setattr("batch_predict.local.kept_run.local_aws", stopped)
    with pytest.raises(RunInterrupted, match=r"^Run early is over: the same command starts again, as no chunk was"):
        run.execute()
    assert run.status() == "ABORTED"
    assert run.outcome().cause == "stopped by SIGINT"


def test_a_run_that_has_published_stays_published_if_it_is_stopped_after_that(prepared, runs, monkeypatch):
    """While its local AWS is stopped, say."""
    run = runs.create(prepared(), "late")

    @contextmanager
    def stopped_at_the_end(**_):
        yield SimpleNamespace(endpoint_url="")
        raise KeyboardInterrupt("SIGINT")

    monkeypatch.setattr(run, "_serving", stopped_at_the_end)
    for name, answer in (("upload", None), ("start", "arn"), ("conclude", PUBLISHED)):
        monkeypatch.setattr(f"batch_predict.local.kept_run.{name}", lambda *_, answer=answer: answer)
    with pytest.raises(KeyboardInterrupt):
        run.execute()
    assert run.status() == "SUCCEEDED"


class TestForeignFolders:
    """What others have put into `.batch-predict/` is not opened: a project may bring one, and its files are the user's then."""

    @pytest.fixture
    def downloaded(self, prepared, ended, tmp_path, monkeypatch):
        """The folder of an unfinished run of this very request, which somebody else has made."""
        with monkeypatch.context() as patch:
            patch.setenv("XDG_STATE_HOME", str(tmp_path / "of somebody else"))
            run = ended(prepared(), name="theirs", objects={**CHUNK, **COPIES})
        (run.path / "live.json").write_text("{}")
        return run

    def test_its_chunks_are_nobodys_and_nothing_in_it_is_deleted(self, downloaded, runs, prepared, tmp_path):
        mine = tmp_path / "my models" / "best.joblib"
        mine.parent.mkdir()
        mine.write_text("mine")
        shutil.rmtree(downloaded.objects / BUCKET / "models")
        (downloaded.objects / BUCKET / "models").symlink_to(mine.parent)
        before = left(downloaded)

        assert not left(runs.create(prepared()))
        for number in range(KEPT_RUNS + 2):
            runs.create(prepared(output_s3_uri=f"{number}.csv"), f"{number}")

        assert left(downloaded) == before
        assert mine.read_text() == "mine"

    @pytest.mark.parametrize("command", ["chunk theirs 1 --here", "status theirs"])
    @pytest.mark.usefixtures("downloaded")
    def test_no_command_brings_it_up(self, runs, command, monkeypatch):
        monkeypatch.setenv("BATCH_PREDICT_HOME", str(runs.home))
        monkeypatch.setattr("batch_predict.local.kept_run.local_aws", lambda **_: pytest.fail("its functions run"))
        done = CliRunner().invoke(app, command.split())

        assert done.exit_code == 1
        assert "theirs is left alone: you have not made it on this machine, and opening it would run" in done.stderr

    @pytest.mark.usefixtures("downloaded")
    def test_list_says_what_it_leaves_out(self, runs, prepared, monkeypatch):
        monkeypatch.setenv("BATCH_PREDICT_HOME", str(runs.home))
        runs.create(prepared(), "mine")
        done = CliRunner().invoke(app, ["list"])

        assert [run.name for run in runs.all()] == ["mine"]
        assert "mine" in done.stdout
        assert "theirs" not in done.stdout
        assert done.stderr == "Left alone, as you have not made them on this machine: theirs\n"

    @pytest.mark.parametrize(
        "about", [{}, [], {"created": "x", "mark": None}, {"created": "x", "mark": 7}, {"created": "x", "mark": "ü"}]
    )
    def test_what_says_nothing_sensible_of_itself_is_foreign(self, runs, about):
        (runs.home / "odd").mkdir(parents=True)
        (runs.home / "odd/run.json").write_text(json.dumps(about))

        assert runs.all() == []
        with pytest.raises(BatchPredictError, match="odd is left alone"):
            runs.get("odd")

    @pytest.mark.parametrize(
        ("tamper", "says"),
        [
            (lambda mine, _: mine.rename(mine.with_name("other")), "other is left alone: you have not made it"),  # another's mark
            (lambda mine, path: mine.symlink_to(mine.rename(path / "mine")), "mine is left alone: it is not a folder"),
            (lambda mine, _: mine.chmod(0o770), "mine is left alone: other users may write into it: chmod 700"),
        ],
        ids=["renamed", "a link", "writable for others"],
    )
    def test_a_folder_that_others_may_have_changed_is_left_alone(self, runs, prepared, ended, tmp_path, tamper, says):
        tamper(ended(prepared(), name="mine").path, tmp_path)

        (name,) = runs.foreign()
        with pytest.raises(BatchPredictError, match=says):
            runs.get(name)

    @pytest.mark.parametrize("is_other_users", [True, False])
    def test_a_home_that_others_have_or_write_into_is_left_alone(self, runs, prepared, monkeypatch, is_other_users):
        runs.create(prepared(), "mine")
        says = "it belongs to another user; set BATCH_PREDICT_HOME" if is_other_users else "other users may write into it"
        if is_other_users:
            monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        else:
            runs.home.chmod(0o777)

        for use in (runs.all, lambda: runs.get("mine"), lambda: runs.create(prepared())):
            with pytest.raises(BatchPredictError, match=f"runs is left alone: {says}"):
                use()

    def test_folders_and_what_holds_the_key_are_the_users_alone(self, runs, prepared, tmp_path, monkeypatch):
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
        before = os.umask(0)
        try:
            run = runs.create(prepared(), "mine")
        finally:
            os.umask(before)

        modes = {path: path.stat().st_mode & 0o777 for path in (runs.home, run.path, run.path / "run.json")}
        assert list(modes.values()) == [0o700, 0o700, 0o600]
        key = tmp_path / "state/batch-predict/key"
        assert (key.parent.stat().st_mode & 0o777, key.stat().st_mode & 0o777) == (0o700, 0o600)
        assert [path.name for path in key.parent.iterdir()] == ["key"]

    def test_without_a_key_a_run_is_made_and_not_opened_again(self, runs, prepared, tmp_path, monkeypatch):
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
        runs.create(prepared(), "mine")

        with pytest.raises(
            BatchPredictError, match=r"mine is left alone: the key that tells your own runs is missing: .*set XDG_STATE_HOME"
        ):
            runs.get("mine")


AWS = LocalAws({}, "http://127.0.0.1:4566", "key", "identity")


ELSEWHERE = [
    *("http://evil.example:80", "http://127.0.0.1:4566@evil.example", "https://127.0.0.1:4566", "http://10.0.0.1:4566"),
    *("http://127.0.0.1.evil.example:80", "http://127.0.0.1:4566/x", "http://127.0.0.1:", "http://localhost:4566"),
    *("file:///etc/passwd", "", None, 7, []),
]
NOTHING = ["", "[]", "7", "{", '{"endpoint_url": "http://127.0.0.1:1"}', '{"more": 1}', "null"]


@pytest.mark.parametrize("text", [*(json.dumps(asdict(AWS) | {"endpoint_url": said}) for said in ELSEWHERE), *NOTHING])
def test_a_live_json_that_names_no_emulator_of_this_machine_says_nothing(prepared, runs, monkeypatch, text):
    monkeypatch.setattr(http.client, "HTTPConnection", lambda *_, **__: pytest.fail("asked"))
    run = runs.create(prepared())
    (run.path / "live.json").write_text(text)

    assert run.status() == "ABORTED"
