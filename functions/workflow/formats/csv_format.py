"""CSV: RFC 4180 in any dialect, with LF or CRLF. Its objects are cut between records, its parts joined without their headers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from ..chunking import Span, targets_of
from ..column_types import Kind
from ..contract import Document, Extent, InputFormat, Receipt, Segment
from ..csv_dialect import COMMAS, Dialect, dialect_of
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
    """Separated values."""

    dialect: Dialect = COMMAS

    name: ClassVar[InputFormat] = "csv"
    ending: ClassVar[str] = ".csv"
    content_type: ClassVar[str] = "text/csv"
    extent: ClassVar[Extent] = "byte_range"
    rejected_columns: ClassVar[tuple[str, str, str, str]] = ("data_s3_uri", "row", "byte", "reason")

    @classmethod
    def of(cls, prediction: Mapping[str, Any]) -> Csv:
        """Return the dialect that the fields say."""
        return cls(dialect_of(prediction.get("csv")))

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
            if not (stop := record_stop(data, self.dialect) or (limit if limit == found.size else None)):
                continue
            header = parse_header(data[:stop], found.uri, self.dialect)
            is_alone = is_blank(data[header.stop :], self.dialect)
            if not (is_alone and limit < min(found.size, HEADER_READS[-1])):
                return header._replace(has_rows=not (is_alone and limit == found.size))
        raise InvalidDataError(
            f"{found.uri} cannot be read as CSV: its {'header' if self.dialect.header else 'first row'} does not end "
            f"within {HEADER_READS[-1]} bytes",
            "look for an unclosed quote",
        )

    def require_same_layout(self, headers: Sequence[tuple[InputObject, Header]]) -> None:
        """Raise if an object's columns or line ends differ from the first one's: its rows would not fit under that header."""
        for other, header in headers[1:]:
            first, reference = headers[0]
            if header.columns != reference.columns:
                # Its values are not to be shown as names.
                if mistake := mistaken_first_line(reference.columns, header.columns, self.dialect):
                    raise InvalidDataError(f"{other.uri} {mistake.what}, unlike {first.uri}", mistake.advice)
                what = f"has other columns than {first.uri}: {difference(header.columns, reference.columns)}"
                raise InvalidDataError(f"{other.uri} {what}", "make all objects alike")
            may_lack_it = not (self.dialect.header or (header.line_end and reference.line_end))  # one row without a line end
            if header.line_end != reference.line_end and not may_lack_it:
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
            Cut(
                found,
                headers[found],
                [target for target in targets_of(found.size, pieces) if target > headers[found].stop],
                self.dialect,
            )
            for found, pieces in large.items()
        ]
        return split_objects(client, cuts, notes, exactly=exactly)

    def kinds(self, client: S3Client, spans: Sequence[Span], header: Header, wanted: Iterable[str]) -> dict[str, Kind]:
        """Return the kinds of columns by windows of the data."""
        return sampled_types(sampled_records(client, spans, self.dialect), header.columns, wanted, self.dialect)

    def row_bytes(self, client: S3Client, spans: Sequence[Span]) -> float:
        """Return the mean length of a record in windows of the data."""
        return mean_record_bytes(sampled_records(client, spans, self.dialect) if spans else [])

    def measure(self, client: S3Client, segments: Sequence[Segment]) -> Measure:  # noqa: ARG002 - others read footers
        """Return the bytes of the segments; how many rows they have is known when they have been read."""
        return Measure(sum(stop - start for start, stop in (segment["byte_range"] for segment in segments)), None)

    def fits(self, receipt: Receipt) -> bool:
        """Whether there is a header above the rows, if there should be, each of which is at least a delimiter and a line end."""
        header, size = receipt["header_bytes"], receipt["output_bytes"]
        return size >= header + 2 * receipt["rows_read"] and (header > 0 or size == 0 or not self.dialect.header)

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
