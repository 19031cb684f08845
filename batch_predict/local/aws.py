"""AWS on this machine: the emulator ministack in its own process, with the project's stack deployed to it.

    with local_aws() as aws:
        aws.client("s3").upload_file("model.joblib", aws.bucket, "models/model.joblib")
        aws.client("stepfunctions").start_execution(stateMachineArn=aws.state_machine_arn, input=...)

It needs no AWS account, no Docker and no network beyond 127.0.0.1, and reads nothing of the user's AWS configuration. It answers
only who signs with the secret access key of this start (`emulator_door.py`). For Linux and macOS.
"""

import http.client
import json
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any, ClassVar

import boto3
import botocore.session
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from batch_predict.deployed import stack_directory
from batch_predict.errors import BatchPredictError
from batch_predict.local import emulator_guard
from batch_predict.local.deploy import deploy
from batch_predict.runs.prepared_request import LOCAL_BUCKET
from batch_predict.runs.stack import Stack, stack_outputs

HOST = "127.0.0.1"
ENDPOINT_URL = re.compile(rf"http://{re.escape(HOST)}:([0-9]{{1,5}})")
REGION = "us-east-1"
STACK_NAME = "batch-predict"
ACCESS_KEY_ID = "test"  # the emulator's root
STACK_PARAMETERS = {
    "ModelBucket": LOCAL_BUCKET,
    "ModelPrefix": "models/",
    "DataBucket": LOCAL_BUCKET,
    "DataPrefix": "data/",
    "OutputBucket": LOCAL_BUCKET,
    "OutputPrefix": "output/",
}

START_SECONDS = 60  # it takes about 1; a busy machine may need more
STOP_SECONDS = 10  # more than the guard's own grace
START_ATTEMPTS = 3  # another process may take the free port that was found
LOG_LINES = 15  # of the emulator's log in an error message
EMULATOR_DOOR = str(Path(__file__).with_name("emulator_door.py"))

# What the emulator, and through it every function, inherits. Nothing else gets in: neither the user's credentials, profiles
# and proxies, nor the many variables that change the emulator. Functions on AWS do not see them either.
INHERITED_VARIABLES = (
    *("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TMPDIR"),
    *("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"),  # an interpreter may need them to start at all
)


