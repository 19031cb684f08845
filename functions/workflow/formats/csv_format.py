"""CSV: RFC 4180, with LF or CRLF. Its objects are cut between records, and its parts are joined without their headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..chunking import Span, targets_of
from ..column_types import Kind
from ..contract import Document, Extent, InputFormat, Receipt, Segment
from ..csv_records import Header, is_blank, parse_header, record_stop
from ..errors import InvalidDataError
from ..header_mistakes import difference, foreign_format, mistaken_first_line
from ..inputs import InputObject
from ..multipart import Piece
from ..s3 import S3Client, read_range
from ..sampling import mean_record_bytes, sampled_records, sampled_types
from ..splitting import Cut, Notes, Split, split_objects
from .format import Format, Measure

if TYPE_CHECKING:
    from ..accounting import Account

HEADER_READS = (2**16, 2**20, 2**24)
"""Bytes to read, one after the other, until the first record is whole; no header is longer than the last."""

_LINE_ENDS = {b"\n": "LF", b"\r\n": "CRLF"}


@dataclass(frozen=True)
class Csv:
    """Comma-separated values."""

    name: ClassVar[InputFormat] = "csv"
    ending: ClassVar[str] = ".csv"
    content_type: ClassVar[str] = "text/csv"
    extent: ClassVar[Extent] = "byte_range"
    rejected_columns: ClassVar[tuple[str, str, str, str]] = ("data_s3_uri", "row", "byte", "reason")

    @classmethod
    def of(cls, prediction: Mapping[str, Any]) -> Csv:  # noqa: ARG003 - other formats have options
        """Return the one dialect."""
        return cls()

    @staticmethod
    def begins(data: bytes) -> bool:  # noqa: ARG004 - what other formats begin with is not CSV
        """Whether an object may be CSV: all that is nothing else."""
        return True

    def read_header(self, client: S3Client, found: InputObject) -> Header:
        """Read the first record of an object, and on as long as only blank lines follow; InvalidDataError if there is none."""
        data = b""
        for limit in (min(read, found.size) for read in HEADER_READS):
            data += read_range(client, found.uri, len(data), limit, found.etag)
            if foreign := foreign_format(data):
                raise InvalidDataError(f"{found.uri} is not CSV but {foreign.what}", foreign.advice)
            stop = record_stop(data) or (limit if limit == found.size else None)
            if stop and not (is_blank(data[stop:]) and limit < min(found.size, HEADER_READS[-1])):
                header = parse_header(data[:stop], found.uri)
                return header._replace(has_rows=not (limit == found.size and is_blank(data[stop:])))
        raise InvalidDataError(
            f"{found.uri} cannot be read as CSV: its header does not end within {HEADER_READS[-1]} bytes",
            "look for an unclosed quote",
        )

    def require_same_layout(self, headers: Sequence[tuple[InputObject, Header]]) -> None:
        """Raise if an object's columns or line ends differ from the first one's: its rows would not fit under that header."""
        for other, header in headers[1:]:
            first, reference = headers[0]
            if header.columns != reference.columns:
                if mistake := mistaken_first_line(reference.columns, header.columns):  # its values are not to be shown as names
                    raise InvalidDataError(f"{other.uri} {mistake.what}, unlike {first.uri}", mistake.advice)
                what = f"has other columns than {first.uri}: {difference(header.columns, reference.columns)}"
                raise InvalidDataError(f"{other.uri} {what}", "make all objects alike")
            if header.line_end != reference.line_end:
                raise InvalidDataError(
                    f"{other.uri} ends its lines with {_LINE_ENDS[header.line_end]}, but {first.uri} "
                    f"with {_LINE_ENDS[reference.line_end]}",
                    "make all objects alike",
                )

    def weight(self, found: InputObject) -> int:
        """Return an object's size: all of it is read."""
        return found.size

    def stop(self, found: InputObject) -> int:
        """Return an object's size."""
        return found.size

    def split(
        self,
        client: S3Client,
        large: Mapping[InputObject, int],
        headers: Mapping[InputObject, Header],
        notes: Notes,
        *,
        exactly: bool,
    ) -> Split:
        """Cut objects where records end, near equal pieces: by windows, or by counting every quote."""
        cuts = [
            Cut(found, headers[found], [target for target in targets_of(found.size, pieces) if target > headers[found].stop])
            for found, pieces in large.items()
        ]
        return split_objects(client, cuts, notes, exactly=exactly)

    def kinds(self, client: S3Client, spans: Sequence[Span], header: Header, wanted: Iterable[str]) -> dict[str, Kind]:
        """Return the kinds of columns by windows of the data."""
        return sampled_types(sampled_records(client, spans), header.columns, wanted)

    def row_bytes(self, client: S3Client, spans: Sequence[Span]) -> float:
        """Return the mean length of a record in windows of the data."""
        return mean_record_bytes(sampled_records(client, spans) if spans else [])

    def measure(self, client: S3Client, segments: Sequence[Segment]) -> Measure:  # noqa: ARG002 - others read footers
        """Return the bytes of the segments; how many rows they have is known when they have been read."""
        return Measure(sum(stop - start for start, stop in (segment["byte_range"] for segment in segments)), None)

    def fits(self, receipt: Receipt) -> bool:
        """Whether there is a header above the rows, each of which is at least a delimiter and a line end."""
        header, size = receipt["header_bytes"], receipt["output_bytes"]
        return size >= header + 2 * receipt["rows_read"] and (header > 0 or size == 0)

    def pieces(self, client: S3Client, document: Document, source: Format, account: Account) -> list[Piece]:  # noqa: ARG002 - as above
        """Return the first part that has a header with it, and the others without."""
        done = account.done
        with_header = next((index for index, item in enumerate(done) if item.receipt["header_bytes"]), None)
        return [
            Piece(
                uri=item.receipt["output_s3_uri"],
                etag=item.receipt["output_etag"],
                start=0 if index == with_header else item.receipt["header_bytes"],
                stop=item.receipt["output_bytes"],
            )
            for index, item in enumerate(done)
        ]
