"""The emulator ministack behind a door that opens to whoever has the key of this start.

ministack by itself answers everybody: any user's program on this machine, and any web page in a browser on it. `local_aws` starts
this script with the key in the environment (AWS_SECRET_ACCESS_KEY), and callers sign with it, as on AWS.

The door is a layer of the emulator's own server: there is no port behind it. The Lambda Runtime API of each function has a port of
its own, and opens by a second key, which `start_function.py` hands in.
"""

import hmac
import json
import re
import secrets
import uuid
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from contextvars import copy_context
from http.server import BaseHTTPRequestHandler
from threading import Thread
from typing import Any
from urllib.parse import parse_qs

from ministack.core import iam_actions, router, sigv4  # type: ignore[import-untyped]

Scope = Mapping[str, Any]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

OWN_HOST = re.compile(r"(127\.0\.0\.1|([a-z0-9.-]+\.)?localhost|host\.docker\.internal)(:[0-9]+)?", re.IGNORECASE)
"""Names that lead to this machine whatever a name server says; the last one is how a container of Docker Desktop calls it."""
BROWSER = "web pages may not ask the embedded AWS for anything"
OTHER_HOST = "the embedded AWS answers only under 127.0.0.1 and localhost"
NO_KEY = (
    "the request is not signed with the key of this start of the local AWS, by Signature Version 4: take the credentials that "
    "`batch-predict serve` prints, or LocalAws.client()"
)
ACCOUNT = re.compile(r"[0-9]{12}")


class Door:
    """An ASGI application that lets only requests with the key through; ``secret_of`` returns an access key id's secret, if any."""

    def __init__(self, app: Application, secret_of: Callable[[str], str | None]) -> None:
        self.app = app
        self.secret_of = secret_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one connection's event: pass it on, or refuse it."""
        if scope["type"] == "lifespan":  # no request: the server starts, or ends
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})  # nothing that we use needs a WebSocket
            return
        headers = _headers(scope)
        if stranger := _stranger(headers):
            await _answer(send, 403, {"content-type": "text/plain; charset=utf-8"}, f"Refused: {stranger}.\n".encode())
            return
        body: bytes | None = None
        if _signs_its_body(scope, headers):
            body = await _body(receive)
            receive = _again(body, receive)
        if not self._has_key(scope, headers, body or b""):
            await _answer(send, *_not_signed(scope, headers))
            return
        await self.app(scope, receive, _without_cors(send))

    def _has_key(self, scope: Scope, headers: Mapping[str, str], body: bytes) -> bool:
        """Return whether the request is signed with the secret of the access key that it names."""
        query = _query(scope)
        presigned = "authorization" not in headers
        signature = sigv4.parse_query_signature(query) if presigned else sigv4.parse_header_signature(headers)
        if not isinstance(signature, sigv4.HeaderSignature) or signature.region_set is not None:
            return False
        secret = self.secret_of(signature.access_key_id)
        if not secret:
            return False
        path = scope["raw_path"].decode("latin-1")
        _, string_to_sign = sigv4.header_signing_documents(
            signature, scope["method"], path, query, headers, body, presigned=presigned
        )
        computed: str = sigv4.calculate_signature(secret, signature.date_stamp, signature.region, signature.service, string_to_sign)
        return hmac.compare_digest(computed.encode(), signature.signature.encode(errors="replace"))


def _headers(scope: Scope) -> dict[str, str]:
    """Return the headers by their names in lower case; the values of a repeated header are joined as they are signed."""
    headers: dict[str, str] = {}
    for name, value in scope["headers"]:
        key, text = name.decode("latin-1").lower(), sigv4.decode_header_value(value)
        headers[key] = f"{headers[key]},{text}" if key in headers else text
    return headers


def _query(scope: Scope) -> dict[str, list[str]]:
    return parse_qs(scope["query_string"].decode("latin-1"), keep_blank_values=True)