@dataclass(frozen=True)
class LocalAws(Stack):
    """A running embedded AWS with the stack deployed to it."""

    endpoint_url: str
    secret_access_key: str = field(repr=False)
    """The key of this start, which belongs to the access key id `ACCESS_KEY_ID`: who has it runs code as this user."""
    identity: str = field(repr=False)
    """What this start alone calls itself to who has the key."""
    poll_seconds: ClassVar = 0.1  # it has no quotas
    region: ClassVar = REGION
    bucket: ClassVar = LOCAL_BUCKET

    @property
    def title(self) -> str:
        """Return how messages call it."""
        return f"the local AWS at {self.endpoint_url}"

    def client(self, service: str) -> Any:
        """Return a new boto3 client for ``service`` that knows this endpoint alone, whatever the user configured."""
        return _client(self.endpoint_url, self.secret_access_key, service)

    def environment(self) -> dict[str, str]:
        """Return the variables by which boto3, the AWS CLI and Terraform know this endpoint alone, whatever the user configured."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }

    def is_up(self) -> bool:
        """Return whether it is this start that answers, on this machine: no other one knows its key and its identity."""
        found = ENDPOINT_URL.fullmatch(self.endpoint_url)
        return bool(found and answers(int(found[1]), self.secret_access_key, self.identity))

    def as_dict(self) -> dict[str, str]:
        """Return what another process needs to use this AWS, ready for JSON."""
        return {
            "endpoint_url": self.endpoint_url,
            "access_key_id": ACCESS_KEY_ID,
            "secret_access_key": self.secret_access_key,
            "region": self.region,
            "bucket": self.bucket,
            "state_machine_arn": self.state_machine_arn,
            "predict_function_name": self.predict_function_name,
        }


@contextmanager
def local_aws(
    port: int | None = None,
    *,
    enforce_iam: bool = False,
    wait_scale: float = 1.0,
    log_file: Path | None = None,
    directory: Path | None = None,
    state_directory: Path | None = None,
    secret_access_key: str | None = None,
    tolerates: bool = True,
    lock: IO[str] | None = None,
) -> Iterator[LocalAws]:
    """Start an embedded AWS, deploy the stack, and at the end, however it comes, leave no process and no file.

    With a ``state_directory`` the next start goes on with the stack and the objects that this one ended with, as they were
    deployed. A run that was going on does not continue: start the request again, and it finishes the work.

    Args:
        port: Where to listen on 127.0.0.1; a free port unless given.
        enforce_iam: Whether each call needs a policy that allows it, as on AWS; the clients of `LocalAws` are root's.
        wait_scale: Factor on the seconds that Step Functions waits, also before a retry; 0 to skip waiting.
        log_file: Where to append the emulator's log; discarded unless given.
        directory: Where `template.yaml` is, with outputs StateMachineArn and PredictFunctionName; ours unless given.
        state_directory: Where objects (at once) and all else (at a regular end) are kept; nothing is kept unless given.
        secret_access_key: What callers sign with; a random one of this start unless given, which only a program that was configured
            before this start needs. Who knows it runs code as this user.
        tolerates: Whether a Distributed Map with lost chunks goes on to the merge, which checks the request's tolerance.
        lock: A file that stays open until the emulator has ended, even if this process is killed before.

    Raises:
        BatchPredictError: The emulator did not start, or the stack could not be deployed.

    """
    settings = {
        "AUTH": "true" if enforce_iam else "false",
        "SFN_WAIT_SCALE": str(wait_scale),
        "LOG_LEVEL": "INFO" if log_file else "WARNING",
    }
    if state_directory:
        state = state_directory.absolute()
        settings |= {
            "PERSIST_STATE": "1",
            "S3_PERSIST": "1",
            "STATE_DIR": f"{state / 'state'}",
            "S3_DATA_DIR": f"{state / 'objects'}",
        }
    key = secret_access_key or secrets.token_hex()
    identity = f"batch-predict-{uuid.uuid4()}"
    settings |= {"AWS_ACCESS_KEY_ID": ACCESS_KEY_ID, "AWS_SECRET_ACCESS_KEY": key, "MINISTACK_EDITION": identity}
    # The file has no name, so a crash leaves nothing of it.
    with log_file.open("a+b") if log_file else tempfile.TemporaryFile() as log, _emulator(port, settings, log, lock) as url:
        client = partial(_client, url, key)
        outputs = stack_outputs(client("cloudformation"), STACK_NAME) if state_directory else None
        if outputs is None:
            s3 = client("s3")
            with suppress(s3.exceptions.BucketAlreadyOwnedByYou):  # a state that has objects, but no stack
                s3.create_bucket(Bucket=LOCAL_BUCKET)
            outputs = deploy(
                client,
                directory or stack_directory(),
                bucket=LOCAL_BUCKET,
                stack_name=STACK_NAME,
                parameters=STACK_PARAMETERS,
                tolerates=tolerates,
            )
        yield LocalAws(outputs, url, key, identity)


@contextmanager
def _emulator(port: int | None, settings: Mapping[str, str], log: IO[bytes], lock: IO[str] | None) -> Iterator[str]:
    """Run an emulator on ``port`` or a free one, and yield its endpoint URL."""
    for attempt in range(1, START_ATTEMPTS + 1):
        chosen_port = port or _free_port()
        guard = _start_guarded(chosen_port, settings, log, lock)
        try:
            if _becomes_ready(guard, chosen_port, settings["AWS_SECRET_ACCESS_KEY"], settings["MINISTACK_EDITION"]):
                yield f"http://{HOST}:{chosen_port}"
                return
        finally:
            _stop(guard)
        if port or attempt == START_ATTEMPTS:
            log.seek(0)
            last_lines = b"".join(deque(log, LOG_LINES)).decode(errors="replace").strip()
            raise BatchPredictError(
                f"the embedded AWS did not start on {HOST}:{chosen_port}; if that port is in use, choose another; "
                f"its log ends with:\n{last_lines}"
            )


def _free_port() -> int:
    """Return a port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        port: int = probe.getsockname()[1]
        return port


