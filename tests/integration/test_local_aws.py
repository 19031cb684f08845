"""The embedded AWS starts, keeps to itself, and leaves nothing behind, however its owner ends."""

import hashlib
import http.client
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from samtranslator.yaml_helper import yaml_parse

from batch_predict import deployed
from batch_predict.errors import BatchPredictError
from batch_predict.local import aws as embedded
from batch_predict.local import deploy
from batch_predict.local.deployed_package import deployed_package
from support.processes import is_alive

pytestmark = pytest.mark.emulator("it is about the embedded AWS")

PROJECT = Path(__file__).parents[2]
ROLES = ("guard", "emulator", "function")
"""Processes that the canary function reports."""
GONE_SECONDS = 30  # for the guard to end the rest after its owner

# Starts an embedded AWS, reports its processes, and then ends as told.
OWNER = """
import json, signal, sys, time
from pathlib import Path
from batch_predict.local.aws import local_aws

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have started us to ignore it
with local_aws(directory=Path(sys.argv[1])) as aws:
    function = {"FunctionName": aws.predict_function_name, "Payload": '{"ignore_sigterm": true}'}
    print(aws.client("lambda").invoke(**function)["Payload"].read().decode(), flush=True)
    aws.client("lambda").invoke(**function | {"InvocationType": "Event", "Payload": '{"sleep": 60}'})
    if sys.argv[2] == "raise":
        raise RuntimeError
    time.sleep(60)
"""


def invoke(aws, event=None):
    response = aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=json.dumps(event or {}))
    return json.loads(response["Payload"].read())


def signed_get(aws, path):
    """Ask as boto3 does where it has no call of its own for it."""
    request = AWSRequest("GET", aws.endpoint_url + path)
    SigV4Auth(Credentials("test", aws.secret_access_key), "sts", aws.region).add_auth(request)
    return asked(aws, "GET", path, dict(request.headers.items()))


def asked(aws, method, path, headers, body=None):
    """Ask as any program may, and read the answer."""
    with closing(http.client.HTTPConnection("127.0.0.1", int(aws.endpoint_url.rpartition(":")[2]), timeout=30)) as connection:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        response.content = response.read()
        return response


