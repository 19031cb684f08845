"""The door of the embedded AWS, asked without a socket: who gets through to what is behind it, and who does not."""

import asyncio
import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from batch_predict.local.emulator_door import Door, functions_of, randomize_sessions, secret_of

SECRET = "the key of this start"
HOST = "127.0.0.1:4566"


def ask(method, url, headers, body=b"", scope_type="http"):
    """Return the status, the headers of the answer, and the body that came through; None where nothing did."""
    parts = urlsplit(url)
    scope = {
        "type": scope_type,
        "method": method,
        "path": parts.path,
        "raw_path": parts.path.encode(),
        "query_string": parts.query.encode(),
        "headers": [(name.lower().encode(), str(value).encode()) for name, value in headers],
    }
    pieces = [body[:3], body[3:]]
    sent, came_through = [], []

    async def receive():
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    async def send(message):
        sent.append(message)

    async def behind(scope, receive, send):
        received = b""
        while True:
            message = await receive()
            received += message["body"]
            if not message["more_body"]:
                break
        came_through.append(received)
        answer = [(b"Access-Control-Allow-Origin", b"*"), (b"content-type", b"text/plain")]
        await send({"type": "http.response.start", "status": 200, "headers": answer})
        await send({"type": "http.response.body", "body": b""})

    asyncio.run(Door(behind, {"test": SECRET}.get)(scope, receive, send))
    return sent[0].get("status"), dict(sent[0].get("headers", [])), came_through[0] if came_through else None


def signed(method, path, body=b"", *, secret=SECRET, key="test", service="lambda", host=HOST, auth=SigV4Auth):
    """Return the request as boto3 sends it."""
    request = AWSRequest(method, f"http://{HOST}{path}", {"Host": host}, body)
    more = {"expires": 60} if auth is SigV4QueryAuth else {}
    auth(Credentials(key, secret), service, "us-east-1", **more).add_auth(request)
    return method, request.url, request.headers.items(), body


@pytest.mark.parametrize("host", [HOST, "localhost:80", "LOCALHOST", "bucket.localhost:4566", "host.docker.internal:3001"])
def test_who_has_the_key_comes_through_with_the_whole_body(host):
    status, headers, body = ask(*signed("POST", "/2015-03-31/functions/f/invocations?Qualifier=1", b'{"a": 1}', host=host))

    assert (status, body) == (200, b'{"a": 1}')
    assert headers == {b"content-type": b"text/plain"}


def test_s3s_clients_come_through_with_any_key_of_an_object():
    for path in ("/b/a%20b%2Bc%25/%C3%BC/~x", "/b/x//y", "/b/(a)%27%21%2A", "/b?list-type=2&prefix=a%2Fb%20c&delimiter=%2F&empty="):
        assert ask(*signed("PUT", path, b"rows", service="s3", auth=S3SigV4Auth))[2] == b"rows", path


def test_a_presigned_url_comes_through():
    assert ask(*signed("GET", "/2015-03-31/functions", auth=SigV4QueryAuth))[0] == 200