def _start_guarded(port: int, settings: Mapping[str, str], log: IO[bytes], lock: IO[str] | None) -> subprocess.Popen[bytes]:
    """Start the emulator under a guard that outlives this process just long enough to end it."""
    environment = {
        **{name: os.environ[name] for name in INHERITED_VARIABLES if name in os.environ},
        "GATEWAY_PORT": str(port),
        "BIND_HOST": HOST,  # its default is every interface
        "IOT_MTLS_ENABLED": "false",  # listens on every interface, whatever BIND_HOST says
        "SFTP_ENABLED": "false",  # the same
        "STATE_DIR": "state",  # in the guard's directory; its default is in /tmp, whatever TMPDIR says
        "AWS_ENDPOINT_URL": f"http://{HOST}:{port}",  # the emulator hands it to the functions
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        "TZ": "UTC",  # as in Lambda
        **settings,
    }
    # -I: only the standard library, whatever PYTHON* variables and the directory say.
    # -P: the modules beside the door are none of the emulator's.
    command = [sys.executable, "-I", emulator_guard.__file__, sys.executable, "-P", EMULATOR_DOOR]
    # A session of its own keeps Ctrl-C away from the emulator: this process decides when it ends.
    return subprocess.Popen(  # noqa: S603 - constant arguments
        command,
        env=environment,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
        pass_fds=(lock.fileno(),) if lock else (),
    )


def _becomes_ready(guard: subprocess.Popen[bytes], port: int, key: str, identity: str) -> bool:
    """Wait until the emulator named ``identity`` answers on ``port``; False if it ends or stays silent."""
    deadline = time.monotonic() + START_SECONDS
    while guard.poll() is None and time.monotonic() < deadline:
        if answers(port, key, identity):
            return True
        time.sleep(0.05)
    return False


def answers(port: int, key: str, identity: str) -> bool:
    """Return whether the emulator named ``identity``, and not another one, answers on ``port`` of this machine."""
    request = AWSRequest("GET", f"http://{HOST}:{port}/_ministack/health")
    SigV4Auth(Credentials(ACCESS_KEY_ID, key), "sts", REGION).add_auth(request)
    connection = http.client.HTTPConnection(HOST, port, timeout=1)
    with suppress(OSError, OverflowError, http.client.HTTPException, ValueError, AttributeError), closing(connection):
        connection.request("GET", "/_ministack/health", headers=dict(request.headers.items()))
        return bool(json.loads(connection.getresponse().read()).get("edition") == identity)
    return False


def _stop(guard: subprocess.Popen[bytes]) -> None:
    """End the emulator, its functions and its guard."""
    assert guard.stdin
    guard.stdin.close()  # what the guard waits for; from here on it ends the rest also without us
    with suppress(subprocess.TimeoutExpired):
        guard.wait(STOP_SECONDS)
    # The group bears the guard's id. Nobody is left in it, unless the guard itself was killed.
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(guard.pid, signal.SIGKILL)
    guard.wait()


def _client(endpoint_url: str, key: str, service: str) -> Any:
    """Return a boto3 client for ``endpoint_url`` that reads nothing of the user's AWS configuration."""
    # (name in the configuration file, environment variable, default, conversion): no variable may set these.
    session = botocore.session.Session(
        session_vars={
            "profile": (None, None, None, None),
            "config_file": (None, None, os.devnull, None),
            "credentials_file": (None, None, os.devnull, None),
        }
    )
    boto3_session: Any = boto3.Session(botocore_session=session)
    return boto3_session.client(
        service,
        region_name=REGION,
        endpoint_url=endpoint_url,
        aws_access_key_id=ACCESS_KEY_ID,
        aws_secret_access_key=key,
        config=Config(
            retries={"mode": "standard"},
            proxies={},
            signature_version="s3v4" if service == "s3" else None,  # presigned URLs, too: the door knows no other
            s3={"addressing_style": "path"},  # batch-predict.127.0.0.1 is no host name
        ),
    )