def _stranger(headers: Mapping[str, str]) -> str | None:
    """Return why this cannot be a request of a program of ours; None if it may be one.

    A web page's request has Origin or Sec-Fetch-Site; if it had its own name resolved to this machine, that name is its Host.
    """
    if "origin" in headers or headers.get("sec-fetch-site", "none") != "none":
        return BROWSER
    return None if OWN_HOST.fullmatch(headers.get("host", "")) else OTHER_HOST


def _signs_its_body(scope: Scope, headers: Mapping[str, str]) -> bool:
    """Return whether the signature is over a digest of the body that no header names; S3's clients name it, but presigned."""
    is_s3 = "authorization" not in headers and "/s3/aws4_request" in _query(scope).get("X-Amz-Credential", [""])[0]
    return "x-amz-content-sha256" not in headers and not is_s3


async def _body(receive: Receive) -> bytes:
    pieces = []
    while True:
        message = await receive()
        pieces.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(pieces)


def _again(body: bytes, rest: Receive) -> Receive:
    """Return a receiver that repeats a body, and goes on with what comes after it."""
    messages = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Message:
        return messages.pop() if messages else await rest()

    return receive


def _without_cors(send: Send) -> Send:
    """Return a sender that drops the headers by which a web page could read the answer."""

    async def send_without(message: Message) -> None:
        if "headers" in message:
            kept = [item for item in message["headers"] if not item[0].lower().startswith(b"access-control-")]
            message = {**message, "headers": kept}
        await send(message)

    return send_without


def _not_signed(scope: Scope, headers: Mapping[str, str]) -> tuple[int, Mapping[str, str], bytes]:
    """Return the refusal in the words of the service that was asked, so that its clients can read it."""
    service = router.detect_service(scope["method"], scope["path"], headers, _query(scope))
    status, answered, body = iam_actions.access_denied_response(
        service, "", "", str(uuid.uuid4()), error_code="AccessDenied", message=NO_KEY, headers=headers
    )
    return status, answered, b"" if scope["method"] == "HEAD" else body


async def _answer(send: Send, status: int, headers: Mapping[str, str], body: bytes) -> None:
    pairs = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    pairs.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": pairs})
    await send({"type": "http.response.body", "body": body})


# --- the doors of one emulator ---------------------------------------------------------------------------------------------------


def secret_of(access_key_id: str) -> str | None:
    """Return the secret of one of the emulator's access keys: root's is the key of this start."""
    from ministack.core.iam_evaluator import ResolvedCredential, resolve_credential  # type: ignore[import-untyped]  # noqa: PLC0415

    account = access_key_id if ACCOUNT.fullmatch(access_key_id) else None  # an account's number is the key of its root
    found = resolve_credential(access_key_id, account)
    return found.secret_access_key if isinstance(found, ResolvedCredential) else None


def with_key(handler: type[BaseHTTPRequestHandler], key: str) -> type[BaseHTTPRequestHandler]:
    """Return a handler of the Lambda Runtime API that answers only under paths that begin with the key."""

    class WithKey(handler):  # type: ignore[misc,valid-type]
        def parse_request(self) -> bool:
            if not super().parse_request():
                return False
            given = self.path.split("/")[1] if self.path.startswith("/") else ""
            if hmac.compare_digest(given.encode(), key.encode()):
                return True
            self.close_connection = True  # what follows may be a body, which is not read
            self.send_error(403)
            return False

    return WithKey


def close_runtime_api(key: str) -> None:
    """Give the key to the functions that the emulator starts, and make their Runtime API answer only them."""
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import lambda_svc  # type: ignore[import-untyped]  # noqa: PLC0415

    handler_class, environment = lambda_runtime.ProvidedWorker._build_handler_class, lambda_svc._provided_worker_env  # noqa: SLF001

    def guarded_handler_class(*arguments: Any) -> type[BaseHTTPRequestHandler]:
        return with_key(handler_class(*arguments), key)

    def environment_with_key(config: Any, code_dir: str, port: int) -> dict[str, str]:
        found: dict[str, str] = environment(config, code_dir, f"{port}/{key}")
        return found

    def no_other_runtime_api(*_: Any) -> Any:
        raise RuntimeError("durable functions have a Runtime API without a key: batch-predict does not start them")

    lambda_runtime.ProvidedWorker._build_handler_class = guarded_handler_class  # noqa: SLF001
    lambda_svc._provided_worker_env = environment_with_key  # noqa: SLF001
    lambda_svc._execute_function_provided = no_other_runtime_api  # noqa: SLF001