@pytest.mark.parametrize(
    "host",
    [
        *("evil.example", "evil.example:4566", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:127.0.0.1"),
        *("notlocalhost", "127.0.0.2", "0.0.0.0:4566", "[::1]:4566", "127.0.0.1:4566@evil.example", "127.0.0.1,evil.example", ""),
    ],
)
def test_a_page_whose_name_leads_here_is_refused_also_with_the_key(host):
    assert ask(*signed("GET", "/b/k", host=host))[::2] == (403, None)


@pytest.mark.parametrize(
    "header",
    [
        *(("Origin", "http://evil.example"), ("Origin", "null"), ("Origin", f"http://{HOST}"), ("origin", "")),
        *(("Sec-Fetch-Site", site) for site in ("cross-site", "same-site", "same-origin")),
    ],
)
def test_a_page_is_refused_also_with_the_key(header):
    method, url, headers, body = signed("GET", "/b/k")

    status, answered, came_through = ask(method, url, [*headers, header], body)

    assert (status, came_through) == (403, None)
    assert not [name for name in answered if name.lower().startswith(b"access-control-")]


def unsigned(*headers):
    return "GET", "/b/k", [("Host", HOST), *headers], b""


def without(request, name):
    method, url, headers, body = request
    return method, url, [item for item in headers if item[0] != name], body


SIGNATURE_OF_NOTHING = (
    f"AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature={'0' * 64}"
)


@pytest.mark.parametrize(
    "request_",
    [
        pytest.param(without(signed("GET", "/b/k"), "Host"), id="no host"),
        pytest.param(unsigned(), id="no signature"),
        pytest.param(unsigned(("Authorization", "")), id="an empty one"),
        pytest.param(unsigned(("Authorization", "AWS test:c2ln")), id="version 2"),
        pytest.param(unsigned(("Authorization", "Bearer x")), id="another scheme"),
        pytest.param(unsigned(("Authorization", SIGNATURE_OF_NOTHING), ("X-Amz-Date", "20260101T000000Z")), id="a made-up one"),
        pytest.param(unsigned(("Authorization", SIGNATURE_OF_NOTHING.replace("0" * 64, "ü"))), id="no hexadecimal digits"),
        pytest.param(
            unsigned(("Authorization", SIGNATURE_OF_NOTHING.replace("HMAC", "ECDSA-P256").replace("/us-east-1", ""))),
            id="version 4a",
        ),
        pytest.param(signed("GET", "/b/k", secret="test"), id="the emulator's usual key"),
        pytest.param(signed("GET", "/b/k", key="000000000000"), id="a key id that is not there"),
        pytest.param(without(signed("GET", "/b/k"), "X-Amz-Date"), id="no date"),
        pytest.param((*signed("POST", "/f", b"{}")[:3], b"[]"), id="another body"),
        pytest.param(("DELETE", *signed("GET", "/b/k")[1:]), id="another method"),
        pytest.param(("GET", "/b/other", *signed("GET", "/b/k")[2:]), id="another path"),
        pytest.param((*signed("GET", "/b/k", auth=SigV4QueryAuth)[:1], "/b/k?X-Amz-Signature=0", [("Host", HOST)]), id="query"),
    ],
)
def test_who_has_no_key_is_refused(request_):
    assert ask(*request_)[::2] == (403, None)


def test_the_refusal_can_be_read_by_the_service_s_clients():
    _, headers, _ = ask("POST", "/", [("Host", HOST), ("X-Amz-Target", "AWSStepFunctions.ListStateMachines")])

    assert headers[b"x-amzn-errortype"] == b"AccessDeniedException"


def test_a_websocket_is_closed():
    status, _, came_through = ask("GET", "/", [("Host", HOST)], scope_type="websocket")

    assert (status, came_through) == (None, None)


def test_a_body_that_is_signed_by_its_digest_alone_is_not_held_back():
    """S3's clients name the digest: the body of an upload passes as it comes."""
    digest = hashlib.sha256(b"rows").hexdigest()
    method, url, headers, _ = signed("PUT", "/b/k", b"rows", service="s3", auth=S3SigV4Auth)

    assert ("X-Amz-Content-SHA256", digest) in headers
    assert ask(method, url, headers, b"row2")[2] == b"row2"  # which S3 itself compares


def test_a_functions_role_has_one_secret_at_every_moment(monkeypatch):
    """Each start of a process registers the session anew, while the function's other processes are signing with it."""
    from ministack import app  # noqa: PLC0415
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import lambda_svc, sts  # noqa: PLC0415

    seen = []

    class Sessions(dict):
        def __setitem__(self, access_key, session):
            super().__setitem__(access_key, session)
            seen.append(secret_of(access_key))

    for module in (lambda_runtime, lambda_svc):
        monkeypatch.setattr(module, "execution_credentials", module.execution_credentials)
    monkeypatch.setattr(sts, "register_session", sts.register_session)
    monkeypatch.setattr(sts, "_sessions", Sessions())
    monkeypatch.setattr(app, "AUTH", True)
    function = {
        "FunctionArn": "arn:aws:lambda:us-east-1:000000000000:function:predict",
        "Role": "arn:aws:iam::000000000000:role/predict",
        "FunctionName": "predict",
    }
    guessable = lambda_runtime.execution_credentials(function)["AWS_SECRET_ACCESS_KEY"]
    seen.clear()

    randomize_sessions()
    secrets = [lambda_svc.execution_credentials(function)["AWS_SECRET_ACCESS_KEY"] for _ in range(2)]

    assert seen == secrets == secrets[:1] * 2
    assert guessable not in secrets


def test_an_execution_starts_the_functions_that_it_calls_if_nothing_fails():
    definition = json.loads((Path(__file__).parents[3] / "statemachine/batch_prediction.asl.json").read_text())
    states = ("ValidateRequest", "PredictChunk", "PlanChunks", "MergeOutputs")
    assert functions_of(definition) == [f"${{{state}FunctionArn}}" for state in states]
