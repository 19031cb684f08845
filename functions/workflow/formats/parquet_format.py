"""Parquet: its chunks are row groups, and its output is the input's own bytes with the pages of the predictions after them.

Where a file's rows and columns lie, its footer says. All footers are read while planning, and again while merging.
"""

from __future__ import annotations

import hashlib
import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate, groupby, pairwise
from typing import Any, ClassVar, NamedTuple

from ..accounting import Account, segments_of
from ..chunking import Span, targets_of
from ..column_types import EMPTY, Kind
from ..contract import Chunk, Decision, Extent, InputFormat, Receipt, Segment
from ..errors import IncompleteOutputError, InvalidDataError
from ..header_mistakes import REPEATED_ADVICE, lacking_columns, repeated_columns
from ..inputs import InputObject
from ..multipart import Piece
from ..parquet.footer import MAGIC, Footer, column_names, difference, read_footer, require_readable, row_groups_of, schema_of
from ..parquet.joining import Source, empty_file, index_span, join
from ..s3 import S3Client, find_object, get_json, head_object, in_parallel, put_bytes, read_ahead, read_range
from ..splitting import Notes, Split
from ..work import tail_uri
from .format import Format, Measure

CONTENT_TYPE = "application/vnd.apache.parquet"
MAX_GROUP_ROWS = 2**26
"""pyarrow writes no larger row groups, and a part's are those of its input."""
SMALLEST_PART_BYTES = len(MAGIC) + 8
"""The magic bytes at both ends, and the length of the footer."""


class Group(NamedTuple):
    """A row group, as the prediction function reads it."""

    rows: int
    feature_bytes: int


class File(NamedTuple):
    """What the footer of an object says."""

    footer: Footer
    columns: list[str]
    groups: list[Group]
    with_nulls: frozenset[str]
    """Features of which a row is known to be null."""

    @property
    def has_rows(self) -> bool:
        """Whether there is a row."""
        return self.footer.rows > 0

    @property
    def is_void(self) -> bool:
        """Never: each file has a schema."""
        return False

    @property
    def compression(self) -> None:
        """Nothing: its pages are compressed, and not the whole object."""
        return

    @property
    def feature_bytes(self) -> int:
        """What the prediction function reads of all row groups."""
        return sum(group.feature_bytes for group in self.groups)