def assert_nothing_is_left(report):
    """Wait until the guard, the emulator, the function and their directory are gone; end the processes if they are not."""
    processes = {role: report[role] for role in ROLES}
    directory = Path(report["environment"]["TMPDIR"])
    deadline = time.monotonic() + GONE_SECONDS
    while (left := [role for role, pid in processes.items() if is_alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    for role in left:
        os.kill(processes[role], signal.SIGKILL)
    exists = directory.exists()
    shutil.rmtree(directory, ignore_errors=True)
    assert left == []
    assert not exists


class TestStack:
    def test_the_deployed_definition_is_the_file_but_for_the_limits_of_the_map(self, aws):
        definition = json.loads((PROJECT / "statemachine/batch_prediction.asl.json").read_text())

        deployed = aws.client("stepfunctions").describe_state_machine(stateMachineArn=aws.state_machine_arn)

        arn = r"arn:aws:lambda:[^:]+:\d+:function:batch-predict-(\w+)-[0-9A-Z]+"
        adapted = json.loads(re.sub(arn, r"${\1Arn}", deployed["definition"]))
        before, after = definition["States"]["Predict Chunks"], adapted["States"]["Predict Chunks"]
        assert after.pop("MaxConcurrency") == deploy.usable_cores()
        assert after.pop("ToleratedFailurePercentage") == 100
        del before["MaxConcurrencyPath"], before["ToleratedFailurePercentagePath"]
        assert adapted == definition

    @pytest.mark.thorough
    def test_a_stack_that_fails_says_what_failed_and_why_and_stops(self, canary_stack, monkeypatch, tmp_path):
        stack, temporary = tmp_path / "stack", tmp_path / "temporary"
        temporary.mkdir()
        monkeypatch.setenv("TMPDIR", str(temporary))
        shutil.copytree(canary_stack, stack)
        template = yaml_parse((stack / "template.yaml").read_text())
        template["Resources"]["Broken"] = {
            "Type": "AWS::StepFunctions::StateMachine",
            "Properties": {
                "RoleArn": {"Fn::GetAtt": ["StateMachineRole", "Arn"]},
                "DefinitionS3Location": {"Bucket": "batch-predict", "Key": "absent.asl.json"},
            },
        }
        (stack / "template.yaml").write_text(json.dumps(template, default=str))

        with (
            pytest.raises(BatchPredictError, match=r"Broken \(AWS::StepFunctions::StateMachine\): .*absent\.asl\.json"),
            embedded.local_aws(directory=stack),
        ):
            pytest.fail("deployed a broken stack")

        assert not list(temporary.iterdir())

    def test_a_template_that_is_refused_says_why(self, canary_aws, canary_stack):
        with pytest.raises(BatchPredictError, match=r"template\.yaml was refused: .*DataBucket"):
            deploy.deploy(canary_aws.client, canary_stack, bucket=canary_aws.bucket, stack_name="refused", parameters={})

    def test_an_installed_package_brings_its_own_stack(self, monkeypatch, tmp_path):
        assert deployed.stack_directory() == PROJECT
        package = tmp_path / "batch_predict"
        monkeypatch.setattr(deployed, "__file__", str(package / "deployed.py"))
        with pytest.raises(BatchPredictError, match=r"no template\.yaml"):
            deployed.stack_directory()

        (package / "stack").mkdir(parents=True)
        (package / "stack/template.yaml").touch()

        assert deployed.stack_directory() == package / "stack"


class TestAdaptations:
    def test_only_the_runtime_of_functions_changes_in_the_template(self):
        template = yaml_parse((PROJECT / "template.yaml").read_text())

        adapted = deploy.adapt_template(template)

        functions = [r for r in adapted["Resources"].values() if r["Type"] == "AWS::Serverless::Function"]
        assert len(functions) == 6
        for function in functions:
            assert function["Properties"].pop("Runtime") == "provided.al2023"
        assert adapted == template

    def test_a_functions_package_is_the_directorys_code_and_the_bootstrap(self, tmp_path):
        for name in ("flow/b.py", "flow/c.json", "flow/__pycache__/b.pyc", "flow/requirements.txt", "other/d.py"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).write_text(name)
        package = deploy.zip_function(tmp_path, "flow.b.lambda_handler")
        os.utime(tmp_path / "flow/b.py", (0, 0))

        with zipfile.ZipFile(io.BytesIO(package)) as archive:
            assert sorted(archive.namelist()) == ["bootstrap", "flow/b.py", "flow/c.json"]
            assert archive.read("bootstrap").decode() == deploy.bootstrap()
        assert deploy.zip_function(tmp_path, "flow.b.lambda_handler") == package

    def test_the_prediction_functions_package_knows_what_is_deployed(self):
        package = deployed_package(PROJECT)
        zipped = deploy.zip_function(PROJECT / "functions/predict", "prediction_handler.lambda_handler", package)

        with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
            stored = ["stored_boosters.py", "stored_model.py", "stored_steps.py", "stored_transforms.py"]
            kernels = ["field_kernel.py", "json_kernel.py", "number_kernel.py", "packed_boosters.py", "packed_trees.py"]
            modules = [*kernels, "predict_kernel.py", "prediction_handler.py", "statistics_kernel.py", *stored, "tree_kernel.py"]
            assert sorted(archive.namelist()) == sorted(["as_packaged.py", "bootstrap", "libpredict_kernel.so", *modules])
            assert archive.read("bootstrap").decode() == deploy.bootstrap(package)
        assert json.dumps(package.python) in deploy.bootstrap(package)


class TestIsolation:
    def test_it_listens_on_loopback_only(self, canary_aws):
        report = invoke(canary_aws)
        for _ in range(100):  # some listeners come after the first answer
            if signed_get(canary_aws, "/_ministack/ready").status == 200:
                break
            time.sleep(0.1)
        sockets = [one for role in ROLES for one in psutil.Process(report[role]).net_connections("inet")]
        listening = {one.laddr for one in sockets if one.status == psutil.CONN_LISTEN}

        assert ("127.0.0.1", int(canary_aws.endpoint_url.rpartition(":")[2])) in listening
        assert {host for host, _ in listening} == {"127.0.0.1"}

    @pytest.mark.thorough
    def test_the_users_configuration_reaches_neither_functions_nor_clients(self, canary_stack, monkeypatch, tmp_path):
        configuration = tmp_path / "config"
        configuration.write_text("this is [not a configuration file")
        secrets = {
            "AWS_PROFILE": "production",
            "AWS_ACCESS_KEY_ID": "AKIAUSERSOWN",
            "AWS_SECRET_ACCESS_KEY": "users-own-secret",
            "AWS_SESSION_TOKEN": "users-own-token",
            "AWS_CONFIG_FILE": str(configuration),
            "AWS_SHARED_CREDENTIALS_FILE": str(configuration),
            "AWS_DEFAULT_REGION": "eu-central-2",
            "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
            "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
            "AWS_USE_FIPS_ENDPOINT": "true",
            "AWS_USE_DUALSTACK_ENDPOINT": "true",
            "HTTP_PROXY": "http://127.0.0.1:9",
            "http_proxy": "http://127.0.0.1:9",
            "GATEWAY_PORT": "9",
            "PERSIST_STATE": "1",
            "SERVICES": "sqs",
        }
        for name, value in secrets.items():
            monkeypatch.setenv(name, value)

        with embedded.local_aws(directory=canary_stack) as aws:
            aws.client("s3").put_object(Bucket=aws.bucket, Key="data/k", Body=b"read")
            assert invoke(aws, {"read": {"Bucket": aws.bucket, "Key": "data/k"}}) == "read"
            environment = invoke(aws)["environment"]

        assert not [name for name, value in secrets.items() if environment.get(name) == value]

    @pytest.mark.thorough
    def test_several_at_once_share_nothing(self, canary_aws, canary_stack):
        with ExitStack() as stack:
            all_aws = [canary_aws] + [stack.enter_context(embedded.local_aws(directory=canary_stack)) for _ in range(2)]
            for number, aws in enumerate(all_aws):
                aws.client("s3").put_object(Bucket=aws.bucket, Key="data/number", Body=str(number).encode())

            read = {"read": {"Bucket": canary_aws.bucket, "Key": "data/number"}}
            assert [invoke(aws, read) for aws in all_aws] == ["0", "1", "2"]
            assert len({aws.endpoint_url for aws in all_aws}) == 3
            reports = [invoke(aws) for aws in all_aws]

        for report in reports[1:]:
            assert_nothing_is_left(report)
        assert invoke(canary_aws, read) == "0"


PAGE = {"Origin": "http://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"}
"""What a browser says of a request that a page's script sends without a preflight."""


class TestDoor:
    """Nobody gets in but who has the key of this start: not a page in the user's browser, not another user of the machine."""

    @pytest.mark.parametrize("headers", [PAGE, {}], ids=["a page", "another user"])
    def test_data_is_read_by_nobody_else(self, canary_aws, headers):
        """What else is refused: tests/unit/local/test_emulator_door.py."""
        canary_aws.client("s3").put_object(Bucket=canary_aws.bucket, Key="data/secret.csv", Body=b"secret")

        answer = asked(canary_aws, "GET", f"/{canary_aws.bucket}/data/secret.csv", headers)

        assert answer.status == 403
        assert b"secret" not in answer.content
        assert not [name for name in answer.headers if name.lower().startswith("access-control-")]

    @pytest.mark.parametrize("path", ["", "/key-of-another-start"])
    def test_a_functions_runtime_api_answers_the_function_alone(self, canary_aws, path):
        address, _, key = invoke(canary_aws)["environment"]["AWS_LAMBDA_RUNTIME_API"].partition("/")

        for method, asked_for in (("POST", "init/error"), ("GET", "invocation/next")):
            with closing(http.client.HTTPConnection(address, timeout=30)) as connection:
                connection.request(method, f"{path}/2018-06-01/runtime/{asked_for}")
                assert connection.getresponse().status == 403

        assert len(key) == 64
        assert invoke(canary_aws)["function"]

    def test_a_functions_own_credentials_do_not_follow_from_its_name(self, canary_aws):
        """The emulator derives them from the ARN alone."""
        environment = invoke(canary_aws)["environment"]
        arn = canary_aws.client("lambda").get_function(FunctionName=canary_aws.predict_function_name)["Configuration"]
        derived = hashlib.sha256(f"{arn['FunctionArn']}:{arn['Role']}".encode()).hexdigest()

        assert environment["AWS_ACCESS_KEY_ID"] == f"ASIA{derived[:16].upper()}"
        assert environment["AWS_SECRET_ACCESS_KEY"] != hashlib.sha256(f"secret:{derived}".encode()).hexdigest()

    def test_an_emulator_is_known_by_its_key_and_its_identity(self, canary_aws):
        assert canary_aws.is_up()
        assert not replace(canary_aws, identity="another").is_up()
        assert not replace(canary_aws, secret_access_key="another").is_up()
        assert not replace(canary_aws, endpoint_url="http://127.0.0.1:1").is_up()

    def test_the_key_is_in_no_command_line(self, canary_aws):
        report = invoke(canary_aws)
        words = [word for role in ROLES for word in psutil.Process(report[role]).cmdline()]

        assert canary_aws.secret_access_key not in "".join(words)


class TestStart:
    def test_a_taken_port_is_an_error_with_the_end_of_the_log(self, canary_aws, canary_stack):
        port = int(canary_aws.endpoint_url.rpartition(":")[2])

        with (
            pytest.raises(BatchPredictError, match=rf"(?s)did not start on 127.0.0.1:{port};.*already in use"),
            embedded.local_aws(port, directory=canary_stack),
        ):
            pytest.fail("took over another emulator")

    @pytest.mark.thorough
    def test_a_free_port_lost_to_another_process_is_replaced(self, canary_aws, canary_stack, monkeypatch):
        """Also when it is an emulator that took it and answers there."""
        free_port = embedded._free_port
        ports = iter([int(canary_aws.endpoint_url.rpartition(":")[2]), free_port()])
        monkeypatch.setattr(embedded, "_free_port", lambda: next(ports))

        with embedded.local_aws(directory=canary_stack) as aws:
            assert aws.endpoint_url != canary_aws.endpoint_url
            assert invoke(aws)["emulator"] != invoke(canary_aws)["emulator"]

    @pytest.mark.thorough
    def test_the_asked_port_and_log_file_are_used(self, canary_stack, tmp_path):
        port = embedded._free_port()
        with embedded.local_aws(port, directory=canary_stack, log_file=tmp_path / "aws.log") as aws:
            assert aws.endpoint_url == f"http://127.0.0.1:{port}"

        assert f"http://127.0.0.1:{port}" in (tmp_path / "aws.log").read_text()


class TestStop:
    @pytest.mark.parametrize(
        ("how", "signal_number", "send", "return_code"),
        [
            pytest.param("raise", None, None, 1, id="exception", marks=pytest.mark.thorough),
            # A terminal sends it to the group.
            pytest.param("wait", signal.SIGINT, os.killpg, -signal.SIGINT, id="ctrl-c", marks=pytest.mark.thorough),
            pytest.param("wait", signal.SIGTERM, os.kill, -signal.SIGTERM, id="kill", marks=pytest.mark.thorough),
            pytest.param("wait", signal.SIGKILL, os.kill, -signal.SIGKILL, id="kill-9"),
        ],
    )
    def test_nothing_is_left_however_the_owner_ends(self, canary_stack, how, signal_number, send, return_code):
        """Even a function that is running and ignores SIGTERM."""
        owner = subprocess.Popen(
            [sys.executable, "-c", OWNER, canary_stack, how],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            report = json.loads(owner.stdout.readline())
            if send:
                send(owner.pid, signal_number)
            owner.communicate(timeout=30)
        finally:
            owner.kill()
            owner.wait()

        assert_nothing_is_left(report)
        assert owner.returncode == return_code

    @pytest.mark.thorough
    def test_nothing_runs_after_the_guard_was_killed(self, canary_stack):
        with embedded.local_aws(directory=canary_stack) as aws:
            report = invoke(aws, {"ignore_sigterm": True})
            os.kill(report["guard"], signal.SIGKILL)

        shutil.rmtree(report["environment"]["TMPDIR"])  # the guard's own to remove
        assert_nothing_is_left(report)

    @pytest.mark.thorough
    def test_nothing_is_left_when_the_emulator_crashes(self, canary_stack):
        with embedded.local_aws(directory=canary_stack) as aws:
            report = invoke(aws, {"ignore_sigterm": True})
            aws.client("lambda").invoke(FunctionName=aws.predict_function_name, Payload=b'{"sleep": 60}', InvocationType="Event")
            time.sleep(0.5)  # now the function runs
            os.kill(report["emulator"], signal.SIGKILL)
            assert_nothing_is_left(report)
