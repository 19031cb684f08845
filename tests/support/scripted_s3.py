"""An S3 on 127.0.0.1 that holds one object and answers as it is told: what arrives is what a real client makes of it."""

import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import boto3
from botocore.config import Config

from support.s3_rules import STATUS, RefusedError, read_range

PATIENCE_SECONDS, SHORT_PATIENCE_SECONDS = 30, 1
"""How long a client waits for bytes: shortly where the answer stalls, else as long as a busy machine may need."""


class Asked(NamedTuple):
    """One request."""

    method: str
    path: str
    range: str | None
    if_match: str | None


class Answering(BaseHTTPRequestHandler):
    """One connection; `script` holds the answers to come, then the object is answered."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        script, asked = self.server.script, self.server.asked
        asked.append(Asked(self.command, self.path, self.headers.get("Range"), self.headers.get("If-Match")))
        (script.pop(0) if script else whole())(self)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = answer  # noqa: N815 - http.server's names

    def log_message(self, *_):
        pass

    def send(self, status, body=b"", said_bytes=None, **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body) if said_bytes is None else said_bytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def send_object(self, sent=None, **headers):
        """Answer the object, or the range of it that is asked for; only the first `sent` bytes, if that is said."""
        body, etag = self.server.body, self.server.etag
        if self.headers.get("If-Match", etag) != etag:
            refuse("PreconditionFailed")(self)
            return
        headers["ETag"] = etag
        status, size = 200, len(body)
        if ranged := self.headers.get("Range"):
            try:
                start, stop = read_range(ranged, size)
            except RefusedError as refused:
                refuse(refused.code)(self)
                return
            status, body = 206, body[start:stop]
            headers["Content_Range"] = f"bytes {start}-{stop - 1}/{size}"
        self.send(status, body[:sent], len(body), **headers)


def whole(**headers):
    return lambda connection: connection.send_object(**headers)


def cut(sent):
    """End the connection in good order in mid-body."""

    def answer(connection):
        connection.send_object(sent)
        connection.close_connection = True

    return answer


def reset(sent):
    """Reset the connection in mid-body."""

    def answer(connection):
        connection.send_object(sent)
        connection.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.connection.close()
        connection.close_connection = True

    return answer


def stall(sent):
    """Say nothing more in mid-body, until the client has gone or the test is over."""

    def answer(connection):
        connection.send_object(sent)
        connection.server.is_over.wait(PATIENCE_SECONDS)
        connection.close_connection = True

    return answer


def garble(_):
    """Send all bytes with the checksum of others."""
    return whole(x_amz_checksum_crc32="AAAAAA==")


def refuse(code="", status=None, body=None):
    """Answer with S3's code and its status, or with another status; `body` stands for the error's document."""
    if body is None:
        body = f"<Error><Code>{code}</Code><Message>as told</Message></Error>".encode() if code else b""
    status = status or STATUS[code]
    return lambda connection: connection.send(status, body, Content_Type="application/xml")


class ScriptedS3(ThreadingHTTPServer):
    """Holds `body` under every key."""

    daemon_threads = True

    def __init__(self, body):
        super().__init__(("127.0.0.1", 0), Answering)
        self.body, self.etag = body, '"v1"'
        self.script = []
        self.asked = []
        self.is_over = threading.Event()
        self.patience_seconds = PATIENCE_SECONDS

    def handle_error(self, *_):
        """A client that goes is what is tested."""

    def client(self, attempts=1):
        return boto3.client(
            "s3",
            endpoint_url=f"http://127.0.0.1:{self.server_address[1]}",
            region_name="us-east-1",
            aws_access_key_id="k",
            aws_secret_access_key="s",
            config=Config(
                retries={"mode": "standard", "total_max_attempts": attempts},
                connect_timeout=5,
                read_timeout=self.patience_seconds,
                s3={"addressing_style": "path"},
            ),
        )
