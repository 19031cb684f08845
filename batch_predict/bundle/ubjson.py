"""Reads UBJSON as XGBoost writes models, without XGBoost: what a file says of itself.

https://ubjson.org says how it is written.
"""

import struct
from collections.abc import Callable
from typing import Any

_SIZES = {"i": "b", "U": "B", "I": "h", "u": "H", "l": "i", "m": "I", "L": "q", "M": "Q", "d": "f", "D": "d"}
_CONSTANTS = {"Z": None, "T": True, "F": False}
MAX_DEPTH = 60
"""How deep a document may be nested; XGBoost's have 8 levels."""


class UbjsonError(ValueError):
    """A file is not UBJSON, or was cut off."""


def loads(content: bytes) -> Any:
    """Return a document; of a typed array of numbers, which are what a model is made of, nothing but the first 64 numbers."""
    try:
        return _Reader(content).value()
    except (IndexError, struct.error, UnicodeDecodeError, KeyError) as error:
        raise UbjsonError("it ends too early, or is no UBJSON") from error


class _Reader:
    def __init__(self, content: bytes) -> None:
        self._content = content
        self._at = 0

    def value(self, kind: str = "", depth: int = 0) -> Any:  # noqa: PLR0911  # one for each kind
        """Read a value, whose kind is known if it is in an array of one."""
        kind = kind or self._mark()
        if kind in _CONSTANTS:
            return _CONSTANTS[kind]
        if kind in _SIZES:
            return self._number(kind)
        if kind == "S":
            return self._text()
        if kind == "C":
            return chr(self._take(1)[0])
        if kind not in "[{" or depth == MAX_DEPTH:
            raise UbjsonError(f"it is no UBJSON at byte {self._at - 1}")
        inner, count = self._head()
        if kind == "{":
            return dict(self._items(lambda: (self._text(), self.value(inner, depth + 1)), "}", count))
        if inner in _SIZES and count is not None:
            return self._numbers(inner, count)
        return self._items(lambda: self.value(inner, depth + 1), "]", count)

    def _head(self) -> tuple[str, int | None]:
        """Return the type of all items and their number, if an array or an object states them."""
        inner, count = "", None
        if self._is_next("$"):
            inner = self._mark()
        if self._is_next("#"):
            count = self._length()
        return inner, count

    def _items(self, one: Callable[[], Any], end: str, count: int | None) -> list[Any]:
        found: list[Any] = []
        while len(found) != count and not (count is None and self._is_next(end)):
            found.append(one())
        return found

    def _numbers(self, kind: str, count: int) -> list[Any]:
        size = struct.calcsize(_SIZES[kind])
        block = self._take(size * count)
        return list(struct.unpack(f">{min(count, 64)}{_SIZES[kind]}", block[: size * min(count, 64)]))

    def _number(self, kind: str) -> Any:
        return struct.unpack(f">{_SIZES[kind]}", self._take(struct.calcsize(f">{_SIZES[kind]}")))[0]

    def _length(self) -> int:
        length = self._number(self._mark())
        if not isinstance(length, int) or length < 0:
            raise UbjsonError("a length in it is no length")
        return length

    def _text(self) -> str:
        return self._take(self._length()).decode()

    def _mark(self) -> str:
        return chr(self._take(1)[0])

    def _is_next(self, mark: str) -> bool:
        is_it = self._content[self._at : self._at + 1] == mark.encode()
        self._at += is_it
        return is_it

    def _take(self, size: int) -> bytes:
        block = self._content[self._at : self._at + size]
        if len(block) != size:
            raise UbjsonError("it ends too early")
        self._at += size
        return block