def randomize_sessions() -> None:
    """Give a function's role a secret if IAM is enforced: the emulator's follows from the function's name."""
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import lambda_svc, sts  # noqa: PLC0415

    register, credentials_of = sts.register_session, lambda_runtime.execution_credentials
    salt = secrets.token_bytes()

    def register_session(access_key: str, session: dict[str, Any]) -> None:
        if "Expiration" not in session:  # a function's role: all other sessions end
            # Before it is registered: each start of a process registers the session that the function's others are using.
            session = {**session, "SecretAccessKey": hmac.digest(salt, access_key.encode(), "sha256").hex()}
        register(access_key, session)

    def execution_credentials(config: Any) -> dict[str, str]:
        credentials: dict[str, str] = credentials_of(config)
        session = sts._sessions.get(credentials["AWS_ACCESS_KEY_ID"])  # noqa: SLF001
        if session is None:  # root's, as IAM is not enforced
            return credentials
        return {**credentials, "AWS_SECRET_ACCESS_KEY": session["SecretAccessKey"]}

    sts.register_session = register_session
    lambda_runtime.execution_credentials = lambda_svc.execution_credentials = execution_credentials


# --- an execution's functions start while its first ones run ----------------------------------------------------------------------


def start_functions_early() -> None:
    """Start the processes of an execution's functions, one after the other, when it starts: few states wait for theirs then."""
    from ministack.core import lambda_runtime  # noqa: PLC0415
    from ministack.services import lambda_svc, stepfunctions  # noqa: PLC0415

    run = stepfunctions._run_execution  # noqa: SLF001

    def start_functions(execution_arn: str) -> None:
        execution = stepfunctions._executions[execution_arn]  # noqa: SLF001
        definition = json.loads(stepfunctions._state_machines[execution["stateMachineArn"]]["definition"])  # noqa: SLF001
        for name in functions_of(definition):
            function = lambda_svc._functions[name]  # noqa: SLF001
            worker = lambda_runtime.get_or_create_worker(name, function["config"], function["code_zip"])
            lambda_runtime.ensure_spawned(worker)  # an invocation meanwhile waits for this very process

    def run_execution(execution_arn: str) -> None:
        def start() -> None:
            with suppress(Exception):  # whatever hinders it, the invocation says
                start_functions(execution_arn)

        Thread(target=copy_context().run, args=(start,), daemon=True).start()  # the context says whose account it is
        run(execution_arn)

    stepfunctions._run_execution = run_execution  # noqa: SLF001


def functions_of(definition: Mapping[str, Any]) -> list[str]:
    """Return the names of the functions that an execution calls if nothing fails, in the order of its states."""
    states, ahead, found = definition["States"], [definition["StartAt"]], dict[str, None]()
    for name in ahead:
        state = states[name]
        if state["Type"] == "Task":
            found[state["Resource"].split(":")[-1]] = None
        if "ItemProcessor" in state:
            found |= dict.fromkeys(functions_of(state["ItemProcessor"]))
        following = [state.get("Next"), state.get("Default"), *(choice["Next"] for choice in state.get("Choices", ()))]
        ahead += [state for state in following if state and state not in ahead]
    return list(found)


def main() -> None:
    """Run the emulator until it is ended."""
    from ministack import app  # type: ignore[import-untyped]  # noqa: PLC0415  # reads the environment, and takes a second

    close_runtime_api(secrets.token_hex())
    randomize_sessions()
    start_functions_early()
    app.app = Door(app.app, secret_of)
    app.main()


if __name__ == "__main__":
    main()