class Parquet:
    """Apache Parquet."""

    name: ClassVar[InputFormat] = "parquet"
    extent: ClassVar[Extent] = "row_groups"
    rejected_columns: ClassVar[tuple[str, str, str, str]] = ("data_s3_uri", "row", "row_group", "reason")
    has_types: ClassVar[bool] = True
    is_copied: ClassVar[bool] = True
    headers_compared: ClassVar[int | None] = None

    def __init__(self, features: Sequence[str]) -> None:
        self._features = frozenset(features)
        self._files: dict[tuple[str, str], File] = {}
        self._reading: dict[tuple[str, str], threading.Lock] = {}
        self._lock = threading.Lock()
        self._footer_bytes = 0

    @classmethod
    def of(cls, prediction: Mapping[str, Any], features: Sequence[str] = ()) -> Parquet:  # noqa: ARG003 - CSV has dialects
        """Return the format, which knows the footers that it has read."""
        return cls(features)

    @property
    def ending(self) -> str:
        """End of a part's name."""
        return ".parquet"

    @property
    def content_type(self) -> str:
        """The type that is registered for Parquet."""
        return CONTENT_TYPE

    @property
    def nothing(self) -> bytes:
        """A file without rows and columns."""
        return empty_file()

    @staticmethod
    def begins(data: bytes) -> bool:
        """Whether these are the first bytes of a Parquet file."""
        return data.startswith(MAGIC)

    def read_header(self, client: S3Client, found: InputObject) -> File:
        """Read the footer of an object; InvalidDataError if it cannot be predicted, InvalidRequestError if all are too large."""
        return self._file(client, found.uri, found.etag, found.size)

    def _file(self, client: S3Client, uri: str, etag: str, size: int | None = None) -> File:
        """Return what a footer says, read once, however many threads ask."""
        key = (uri, etag)
        with self._lock:
            reading = self._reading.setdefault(key, threading.Lock())
        with reading:
            if key not in self._files:
                if size is None:
                    size = head_object(client, uri).size
                footer = read_footer(uri, size, partial(_read, client, uri, etag))
                with self._lock:
                    self._footer_bytes += footer.size
                require_readable(self._footer_bytes, "the footers of all objects have")
                self._files[key] = _file_of(footer, self._features)
            return self._files[key]

    def require_same_layout(self, headers: Sequence[tuple[InputObject, File]]) -> None:
        """Raise if the schema of an object is not the first one's: their pages would mean other things under one schema."""
        for _, file in headers[1:]:
            if found := difference(headers[0][1].footer, file.footer):
                raise InvalidDataError(found, "give objects of one schema")

    def weight(self, found: InputObject) -> int:
        """Return the bytes of the features' pages: nothing else is read."""
        return self._files[found.uri, found.etag].feature_bytes

    def stop(self, found: InputObject) -> int:
        """Return the number of row groups."""
        return len(self._files[found.uri, found.etag].groups)

    def split(
        self,
        client: S3Client,  # noqa: ARG002 - as below
        large: Mapping[InputObject, int],
        headers: Mapping[InputObject, File],
        notes: Notes,  # noqa: ARG002 - text has to be looked at
        *,
        exactly: bool,  # noqa: ARG002
    ) -> Split:
        """Cut objects between row groups, each at the one that is next to the end of an equal piece."""
        return Split({found: _pieces(found, headers[found].groups, pieces) for found, pieces in large.items()}, guessed=False)

    def kinds(self, client: S3Client, spans: Sequence[Span], header: File, wanted: Iterable[str]) -> dict[str, Kind]:  # noqa: ARG002 - as above
        """Return that there are missing values in those columns that have any: all else of a column's type is the file's."""
        files = {span.object: self._files[span.object.uri, span.object.etag] for span in spans}
        return {column: EMPTY for column in wanted if any(column in file.with_nulls for file in files.values())}

    def row_bytes(self, client: S3Client, spans: Sequence[Span]) -> float:  # noqa: ARG002 - as above
        """Return the mean of what is read of a row."""
        groups = [
            group for span in spans for group in self._files[span.object.uri, span.object.etag].groups[span.start : span.stop]
        ]
        return max(1, sum(group.feature_bytes for group in groups)) / max(1, sum(group.rows for group in groups))

    def measure(self, client: S3Client, segments: Sequence[Segment]) -> Measure:
        """Return the bytes and rows of the segments' row groups; IncompleteOutputError if there are no such row groups."""
        groups: list[Group] = []
        for segment in segments:
            uri, (start, stop) = segment["data_s3_uri"], segment["row_groups"]
            file = self._file(client, uri, segment["data_etag"])
            if stop > len(file.groups):
                raise IncompleteOutputError(f"the plan has row groups of {uri} that are not there: [{start}, {stop})")
            groups += file.groups[start:stop]
        return Measure(sum(group.feature_bytes for group in groups), sum(group.rows for group in groups))

    def fits(self, receipt: Receipt) -> bool:
        """Whether a part has what each Parquet file begins and ends with."""
        return receipt["header_bytes"] == len(MAGIC) and receipt["output_bytes"] >= SMALLEST_PART_BYTES

    def pieces(self, client: S3Client, work_uri: str, decision: Decision, source: Format, account: Account) -> list[Piece]:
        """Return the bytes of the input, if it is Parquet, and of the parts, and an object with all that follows, written here.

        Row groups of missing chunks are left out, with their bytes.
        """
        if not account.done:
            return []
        parts = in_parallel(partial(_part, client), (done.receipt for done in account.done))
        if isinstance(source, Parquet):
            columns = decision["output_columns"]
            pieces, tail = join(_with_indexes(source.sources(client, account), columns), parts, columns)
        else:
            pieces, tail = join(_with_indexes(parts, None), [])
        return [*pieces, _written(client, work_uri, tail)]

    def sources(self, client: S3Client, account: Account) -> list[Source]:
        """Return the input's objects in order, with those of their row groups that have been predicted."""
        predicted = {done.chunk["chunk_index"] for done in account.done}
        chunks = sorted([*(done.chunk for done in account.done), *account.missing], key=lambda chunk: chunk["chunk_index"])
        listed = in_parallel(partial(_segments, client), chunks)
        are_done = [chunk["chunk_index"] in predicted for chunk in chunks]
        pairs = ((segment, is_done) for segments, is_done in zip(listed, are_done, strict=True) for segment in segments)
        sources = []
        for (uri, etag), group in groupby(pairs, key=lambda pair: (pair[0]["data_s3_uri"], pair[0]["data_etag"])):
            footer = self._file(client, uri, etag).footer
            ranges = [(segment["row_groups"], is_done) for segment, is_done in group]
            is_whole = all(is_done for _, is_done in ranges)
            kept = None if is_whole else {index for edges, is_done in ranges if is_done for index in range(*edges)}
            sources.append(Source(footer, etag, partial(_read, client, uri, etag), kept))
        return sources


