"""The commands around a run, and `BatchPredictor`: on this machine for real, and as with --stack against the shared emulator."""

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import joblib
import pandas as pd
import pexpect
import pytest

from batch_predict import BatchPredictor, RunFailedError
from batch_predict.errors import BatchPredictError
from batch_predict.local.kept_runs import KeptRuns
from batch_predict.runs.run import find_run
from support.command_line import invoke, succeed, write_files

pytestmark = pytest.mark.emulator("the command line runs on the embedded AWS")

ROWS = 2000
BAD_ROW = 1500  # behind what Probe Model reads
CHUNK_MB = 0.005  # a few chunks
OPTIONS = "--model model.joblib --features a,b --prediction p --chunk-size-mb 0.005"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A directory with a run that succeeded, `good`, and one that failed, `bad`."""
    directory = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        write_files(ROWS, BAD_ROW)
        (directory / "quiet").write_text(succeed(f"run {OPTIONS} --data data.csv --output good.csv --name good --quiet"))
        failed = invoke(f"run {OPTIONS} --data bad.csv --output bad-out.csv --name bad --json")
        (directory / "progress").write_text(failed.stderr)
        (directory / "result").write_text(failed.stdout)
    return directory


@pytest.fixture
def here(directory, monkeypatch):
    monkeypatch.chdir(directory)
    return directory


@pytest.mark.usefixtures("here")
class TestThisMachine:
    def test_list_has_the_newest_first(self):
        found = json.loads(succeed("list --json"))

        assert [(run["name"], run["status"]) for run in found[-2:]] == [("bad", "FAILED"), ("good", "SUCCEEDED")]
        assert "good" in succeed("list")

    def test_status_is_that_of_the_execution_with_local_paths(self):
        known = json.loads(succeed("status good --json"))
        text = succeed("status good")

        assert (known["status"], known["output"]["rows"], known["chunks"]["failed"]) == ("SUCCEEDED", ROWS, 0)
        assert known["chunks"]["total"] == known["chunks"]["succeeded"] > 1
        assert "Output   good.csv\n" in text
        assert "s3://" not in text

    def test_watch_of_a_run_that_is_over_ends_as_it_did(self):
        assert invoke("watch good").exit_code == 0
        result = invoke("watch bad")
        assert result.exit_code == 1
        assert "InvalidDataError" in result.stdout

    def test_explain_says_what_where_and_the_command(self):
        text = succeed("explain bad")

        assert "Error    InvalidDataError" in text
        assert not Path("bad-out.csv").exists()
        assert "column 'a': a text of 4 character(s) is not a number" in text
        assert "bad.csv bytes=[" in text
        assert "is not a number. It is row " in text  # this machine's owner may see it
        assert "Do       correct the value, or keep such rows aside" in text
        assert "--on-bad-row quarantine" in text
        number = text.partition("batch-predict chunk bad ")[2].split()[0]
        assert f"Where    chunk {number}, " in text
        assert "nothing failed" in succeed("explain good")

    def test_logs_are_of_the_run_and_of_one_chunk(self):
        everything, one = succeed("logs good"), succeed("logs good --chunk 2")

        assert '"chunks planned"' in everything
        assert '"chunk_index": 0,' in everything
        assert '"chunk_index": 1,' in one
        assert '"chunk_index": 0,' not in one

    @pytest.mark.parametrize("option", ["", "--here"])
    def test_the_chunk_that_failed_fails_again_and_another_does_not(self, option):
        number = int(succeed("explain bad").partition("batch-predict chunk bad ")[2].split()[0])
        failed, done = invoke(f"chunk bad {number} {option}"), invoke(f"chunk bad 1 {option}")

        assert (failed.exit_code, done.exit_code) == (1, 0), done.output
        event = json.loads(failed.stdout.partition("Event:\n")[2].partition("\nAnswer:\n")[0])
        answer = json.loads(failed.stdout.partition("\nAnswer:\n")[2])
        assert event["chunk_index"] == number - 1
        assert (answer["statusCode"], answer["body"]["error"]) == (400, "InvalidDataError")
        assert "It is row" not in failed.stdout  # what the function says has no value
        assert "Here: " in failed.stderr
        assert " of the file (line " in failed.stderr
        assert not list(Path(".batch-predict/bad/aws/objects").rglob("model.joblib"))

    def test_report_is_a_page_of_either_run(self):
        for run in ("good", "bad"):
            path = Path(succeed(f"report {run} --output {run}.html").strip())
            assert run in path.read_text()
        failed = Path("bad.html").read_text()
        assert "InvalidDataError" in failed
        assert "It is row" not in failed  # a page is shown to others
        assert "values on this page cover the" in failed  # of the chunks that were done
        assert 'id="features"' in failed
        assert "Cost on AWS" in failed
        assert re.search(
            r"<dt>Output</dt><dd><code>(<[^>]*>)?bad-out\.csv", failed
        )  # where it would be here, and not in the embedded S3

    def test_the_attempts_of_each_chunk_are_in_its_childs_history(self):
        with KeptRuns().get("good").opened() as aws:
            run = find_run(aws, "good")
            assert run.attempts() == dict.fromkeys(range(run.status().chunks.total), 1)

    def test_a_detached_run_is_watched_and_cancelled_by_name(self):
        succeed(f"run {OPTIONS} --data data.csv --output later.csv --name later --detach")
        assert "Output   later.csv\n" in succeed("watch later --quiet")
        assert len(pd.read_csv("later.csv")) == ROWS
        assert KeptRuns().get("later").status() == "SUCCEEDED"

    @pytest.mark.thorough
    def test_cancel_ends_a_run(self):
        # A chunk of every few rows: far from over when it is cancelled.
        succeed(f"run {OPTIONS.replace('0.005', '0.00002')} --data data.csv --output never.csv --name never --detach")
        succeed("cancel never")
        watched = invoke("watch never --quiet")
        assert watched.exit_code == 1
        assert "ABORTED" in watched.stdout
        assert not Path("never.csv").exists()

    def test_a_run_keeps_no_copy_of_its_inputs(self):
        size = sum(file.stat().st_size for file in Path(".batch-predict/good/aws/objects").rglob("*.csv") if file.is_file())
        assert size < Path("data.csv").stat().st_size

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("chunk good 1", "the plan of run good has been deleted with its other work, as it is after publishing"),
            ("chunk bad 1000", "run bad has chunks 1 to"),
            ("cancel good", "run good is over: it ended as SUCCEEDED"),
            ("report good --output no/page.html", "no/page.html cannot be written: No such file or directory"),
            ("report good --reference no.csv", "reference no.csv is not a file"),
            ("report good --reference model.joblib", "reference model.joblib cannot be compared: "),
            (f"run {OPTIONS} --data data.csv --output again.csv --name good", "there is a run good already: choose another name"),
            ("status ../good", "there is no run ../good"),
        ],
    )
    def test_bad_input_is_one_sentence(self, arguments, sentence):
        result = invoke(arguments)

        assert result.exit_code == 1
        assert f"Error: {sentence}" in result.stderr
        assert "Traceback" not in result.output

    def test_plan_has_items_limits_and_the_comparison(self):
        text = succeed(f"plan {OPTIONS} --data data.csv --output planned.csv --compare --quiet")

        for part in (
            "Chunks   ",
            " of 10,000 at most",
            "Rows     about",
            "Lambda",
            "Step Functions",
            "S3",
            "ml.m5.xlarge",
            "Assumes",
        ):
            assert part in text
        assert not Path("planned.csv").exists()
        assert "planned" not in succeed("list")

    def test_progress_is_json_lines_where_asked_and_quiet_is_silent(self):
        # The last two lines of a failure are for people: error and advice are in the result, too.
        lines = [json.loads(line) for line in Path("progress").read_text().splitlines() if line.startswith("{")]

        assert {"Local AWS", "Plan Chunks", "Predict Chunks", "Prediction Failed"} <= {line["state"] for line in lines}
        assert json.loads(Path("result").read_text())["error"] == "InvalidDataError"
        assert Path("quiet").read_text() == ""


@pytest.fixture
def stack(aws, monkeypatch, tmp_path):
    """The shared emulator's stack, found as one on AWS: by boto3's own configuration. The working directory holds the files."""
    for name, value in aws.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    write_files(ROWS, BAD_ROW)
    return aws


@pytest.fixture
def name():
    return f"run-{time.time_ns()}"


class TestStack:
    def test_local_files_go_up_once_and_the_output_comes_down(self, stack, name):
        output = f"{name}.csv"
        text = f"run {OPTIONS} --data data.csv --output {output} --stack batch-predict --name {name}"
        assert json.loads(succeed(f"{text} --json"))["output"] == output
        assert len(pd.read_csv(output)) == ROWS
        request = json.loads(
            stack.client("stepfunctions").describe_execution(
                executionArn=f"{stack.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
            )["input"]
        )
        assert all("/uploads/" in uri for uri in (request["model_s3_uri"], *request["data_s3_uri"]))
        bucket, _, key = request["data_s3_uri"][0].removeprefix("s3://").partition("/")
        before = stack.client("s3").head_object(Bucket=bucket, Key=key)["LastModified"]

        # The same request again: nothing is uploaded anew, and the published output is recognised.
        assert succeed(f"{text.replace(name, 'again-' + name).replace('again-' + output, output)} --overwrite --quiet") == ""
        assert stack.client("s3").head_object(Bucket=bucket, Key=key)["LastModified"] == before
        assert not Path(".batch-predict").exists()

    @pytest.mark.usefixtures("stack")
    def test_the_list_of_rejected_rows_comes_along_and_placeholders_are_resolved_here(self, name):
        arguments = f"--data bad.csv --output {{execution_name}}.csv --on-bad-row quarantine --overwrite --name {name}"
        Path(f"{name}.csv").write_text("old")
        result = json.loads(succeed(f"run {OPTIONS} {arguments} --stack batch-predict --json"))

        assert (result["rows"], result["rejected_rows"]) == (ROWS, 1)
        assert (result["output"], result["rejected"]) == (f"{name}.csv", f"{name}.csv.rejected.csv")
        assert pd.read_csv(result["rejected"])["row"].tolist() == [BAD_ROW]
        assert pd.read_csv(result["output"])["p"].isna().sum() == 1

    @pytest.mark.thorough
    def test_uris_stay_and_so_does_the_output(self, stack, name):
        s3 = stack.client("s3")
        s3.upload_file("model.joblib", stack.bucket, f"models/{name}/model.joblib")
        s3.upload_file("data.csv", stack.bucket, f"data/{name}/data.csv")
        uri = f"s3://{stack.bucket}"
        options = OPTIONS.replace("model.joblib", f"{uri}/models/{name}/model.joblib")
        arguments = f"{options} --data {uri}/data/{name}/ --output {uri}/output/{name}.csv --stack batch-predict"
        assert "Objects  1," in succeed(f"plan {arguments} --quiet")
        result = json.loads(succeed(f"run {arguments} --name {name} --json"))

        assert (result["output"], result["rows"]) == (f"{uri}/output/{name}.csv", ROWS)
        assert "SUCCEEDED" in succeed(f"status {name} --stack batch-predict")
        assert name in succeed("list --stack batch-predict")
        assert '"chunks planned"' in succeed(f"logs {name} --stack batch-predict")
        assert Path(succeed(f"report {name} --stack batch-predict --output page.html").strip()).exists()

    @pytest.mark.thorough
    @pytest.mark.usefixtures("stack")
    def test_a_detached_run_is_followed_and_explained_by_name(self, name):
        arguments = f"{OPTIONS} --data bad.csv --output {name}.csv --stack batch-predict --name {name}"
        succeed(f"run {arguments} --detach")
        assert invoke(f"watch {name} --stack batch-predict --quiet").exit_code == 1
        text = succeed(f"explain {name} --stack batch-predict")
        assert "batch-predict run --stack batch-predict … --on-bad-row quarantine" in text
        assert invoke(f"chunk {name} 1 --stack batch-predict").exit_code == 0
        assert invoke(f"chunk {name} 1 --stack batch-predict --here").exit_code == 0

    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            ("status --stack no-such-stack", "there is no stack no-such-stack in this account and region"),
            ("status no-such-run --stack batch-predict", "the stack batch-predict has no run no-such-run"),
            (
                "list --stack batch-predict --profile nobody",
                "the stack batch-predict cannot be looked up: The config profile (nobody)",
            ),
        ],
    )
    @pytest.mark.usefixtures("stack")
    def test_bad_input_is_one_sentence(self, arguments, sentence):
        result = invoke(arguments)

        assert result.exit_code == 1
        assert f"Error: {sentence}" in result.stderr


@pytest.mark.thorough
class TestCtrlC:
    """In `run --stack`: the execution needs nobody here."""

    @pytest.fixture
    def long_run(self, stack, name):
        """A run of thousands of chunks, in a terminal; and what Step Functions says of it."""
        arguments = f"{OPTIONS.replace('0.005', '0.00002')} --data data.csv --output {name}.csv --stack batch-predict --name {name}"
        command = [sys.executable, "-c", "from batch_predict.cli.app import main; main()", "run", *arguments.split()]
        arn = f"{stack.state_machine_arn.replace(':stateMachine:', ':execution:')}:{name}"
        stepfunctions = stack.client("stepfunctions")
        yield command, lambda: stepfunctions.describe_execution(executionArn=arn)["status"]
        with contextlib.suppress(stepfunctions.exceptions.ExecutionDoesNotExist):
            stepfunctions.stop_execution(executionArn=arn)

    @pytest.mark.parametrize(("answer", "status"), [("n", "ABORTED"), ("y", "RUNNING")])
    def test_it_asks_whether_to_leave_the_execution_running(self, long_run, name, answer, status):
        command, status_of = long_run
        process = pexpect.spawn(command[0], command[1:], timeout=60, encoding="utf-8", dimensions=(30, 120))
        process.expect("Predict Chunks")
        process.sendintr()
        process.expect(f"Leave run {name} running")
        process.sendline(answer)
        process.expect("goes on")  # the run, or the same command from its finished chunks
        process.expect("stopped by SIGINT")
        process.expect(pexpect.EOF)
        process.close()

        assert process.exitstatus == 130
        assert status_of() == status

    def test_without_a_terminal_it_goes_on(self, long_run, name):
        command, status_of = long_run
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        while "Predict Chunks" not in (line := process.stderr.readline()):
            assert line, "the run ended before"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)

        assert process.returncode == 130
        assert f"Run {name} goes on: batch-predict watch {name} --stack batch-predict" in stderr
        assert status_of() == "RUNNING"


class TestBatchPredictor:
    def test_plan_run_and_submit_on_this_machine(self, directory, monkeypatch):
        monkeypatch.chdir(directory)
        predictor = BatchPredictor("model.joblib", ["a", "b"], "p", chunk_size_mb=CHUNK_MB, overwrite=True)
        assert predictor.plan("data.csv", "api.csv").estimate["dollars"]["total"] > 0
        run = predictor.run([pd.read_csv("data.csv"), "data.csv"], "api.csv")
        frame = run.to_pandas()
        expected = joblib.load("model.joblib").predict(frame[["a", "b"]])

        assert (len(frame), run.status, run.report["rows"]["read"]) == (2 * ROWS, "SUCCEEDED", 2 * ROWS)
        assert abs(frame["p"] - expected).max() < 1e-9
        data = pd.read_csv("data.csv").set_index(pd.Index(range(ROWS, 0, -1), name="n"))
        submitted = BatchPredictor(joblib.load("model.joblib")).submit(data, Path("api2.csv"))
        scored = submitted.wait(60, poll_seconds=0.1).to_pandas()
        pd.testing.assert_frame_equal(scored[data.columns], data)
        assert abs(scored["prediction"] - joblib.load("model.joblib").predict(data[["a", "b"]])).max() < 1e-9
        with pytest.raises(BatchPredictError, match="is over"):
            submitted.cancel()

    @pytest.mark.usefixtures("stack")
    def test_a_failed_run_is_an_exception_with_the_executions_words(self, name):
        predictor = BatchPredictor("model.joblib", ["a", "b"], "p", chunk_size_mb=CHUNK_MB, stack="batch-predict")
        with pytest.raises(RunFailedError, match="InvalidDataError: chunk") as failed:
            predictor.run("bad.csv", f"{name}.csv")
        assert failed.value.error == "InvalidDataError"

    @pytest.mark.thorough
    def test_a_stacks_output_in_s3_is_a_frame_too(self, stack, name):
        predictor = BatchPredictor("model.joblib", ["a", "b"], "p", stack="batch-predict")
        run = predictor.submit("data.csv", f"s3://{stack.bucket}/output/{name}.csv", name=name)

        assert len(run.to_pandas()) == ROWS
        assert run.report["execution"]["name"] == name
