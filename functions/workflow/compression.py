"""What the workflow sees of an object of text: its beginning, also if it is compressed, and how an output of text is compressed.

The workflow's functions have no library for Zstandard: the text of such an object only the prediction function knows.
"""

from __future__ import annotations

import zlib
from typing import NamedTuple

from .errors import InvalidDataError
from .header_mistakes import compression_of
from .inputs import InputObject
from .s3 import S3Client, read_range

ENDINGS = {"none": "", "gzip": ".gz", "zstd": ".zst"}
"""Ends of parts' names, by `output_compression`."""
CONTENT_TYPES = {"gzip": "application/gzip", "zstd": "application/zstd"}
EMPTY = {
    "none": b"",
    "gzip": bytes.fromhex("1f8b0800000000000003 0300 0000000000000000"),
    "zstd": bytes.fromhex("28b52ffd 20 00 010000"),
}
"""Nothing at all, compressed: a member, and a frame."""


class Beginning(NamedTuple):
    """The first bytes of an object's text."""

    text: bytes
    is_all: bool
    compression: str | None
    """None if the text itself is stored."""

    @property
    def is_known(self) -> bool:
        """Whether the text could be read."""
        return self.compression != "zstd"


def read_beginning(client: S3Client, found: InputObject, limit: int, before: bytes = b"") -> tuple[Beginning, bytes]:
    """Read an object up to a byte; returns its text, as many bytes at most, and what is stored, from which a next call goes on."""
    stop = min(limit, found.size)
    stored = before + read_range(client, found.uri, len(before), stop, found.etag)
    return beginning_of(stored, found.uri, limit, is_all=stop == found.size), stored


def beginning_of(stored: bytes, uri: str, limit: int, *, is_all: bool) -> Beginning:
    """Return the beginning of the text that is stored; InvalidDataError if it is seen to be damaged or not whole."""
    compression = compression_of(stored)
    if compression != "gzip":
        return Beginning(b"" if compression else stored, is_all, compression)
    text, left = b"", stored
    while left and len(text) < limit:
        member = zlib.decompressobj(wbits=31)
        try:
            text += member.decompress(left, limit - len(text))
        except zlib.error as error:
            what = f"{uri} is damaged, or something else follows its gzip: after {len(text)} bytes of its text"
            raise InvalidDataError(what, "write or upload it again") from error
        left = member.unused_data
        if not member.eof and len(text) < limit and is_all:
            raise InvalidDataError(f"{uri} is not whole: it ends in the middle of its gzip", "write or upload it again")
        if not member.eof:
            return Beginning(text, is_all=False, compression=compression)
    return Beginning(text, is_all and not left, compression)
