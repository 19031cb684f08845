"""CSV: RFC 4180 in any dialect, with LF or CRLF. Its objects are cut between records, its parts joined without their headers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from ..accounting import Account
from ..chunking import Span, targets_of
from ..column_types import Kind
from ..compression import CONTENT_TYPES, EMPTY, ENDINGS, read_beginning
from ..contract import Decision, Extent, InputFormat, Receipt, Segment
from ..csv_dialect import COMMAS, Dialect, dialect_of, is_wide, of_text
from ..csv_records import Header, is_blank, parse_header, record_stop, text_of
from ..errors import InvalidDataError
from ..header_mistakes import COMPRESSION_MAGIC_BYTES, difference, foreign_to_csv, mistaken_first_line
from ..inputs import InputObject
from ..multipart import Piece
from ..s3 import S3Client
from ..sampling import mean_record_bytes, sampled_records, sampled_types
from ..splitting import Cut, Notes, Split, split_objects
from .format import Format, Measure

HEADER_READS = (2**16, 2**20, 2**24)
"""Bytes to read, one after the other, until the first record is whole; no header is longer than the last."""

_LINE_ENDS = {b"\n": "LF", b"\r\n": "CRLF"}


@dataclass(frozen=True)
class Csv:
    """Separated values."""

    dialect: Dialect = COMMAS

    name: ClassVar[InputFormat] = "csv"
    extent: ClassVar[Extent] = "byte_range"
    rejected_columns: ClassVar[tuple[str, str, str, str]] = ("data_s3_uri", "row", "byte", "reason")
    has_types: ClassVar[bool] = False
    is_copied: ClassVar[bool] = False
    headers_compared: ClassVar[int | None] = 10_000

    compression: str = "none"
    """Of an output: `output_compression`."""

    @classmethod
    def of(cls, prediction: Mapping[str, Any], features: Sequence[str] = ()) -> "Csv":  # noqa: ARG003 - Parquet reads no others
        """Return the dialect that the fields say, and how an output is compressed."""
        return cls(dialect_of(prediction.get("csv")), prediction["output_compression"])

    @property
    def ending(self) -> str:
        """End of a part's name."""
        return f".csv{ENDINGS[self.compression]}"

    @property
    def content_type(self) -> str:
        """The text's own, or that of how it is compressed."""
        return CONTENT_TYPES.get(self.compression, "text/csv")

    @property
    def nothing(self) -> bytes:
        """Nothing, perhaps compressed."""
        return EMPTY[self.compression]

    @staticmethod
    def begins(data: bytes) -> bool:  # noqa: ARG004 - what other formats begin with is not CSV
        """Whether an object may be CSV: all that is nothing else."""
        return True

    def read_header(self, client: S3Client, found: InputObject) -> Header:
        """Read the first record of an object, and on as long as only blank lines follow; InvalidDataError if there is none.

        What is compressed by Zstandard has no known columns, like what has no text at all.
        """
        stored, dialect = b"", of_text(self.dialect)
        for limit in HEADER_READS:
            (beginning, is_all, compression), stored = read_beginning(client, found, limit, stored)
            if compression == "zstd" or (is_all and not beginning):
                is_zstd = compression == "zstd"
                return Header([], 0, b"", has_rows=is_zstd, is_void=not is_zstd, compression=compression)
            data = text_of(beginning, self.dialect, found.uri, is_all=is_all)
            if foreign := foreign_to_csv(data):
                raise InvalidDataError(f"{found.uri} is not CSV but {foreign.what}", foreign.advice)
            if not (stop := record_stop(data, dialect) or (len(data) if is_all else None)):
                continue
            header = parse_header(data[:stop], found.uri, dialect)
            is_alone = is_blank(data[header.stop :], dialect)
            if is_all or limit == HEADER_READS[-1] or not is_alone:
                return header._replace(has_rows=not (is_alone and is_all), compression=compression)
        raise InvalidDataError(
            f"{found.uri} cannot be read as CSV: its {'header' if self.dialect.header else 'first row'} does not end "
            f"within {HEADER_READS[-1]} bytes",
            "look for an unclosed quote",
        )

    def require_same_layout(self, headers: Sequence[tuple[InputObject, Header]]) -> None:
        """Raise if an object's columns or line ends differ from the first one's: its rows would not fit under that header."""
        known = [(found, header) for found, header in headers if header.columns]
        for other, header in known[1:]:
            first, reference = known[0]
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
        """Cut objects where records end, by windows or by counting every quote. Compressed ones and UTF-16 stay whole."""
        cuts = [
            Cut(
                found,
                headers[found],
                [target for target in targets_of(found.size, pieces) if target > headers[found].stop],
                self.dialect,
            )
            for found, pieces in large.items()
            if not (headers[found].compression or is_wide(self.dialect))
        ]
        split = split_objects(client, cuts, notes, exactly=exactly)
        return split._replace(spans={found: [Span(found, 0, found.size)] for found in large} | split.spans)

    def kinds(self, client: S3Client, spans: Sequence[Span], header: Header, wanted: Iterable[str]) -> dict[str, Kind]:
        """Return the kinds of columns by windows of the data; none if its columns are not known."""
        if not header.columns:
            return {}
        return sampled_types(sampled_records(client, spans, self.dialect), header.columns, wanted, of_text(self.dialect))

    def row_bytes(self, client: S3Client, spans: Sequence[Span]) -> float:
        """Return the mean length of a record in windows of the data; 0 if they are compressed: the probe has seen how much."""
        if spans and read_beginning(client, spans[0].object, COMPRESSION_MAGIC_BYTES)[0].compression:
            return 0
        width = 2 if is_wide(self.dialect) else 1
        return width * mean_record_bytes(sampled_records(client, spans, self.dialect) if spans else [])

    def measure(self, client: S3Client, segments: Sequence[Segment]) -> Measure:  # noqa: ARG002 - others read footers
        """Return the bytes of the segments; how many rows they have is known when they have been read."""
        return Measure(sum(stop - start for start, stop in (segment["byte_range"] for segment in segments)), None)

    def fits(self, receipt: Receipt) -> bool:
        """Whether there is a header, if there should be, and rows of at least a delimiter and a line end, if not compressed."""
        header, size = receipt["header_bytes"], receipt["output_bytes"]
        least = 2 * receipt["rows_read"] if self.compression == "none" else receipt["rows_read"] > 0
        return size >= header + least and (header > 0 or size == 0 or not self.dialect.header)

    def pieces(self, client: S3Client, work_uri: str, decision: Decision, source: Format, account: Account) -> list[Piece]:  # noqa: ARG002 - as above
        """Return the first part that has a header with it, and the others without.

        Without a header, a part has a byte order mark at most, which has its place at the very beginning.
        """
        done = account.done
        with_header = next((index for index, item in enumerate(done) if item.receipt["header_bytes"]), None)
        with_header = with_header if self.dialect.header else 0
        return [
            Piece(
                uri=item.receipt["output_s3_uri"],
                etag=item.receipt["output_etag"],
                start=0 if index == with_header else item.receipt["header_bytes"],
                stop=item.receipt["output_bytes"],
            )
            for index, item in enumerate(done)
        ]
