"""The command line for real: the examples of the commands' help, each on a local AWS of its own."""

import json
import os
import shlex
import signal
import subprocess
import sysconfig

import boto3
import joblib
import numpy as np
import pandas as pd
import pytest
from botocore.config import Config

from batch_predict.cli import local_commands, model_command, scoring_commands
from batch_predict.local import flights
from support import aws_cli
from support.processes import descendants, is_alive

pytestmark = pytest.mark.emulator("the command line runs on the embedded AWS")

SECONDS = 60
ROWS = 2000


@pytest.fixture(scope="module")
def demo_directory(tmp_path_factory):
    """A directory in which the help's examples run: with what the demo leaves in .demo, but fewer rows."""
    directory = tmp_path_factory.mktemp("cli")
    flights.write_flights(directory / ".demo", ROWS).rename(directory / ".demo" / "flights.csv")
    flights.fit_model(directory / ".demo")
    return directory


@pytest.fixture
def start(tmp_path):
    """Start a shell command that finds `batch-predict`; at the end it is gone, whatever happened."""
    started = []

    def start(command, directory=tmp_path):
        path = f"{sysconfig.get_path('scripts')}{os.pathsep}{os.environ['PATH']}"
        process = subprocess.Popen(
            f"exec {command}",
            shell=True,
            cwd=directory,
            env={**os.environ, "PATH": path},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def example(text):
    return text.rpartition("\b\n")[2].strip()


class TestRun:
    def test_the_example_of_its_help_scores_as_the_model_does(self, start, demo_directory):
        process = start(f"{example(scoring_commands.RUN_EXAMPLE)} --chunk-size-mb 0.05 --json", demo_directory)
        stdout, stderr = process.communicate(timeout=SECONDS)

        assert process.returncode == 0, stderr
        data, model = demo_directory / ".demo" / "flights.csv", joblib.load(demo_directory / ".demo" / "arrival_delay.joblib")
        output = (demo_directory / "predictions.csv").read_text()
        expected = model.predict(pd.read_csv(data)[flights.FEATURES])
        assert [line.rpartition(",")[0] for line in output.splitlines()] == data.read_text().splitlines()
        np.testing.assert_allclose(pd.read_csv(demo_directory / "predictions.csv")[flights.PREDICTION], expected)

        answer = json.loads(stdout)
        report = json.loads((demo_directory / "predictions.csv.report.json").read_text())
        assert stdout.count("\n") == 1
        assert (answer["status"], answer["rows"], answer["error"]) == ("SUCCEEDED", ROWS, None)
        assert (answer["output"], answer["report"]) == ("predictions.csv", "predictions.csv.report.json")
        assert answer["chunks"] == report["plan"]["chunks"] > 1
        assert list(answer["states"]) == ["Validate Request", "Probe Model", "Plan Chunks", "Predict Chunks", "Merge Outputs"]
        shown = [json.loads(line) for line in stderr.splitlines()]
        for state in answer["states"]:
            assert [line for line in shown if line["state"] == state and line.get("seconds", 0) > 0], stderr
        counted = [line for line in shown if line["state"] == "Predict Chunks" and "chunks" in line][-1]
        assert counted["chunks"]["succeeded"] == answer["chunks"]
        assert counted["rows"] == pytest.approx(ROWS, rel=0.05)
        assert counted["dollars"] > 0

    @pytest.mark.thorough
    @pytest.mark.parametrize(("number", "exit_code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_a_signal_in_the_middle_leaves_nothing(self, start, demo_directory, tmp_path, number, exit_code):
        command = example(scoring_commands.RUN_EXAMPLE).replace("--output ", f"--output {shlex.quote(str(tmp_path))}/")
        process = start(f"{command} --chunk-size-mb 0.01", demo_directory)
        while "Validate Request" not in (line := process.stderr.readline()):
            assert line, "the run ended before"
        children = descendants(process.pid)
        process.send_signal(number)
        _, stderr = process.communicate(timeout=SECONDS)

        assert process.returncode == exit_code
        assert stderr.splitlines()[-1] == f"Error: stopped by {number.name}"
        assert list(tmp_path.iterdir()) == []
        assert children
        assert not [pid for pid in children if is_alive(pid)]


class TestCheckModel:
    def test_the_example_of_its_help_scores_a_sample(self, start, demo_directory):
        process = start(f"{example(model_command.CHECK_MODEL_EXAMPLE)} --json", demo_directory)
        stdout, stderr = process.communicate(timeout=SECONDS)

        assert (process.returncode, stderr) == (0, "")
        answer = json.loads(stdout)
        assert (answer["problems"], answer["warnings"]) == ([], [])
        assert (answer["sample"]["rows"], answer["sample"]["prediction_columns"]) == (1000, ["prediction"])
        assert answer["sample"]["rows_per_second"] > 0
        assert answer["facts"]["feature_columns"] == flights.FEATURES
        assert "feature_columns" not in answer["request"]  # the model knows them

    def test_how_csv_is_written_is_seen_by_its_first_rows(self, start, demo_directory):
        rows = pd.read_csv(demo_directory / ".demo/flights.csv").head(50)
        rows.to_csv(demo_directory / "semicolons.csv", index=False, sep=";", decimal=",")
        process = start("batch-predict check-model .demo/arrival_delay.joblib --data semicolons.csv --json", demo_directory)
        stdout, stderr = process.communicate(timeout=SECONDS)

        assert (process.returncode, stderr) == (0, "")
        answer = json.loads(stdout)
        assert answer["csv"] == answer["request"]["csv"] == {"delimiter": ";", "decimal": ","}
        assert answer["sample"]["rows"] == 50

    def test_what_the_function_refuses_is_a_problem_in_the_users_own_words(self, start, demo_directory):
        (demo_directory / "few.csv").write_text("month,dep_time\n1,900\n")
        process = start("batch-predict check-model .demo/arrival_delay.joblib --data few.csv", demo_directory)
        stdout, stderr = process.communicate(timeout=SECONDS)

        assert process.returncode == 1
        assert stderr.startswith("Error: InvalidRequestError: few.csv has no column 'dep_delay'")
        assert "Features   7 columns: month, dep_time" in stdout
        assert "A request to begin with" not in stdout


class TestServe:
    def test_the_example_of_its_help_prints_where_everything_is_and_stops(self, start):
        process = start(example(local_commands.SERVE_EXAMPLE))
        where = json.loads(process.stdout.readline())
        children = descendants(process.pid)
        client = boto3.client(
            "stepfunctions",
            endpoint_url=where["endpoint_url"],
            region_name=where["region"],
            aws_access_key_id=where["access_key_id"],
            aws_secret_access_key=where["secret_access_key"],
            config=Config(proxies={}),
        )

        assert client.describe_state_machine(stateMachineArn=where["state_machine_arn"])["status"] == "ACTIVE"
        assert set(where) == {
            *("endpoint_url", "access_key_id", "secret_access_key", "region"),
            *("bucket", "state_machine_arn", "predict_function_name"),
        }

        process.send_signal(signal.SIGTERM)
        assert process.communicate(timeout=SECONDS) == ("", "")
        assert process.returncode == 0
        assert not [pid for pid in children if is_alive(pid)]

    @pytest.mark.thorough
    def test_what_it_says_for_people_can_be_pasted(self, start, demo_directory, tmp_path):
        """Into a shell that knows nothing else of AWS; the tests' own `aws` stands for the AWS CLI."""
        process = start("batch-predict serve", demo_directory)
        text = ""
        while "--input" not in text:
            line = process.stdout.readline()
            assert line, text
            text += line
        commands = "".join(line for line in text.splitlines(keepends=True) if line.startswith(("export ", "aws s3 cp ")))
        start_execution = text[text.index("aws stepfunctions start-execution") :].strip()
        aws_cli.install(tmp_path)
        script = f"""{commands}
arn=$({start_execution} --query executionArn --output text)
while status=$(aws stepfunctions describe-execution --execution-arn $arn --query status --output text) && [ $status = RUNNING ]
do sleep 0.1; done
echo $status"""
        environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
        command = ["bash", "-euo", "pipefail", "-c", script]
        done = subprocess.run(command, check=False, cwd=demo_directory, env=environment, capture_output=True, text=True)

        assert (done.stdout, done.stderr) == ("SUCCEEDED\n", "")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=SECONDS)
        assert process.returncode == 0

    @pytest.mark.thorough
    def test_a_port_in_use_is_one_sentence(self, start, aws):
        process = start(f"batch-predict serve --json --port {aws.endpoint_url.rpartition(':')[2]}")
        stdout, stderr = process.communicate(timeout=SECONDS)

        assert (process.returncode, stdout) == (1, "")
        assert stderr.startswith("Error: the embedded AWS did not start on 127.0.0.1:")
