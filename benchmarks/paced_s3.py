"""An S3 on this machine that is as slow as a function's network, for a real client with TLS and checksums.

It runs in threads of the benchmark's process, so none of its processor time is the function's. It knows what the prediction
function asks for, of one bucket; of an object that came in parts it keeps the size alone.
"""

from __future__ import annotations

import io
import re
import ssl
import subprocess
import tempfile
import threading
import time
from collections import Counter, defaultdict
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from mmap import mmap

BUCKET = "bucket"
LATENCY_SECONDS = 0.02
"""Every request waits so long for the first byte of its answer."""
PIECE_BYTES = 2**17
BURST_SECONDS = 0.02
"""What the network may catch up after a pause: this machine wakes threads late."""


class Direction:
    """The network in one direction, which all connections share."""

    def __init__(self) -> None:
        self.bytes_per_second = float("inf")
        self._lock = threading.Lock()
        self._free_at = 0.0

    def take(self, n_bytes: int) -> None:
        """Wait until so many bytes have passed."""
        with self._lock:
            started = max(self._free_at, time.monotonic() - BURST_SECONDS)
            self._free_at = started + n_bytes / self.bytes_per_second
        time.sleep(max(0, self._free_at - time.monotonic()))


class PacedS3(ThreadingHTTPServer):
    """The server; `objects` by their keys are those that it holds."""

    daemon_threads = True

    def __init__(self, certificate: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        # The handshake is the connection's thread's: it waits for a function that may have little processor time.
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.certificate = certificate
        self.objects: dict[str, bytes | mmap] = {}
        self.down, self.up = Direction(), Direction()
        self.requests: Counter[str] = Counter()
        """By HTTP's method."""
        self.part_bytes: defaultdict[str, dict[int, int]] = defaultdict(dict)
        """Of unfinished uploads, by key and number."""

    def set_pace(self, mb_per_second: float) -> None:
        """Let pass so many MB (10^6 bytes) a second, each way, from now on, and count anew."""
        self.down.bytes_per_second = self.up.bytes_per_second = mb_per_second * 1e6
        self.requests.clear()

    def environment(self) -> dict[str, str]:
        """Return the variables with which boto3 finds this S3."""
        return {
            "AWS_ENDPOINT_URL_S3": f"https://127.0.0.1:{self.server_port}",
            "AWS_CA_BUNDLE": str(self.certificate),
            "AWS_ACCESS_KEY_ID": "benchmark",
            "AWS_SECRET_ACCESS_KEY": "benchmark",
            "AWS_DEFAULT_REGION": "us-east-1",
        }


@contextmanager
def paced_s3() -> Iterator[PacedS3]:
    """Start the server, and stop it in the end; openssl makes its certificate."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = Path(folder, "certificate.pem")
        words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=127.0.0.1 -addext"
        command = ["openssl", *words.split(), "subjectAltName=IP:127.0.0.1", "-keyout", str(certificate)]
        made = subprocess.run(command, check=True, capture_output=True)
        certificate.write_bytes(certificate.read_bytes() + made.stdout)
        with PacedS3(certificate) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()
            try:
                yield server
            finally:
                server.shutdown()
                thread.join()


def etag_of(content: bytes | mmap) -> str:
    """Return an object's ETag, which says no more than how large it is."""
    return f'"{len(content):032x}"'


class _Answering(BaseHTTPRequestHandler):
    """One connection. Path style: /bucket/key."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: PacedS3

    def _answer(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query, keep_blank_values=True)
        key, objects, part_bytes = path.removeprefix(f"/{BUCKET}/"), self.server.objects, self.server.part_bytes
        body = self._body()
        time.sleep(LATENCY_SECONDS)
        self.server.requests[self.command] += 1
        if "uploads" in query:
            self._send(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        elif "partNumber" in query:
            part_bytes[key][int(query["partNumber"][0])] = len(body)
            self._send(200, ETag=etag_of(body))
        elif self.command == "POST":
            objects[key] = bytes(sum(part_bytes.pop(key).values()))  # zeros that nobody touches take no memory
            self._send(200, b"<CompleteMultipartUploadResult/>")
        elif self.command == "PUT":
            objects[key] = body
            self._send(200, ETag=etag_of(body))
        elif key not in objects:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            size, headers = len(objects[key]), {"ETag": etag_of(objects[key]), "Last-Modified": "Sun, 01 Nov 2026 00:00:00 GMT"}
            asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
            start, stop = (int(asked[1]), min(int(asked[2] or size) + 1, size)) if asked else (0, size)
            ranged = {"Content-Range": f"bytes {start}-{stop - 1}/{size}"} if asked else {}
            self._send(206 if asked else 200, memoryview(objects[key])[start:stop], **headers, **ranged)

    do_GET = do_HEAD = do_PUT = do_POST = _answer  # noqa: N815 - http.server's names

    def _send(self, status: int, body: bytes | memoryview = b"", **headers: str) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        for start in range(0, 0 if self.command == "HEAD" else len(body), PIECE_BYTES):
            piece = body[start : start + PIECE_BYTES]
            self.server.down.take(len(piece))
            self.wfile.write(piece)

    def _body(self) -> bytes:
        """Return what was sent, at the network's pace; boto3 sends chunks with a checksum, in chunks of HTTP."""
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self._read(int(self.headers.get("Content-Length") or 0))
        stream, body = io.BufferedReader(_Unchunked(self.rfile, self.server.up), PIECE_BYTES), bytearray()
        while size := int(stream.readline(), 16):  # as it comes: S3 does not wait for a whole body to look at it
            body += stream.read(size)
            stream.readline()
        stream.read()
        assert len(body) == int(self.headers["X-Amz-Decoded-Content-Length"])
        return bytes(body)

    def _read(self, size: int) -> bytes:
        received = bytearray()
        while len(received) < size and (piece := self.rfile.read(min(PIECE_BYTES, size - len(received)))):
            received += piece
            self.server.up.take(len(piece))
        return bytes(received)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class _Unchunked(io.RawIOBase):
    """What is in HTTP's chunks, at the network's pace."""

    def __init__(self, chunks: io.BufferedIOBase, network: Direction) -> None:
        self._chunks, self._network = chunks, network
        self._left = 0
        self._is_over = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._is_over:
            return 0
        if not self._left:
            self._left = int(self._chunks.readline(), 16)
            self._is_over = not self._left
        count = self._chunks.readinto(memoryview(buffer)[: self._left])
        self._network.take(count)
        self._left -= count
        if not self._left:
            self._chunks.readline()
        return count
