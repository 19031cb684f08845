"""What the workflow asks of a format of data: the same few questions, whatever the bytes look like.

A run reads one format and writes one. Nothing outside this folder asks which.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from ..accounting import Account
    from ..chunking import Span
    from ..column_types import Kind
    from ..contract import Decision, Extent, InputFormat, Receipt, Segment
    from ..inputs import InputObject
    from ..multipart import Piece
    from ..s3 import S3Client
    from ..splitting import Notes, Split


class Header(Protocol):
    """What an object says before its rows are read."""

    @property
    def columns(self) -> list[str]:
        """The names of its columns; none if they are not known."""

    @property
    def has_rows(self) -> bool:
        """Whether it is known, or has to be assumed, that rows follow."""

    @property
    def is_void(self) -> bool:
        """Whether it says nothing at all, not even names of columns, as an object without bytes."""

    @property
    def compression(self) -> str | None:
        """How the whole object is compressed."""


class Measure(NamedTuple):
    """What a chunk's segments add up to."""

    input_bytes: int
    """Bytes that the prediction function consumes."""
    rows: int | None
    """None if nothing but reading them all tells."""


class Format(Protocol):
    """A format with its dialect. What it is asked of an input counts in the unit of its `extent`: bytes, or row groups."""

    name: ClassVar[InputFormat]
    """As `input_format` has it."""
    extent: ClassVar[Extent]
    """The field of a segment that says which share of its object it is: [start, stop)."""
    rejected_columns: ClassVar[tuple[str, str, str, str]]
    """The columns of a list of rejected rows."""
    has_types: ClassVar[bool]
    """Whether the data say the types of their columns, and a request cannot."""
    is_copied: ClassVar[bool]
    """Whether an output of the same format is made of the input's objects, and parts have the predictions alone."""
    headers_compared: ClassVar[int | None]
    """Headers that planning reads, evenly spread; None for all. Of more objects, each chunk compares those that it reads anyway."""

    @classmethod
    def of(cls, prediction: Mapping[str, Any], features: Sequence[str] = ()) -> Format:
        """Return the format with the dialect that a prediction event's fields describe, for who reads these columns."""

    @staticmethod
    def begins(data: bytes) -> bool:
        """Whether an object with these first bytes may be of this format."""

    # As input

    def read_header(self, client: S3Client, found: InputObject) -> Header:
        """Read what stands before an object's rows; InvalidDataError if it is not of this format."""

    def require_same_layout(self, headers: Sequence[tuple[InputObject, Any]]) -> None:
        """Raise InvalidDataError if the rows of an object do not fit to those of the first."""

    def weight(self, found: InputObject) -> int:
        """Return the bytes that reading an object takes, by which chunks are sized."""

    def stop(self, found: InputObject) -> int:
        """Return the end of an object's extent."""

    def split(
        self, client: S3Client, large: Mapping[InputObject, int], headers: Mapping[InputObject, Any], notes: Notes, *, exactly: bool
    ) -> Split:
        """Cut large objects, each into about so many pieces; OutOfTimeError if that takes another invocation."""

    def kinds(self, client: S3Client, spans: Sequence[Span], header: Any, wanted: Iterable[str]) -> dict[str, Kind]:
        """Return what can be seen of the columns' kinds without reading all of them."""

    def row_bytes(self, client: S3Client, spans: Sequence[Span]) -> float:
        """Return the mean length of a row; 0 if only the probe knows it."""

    def measure(self, client: S3Client, segments: Sequence[Segment]) -> Measure:
        """Return what a chunk's segments add up to."""

    # As output

    @property
    def ending(self) -> str:
        """End of a part's name."""

    @property
    def content_type(self) -> str:
        """What S3 calls the output's type."""

    @property
    def nothing(self) -> bytes:
        """What the output of no object is."""

    def fits(self, receipt: Receipt) -> bool:
        """Whether the bytes, rows and header of a part can be as its receipt says."""

    def pieces(self, client: S3Client, work_uri: str, decision: Decision, source: Format, account: Account) -> list[Piece]:
        """Return what the output is made of, in order."""
