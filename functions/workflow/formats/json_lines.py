"""JSON Lines: an object a line. A line feed ends a row wherever it stands, so boundaries are exact, and parts need no header."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial, reduce
from itertools import pairwise
from typing import Any, ClassVar, NamedTuple

from ..boundaries import content_stop
from ..chunking import Span, targets_of
from ..column_types import BOOLEAN, EMPTY, INTEGER, NUMBER, TEXT, Kind, join
from ..compression import CONTENT_TYPES, ENDINGS, read_beginning
from ..contract import InputFormat, Receipt
from ..errors import InvalidDataError
from ..header_mistakes import COMPRESSION_MAGIC_BYTES, foreign_format
from ..inputs import InputObject
from ..s3 import S3Client, in_parallel, read_range
from ..sampling import mean_record_bytes, sampled_windows
from ..splitting import Notes, Split
from .csv_format import HEADER_READS, Csv

LINE_READ_BYTES = 2**16
"""Read at once to find the end of a line."""
_SPACE = b" \t\r\n"
_ON_ONE_LINE = "write each object on a line of its own, as JSON Lines is"


class Beginning(NamedTuple):
    """What stands before an object's rows: nothing. Only they show columns."""

    has_rows: bool
    compression: str | None
    is_void: bool = False
    columns: list[str] = []  # noqa: RUF012 - nobody changes it


@dataclass(frozen=True)
class JsonLines(Csv):
    """JSON Lines, which is text as CSV is, and has its chunks of bytes."""

    name: ClassVar[InputFormat] = "jsonl"

    @property
    def ending(self) -> str:
        """End of a part's name."""
        return f".jsonl{ENDINGS[self.compression]}"

    @property
    def content_type(self) -> str:
        """The text's own, or that of how it is compressed."""
        return CONTENT_TYPES.get(self.compression, "application/jsonl")

    @staticmethod
    def begins(data: bytes) -> bool:
        """Whether the first line is a JSON object."""
        line = data.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE).partition(b"\n")[0]
        return line.startswith(b"{") and _object_in(line) is not None

    def read_header(self, client: S3Client, found: InputObject) -> Beginning:  # type: ignore[override] # Csv's own knows columns
        """Look for the first row of an object; InvalidDataError if it is no JSON Lines at first sight."""
        stored, beginning = b"", None
        for limit in HEADER_READS:
            beginning, stored = read_beginning(client, found, limit, stored)
            if not beginning.is_known:
                break
            if foreign := foreign_format(beginning.text):
                advice = foreign.advice.replace("CSV", "JSON Lines")
                raise InvalidDataError(f"{found.uri} is not JSON Lines but {foreign.what}", advice)
            first = beginning.text.removeprefix(codecs.BOM_UTF8).lstrip(_SPACE)[:1]
            if first == b"[":
                raise InvalidDataError(f"{found.uri} is not JSON Lines but begins with a JSON array", _ON_ONE_LINE)
            if first or beginning.is_all:
                return Beginning(bool(first), beginning.compression)
        return Beginning(has_rows=True, compression=beginning.compression if beginning else None)

    def require_same_layout(self, headers: Sequence[tuple[InputObject, Any]]) -> None:
        """Accept all: each line has its own keys."""

    def split(
        self,
        client: S3Client,
        large: Mapping[InputObject, int],
        headers: Mapping[InputObject, Any],
        notes: Notes,  # noqa: ARG002 - nothing is scanned
        *,
        exactly: bool,  # noqa: ARG002 - every boundary is exact
    ) -> Split:
        """Cut objects behind the line feeds that follow near equal pieces. Compressed ones stay whole."""

        def spans_of(cut: tuple[InputObject, int]) -> list[Span]:
            found, pieces = cut
            if headers[found].compression:
                return [Span(found, 0, found.size)]
            read = partial(read_range, client, found.uri, etag=found.etag)
            stop = content_stop(read, found.size)
            inner = dict.fromkeys(line_stop(read, target, found.size) for target in targets_of(found.size, pieces))
            return [Span(found, *edges) for edges in pairwise([0, *(edge for edge in inner if edge < stop), found.size])]

        return Split(dict(zip(large, in_parallel(spans_of, list(large.items())), strict=True)), guessed=False)

    def kinds(self, client: S3Client, spans: Sequence[Span], header: Any, wanted: Iterable[str]) -> dict[str, Kind]:  # noqa: ARG002
        """Return the kinds of columns by windows of the data; lines that are no objects are left to their chunks."""
        seen: dict[str, set[Kind]] = {column: set() for column in wanted}
        for line in _sampled_lines(client, spans):
            found = _object_in(line)
            for column, kinds in seen.items() if found is not None else ():
                kinds.add(_kind_of(found.get(column)))  # type: ignore[union-attr] # not None here
        return {column: reduce(join, sorted(kinds)) for column, kinds in seen.items() if kinds}

    def row_bytes(self, client: S3Client, spans: Sequence[Span]) -> float:
        """Return the mean length of a line in windows of the data; 0 if they are compressed: the probe has seen how much."""
        if spans and read_beginning(client, spans[0].object, COMPRESSION_MAGIC_BYTES)[0].compression:
            return 0
        return mean_record_bytes(list(_sampled_lines(client, spans)))

    def fits(self, receipt: Receipt) -> bool:
        """Whether each row can be at least an octet and a line end, if not compressed, without a header above them."""
        least = 2 * receipt["rows_read"] if self.compression == "none" else receipt["rows_read"] > 0
        return receipt["header_bytes"] == 0 and receipt["output_bytes"] >= least


def line_stop(read: Any, target: int, size: int) -> int:
    """Return where the line ends that holds the octet before `target`; `read` returns the octets [start, stop)."""
    for start in range(target - 1, size, LINE_READ_BYTES):
        place = read(start, min(start + LINE_READ_BYTES, size)).find(b"\n")
        if place >= 0:
            return int(start + place + 1)
    return size


def _sampled_lines(client: S3Client, spans: Sequence[Span]) -> Iterator[bytes]:
    for _, text, is_all in sampled_windows(client, spans):
        lines = text.split(b"\n")
        if not is_all:
            lines.pop()
        yield from (line + b"\n" for line in lines if line.strip(_SPACE))


class _Number(str):
    """A number as it is spelled."""

    __slots__ = ()


_DECODER = json.JSONDecoder(parse_int=_Number, parse_float=_Number, parse_constant=_Number)


def _object_in(line: bytes) -> dict[str, Any] | None:
    try:
        found = _DECODER.decode(line.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _kind_of(value: Any) -> Kind:
    """Return the kind of a column that has this one value, as the prediction function reads it."""
    if isinstance(value, _Number):
        if value == "NaN":
            return EMPTY
        return INTEGER if value.removeprefix("-").isdigit() else NUMBER
    if isinstance(value, bool):
        return BOOLEAN
    return TEXT if isinstance(value, str) else EMPTY