def _read(client: S3Client, uri: str, etag: str, start: int, stop: int) -> bytes:
    return read_range(client, uri, start, stop, etag)


def _file_of(footer: Footer, features: frozenset[str]) -> File:
    """Return what matters of a footer; InvalidDataError if a feature is not there once, with one value a row."""
    columns, uri = column_names(footer), footer.uri
    times = Counter(columns)
    if repeated := sorted(name for name in features if times[name] > 1):
        raise InvalidDataError(f"{uri} has {repeated_columns(repeated)}", REPEATED_ADVICE)
    if any(name not in times for name in features):
        mistake = lacking_columns(sorted(features), columns)
        raise InvalidDataError(f"{uri} {mistake.what}", mistake.advice)
    leaves = [element.path for element in schema_of(footer) if not element.children]
    if nested := sorted(features.difference(leaves)):
        raise InvalidDataError(f"the column {nested[0]!r} of {uri} is nested", "choose columns with one value a row")
    places = [index for index, leaf in enumerate(leaves) if leaf in features]
    groups: list[Group] = []
    with_nulls: set[str] = set()
    for index, group in enumerate(row_groups_of(footer)):
        if group.rows > MAX_GROUP_ROWS:
            raise InvalidDataError(
                f"row group {index} of {uri} has {group.rows} rows, more than {MAX_GROUP_ROWS}", "write smaller row groups"
            )
        start_stops = [group.columns[place].pages for place in places]
        groups.append(Group(group.rows, sum(stop - start for start, stop in start_stops)))
        with_nulls.update(leaves[place] for place in places if group.columns[place].null_count)
    return File(footer, columns, groups, frozenset(with_nulls))


def _pieces(found: InputObject, groups: Sequence[Group], pieces: int) -> list[Span]:
    ends = list(accumulate(group.feature_bytes for group in groups))
    targets = targets_of(ends[-1], pieces)
    cuts = dict.fromkeys(1 + bisect_left(ends, target) for target in targets)
    return [Span(found, *edges) for edges in pairwise([0, *(cut for cut in cuts if cut < len(groups)), len(groups)])]


def _segments(client: S3Client, chunk: Chunk) -> list[Segment]:
    listed = chunk.get("segments_s3_uri")
    return segments_of(chunk, get_json(client, listed) if listed else None, Parquet.extent)


def _part(client: S3Client, receipt: Receipt) -> Source:
    uri, etag = receipt["output_s3_uri"], receipt["output_etag"]
    read = partial(_read, client, uri, etag)
    return Source(read_footer(uri, receipt["output_bytes"], read), etag, read)


def _with_indexes(inputs: Sequence[Source], columns: Sequence[str] | None) -> list[Source]:
    """Read the page indexes of several objects at once, in the order in which they will be asked for."""
    is_some = columns is not None or any(source.groups is not None for source in inputs)
    spans = [index_span(source.footer, column_indexes=is_some) if index or is_some else None for index, source in enumerate(inputs)]
    wanted = [index for index, span in enumerate(spans) if span]
    ahead = zip(wanted, read_ahead(lambda index: inputs[index].read(*(spans[index] or ())), wanted), strict=True)

    def read(wanted_index: int, *_: int) -> bytes:
        return next(content for index, content in ahead if index == wanted_index)

    return [source._replace(read=partial(read, index)) for index, source in enumerate(inputs)]


def _written(client: S3Client, work_uri: str, tail: bytes) -> Piece:
    """Return the end of the output as an object of its own, which is there once, however often it is made."""
    uri = tail_uri(work_uri, hashlib.sha256(tail).hexdigest())
    found = find_object(client, uri)
    etag = found.etag if found else put_bytes(client, uri, tail, CONTENT_TYPE)
    return Piece(uri, etag, 0, len(tail))
