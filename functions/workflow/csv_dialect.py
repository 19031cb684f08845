"""How CSV is written: what a request's field `csv` says, and what follows from it for the bytes.

`functions/predict/prediction_handler.py` must stand alone, so it has a copy of all below the imports: `make docs` writes it.
"""

import codecs
import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple


class Dialect(NamedTuple):
    """How CSV is written, beside what all of it has in common: quotes, doubled in quoted fields, and LF or CRLF."""

    delimiter: str = ","
    header: bool = True
    column_names: tuple[str, ...] | None = None
    """The names of the columns, if there is no header."""
    encoding: str = "utf-8"
    """As Python calls its codec. UTF-16 is read as its text in UTF-8, and written in UTF-16 again."""
    decimal: str = "."
    comment: str | None = None
    """The first character of lines that are no rows."""


COMMAS = Dialect()
"""CSV as it is if nobody says otherwise."""
MAX_NAMES_CHARACTERS = 16_000
"""Of `column_names` together: each chunk's event has them, and an execution's document, which may have 256 KiB, three times."""


WIDE_CODECS = {"utf-16": "utf-16-le", "utf-16-le": "utf-16-le", "utf-16-be": "utf-16-be"}
"""UTF-16, of which the usual one has the lower byte first: a byte order mark may say so, too."""


def dialect_of(given: Mapping[str, Any] | None) -> Dialect:
    """Return the dialect that a field `csv`, which has no problems, says."""
    found = COMMAS._replace(**{name: value for name, value in (given or {}).items() if value is not None})
    names = found.column_names
    return found._replace(column_names=names and tuple(names), encoding=codec_of(found.encoding) or "")


def field_of(dialect: Dialect) -> dict[str, Any] | None:
    """Return the field `csv` that says a dialect, and no more than that; None for the usual one."""
    said = {name: value for name, value in dialect._asdict().items() if value != getattr(COMMAS, name)}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in said.items()} or None


def is_wide(dialect: Dialect) -> bool:
    """Whether a line end is more than one octet: such data cannot be cut by looking at octets."""
    return dialect.encoding in WIDE_CODECS


def of_text(dialect: Dialect) -> Dialect:
    """Return the dialect of the text that is read: UTF-16 becomes UTF-8."""
    return dialect._replace(encoding="utf-8") if is_wide(dialect) else dialect


def delimiter_of(given: object) -> str:
    """Return the delimiter that a field `csv` says; the usual one if there is no field, or if it has problems."""
    if isinstance(given, dict) and not any(dialect_problems(given)):
        return dialect_of(given).delimiter
    return COMMAS.delimiter


def dialect_problems(given: object) -> Iterator[str]:
    """Say what is wrong with a field `csv`."""
    if not isinstance(given, dict):
        yield "csv must be an object"
        return
    said = {name: value for name, value in given.items() if value is not None}
    rules = {
        "delimiter": (_is_mark, "one ASCII character that is no letter, digit, quote or line end, and none of + - ."),
        "header": (lambda value: isinstance(value, bool), "true or false"),
        "column_names": (_are_names, f"a list of different names, of {MAX_NAMES_CHARACTERS} characters together at most"),
        "encoding": (lambda value: isinstance(value, str), "the name of an encoding"),
        "decimal": ((".", ",").__contains__, "'.' or ','"),
        "comment": (
            lambda value: _is_mark(value) and value >= "!",
            "as csv.delimiter, and to be seen",
        ),
    }
    unknown = [f"csv has no field {name}: it has {', '.join(rules)}" for name in said if name not in rules]
    wrong = [f"csv.{name} must be {rules[name][1]}" for name in rules if name in said and not rules[name][0](said[name])]
    yield from unknown + wrong
    if unknown or wrong:
        return
    dialect = COMMAS._replace(**said)
    if not codec_of(dialect.encoding):
        yield (
            f"csv.encoding {dialect.encoding[:40]!r} is none that can be read: that is UTF-8, UTF-16, or what has one byte for "
            "each character, and ASCII among them, such as cp1252 or latin-1; convert the data to UTF-8"
        )
    for name in ("decimal", "comment"):
        if dialect.delimiter == getattr(dialect, name):
            yield f"csv.delimiter and csv.{name} are both {dialect.delimiter!r}: they must differ"
    if dialect.header and dialect.column_names:
        yield "csv.column_names are for data without a header: say header: false, too, or leave them out"
    if not dialect.header and not dialect.column_names:
        yield "csv.column_names is missing: data without a header needs the names of all of its columns, in their order"


def _is_mark(value: object) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r'[^\0\r\n"0-9A-Za-z+.\x80-\U0010ffff-]', value))


def _are_names(value: object) -> bool:
    if not isinstance(value, list) or not all(isinstance(name, str) and re.fullmatch("[^\ud800-\udfff]+", name) for name in value):
        return False
    return 0 < len(set(value)) == len(value) and sum(map(len, value)) <= MAX_NAMES_CHARACTERS


def codec_of(encoding: str) -> str | None:
    """Return the name of Python's codec for an encoding in which data can be read; None if it is no such one."""
    try:
        name = codecs.lookup(encoding).name
    except (LookupError, ValueError):
        return None
    if name in ("utf-8", "utf-8-sig"):  # a byte order mark is welcome in both
        return "utf-8"
    if name in WIDE_CODECS:
        return WIDE_CODECS[name]
    return name if name == "ascii" or undefined_octets(name) is not None else None


@functools.lru_cache(maxsize=16)
def undefined_octets(codec: str) -> bytes | None:
    """Return the octets that are no character; None if a character may be several octets, or not all of ASCII is itself."""
    beyond, undefined = range(128, 256), bytearray()
    try:
        # The second are what some of Python's own codecs take for one letter.
        if any(text.decode(codec) != text.decode("ascii") for text in (bytes(range(92)), bytes(range(93, 128)), rb"\u0041")):
            return None
        for octet in beyond:
            try:
                if bytes([octet]).decode(codec).isascii():  # as good as a second spelling of a quote or a delimiter
                    return None
            except UnicodeDecodeError as error:
                if error.encoding not in ("charmap", "ascii"):  # the first of several octets
                    return None
                undefined.append(octet)
    except (LookupError, ValueError):
        return None
    return bytes(undefined) if codec == "ascii" or len(undefined) < len(beyond) else None


def is_in_encoding(text: str, dialect: Dialect) -> bool:
    """Whether a text can be written as the data are."""
    try:
        text.encode(dialect.encoding)
    except UnicodeEncodeError:
        return False
    return True


# Possessive, because a field may have millions of characters: nothing that matched is ever given back.
QUOTED = re.compile(rb'"[^"]*+"')


@functools.lru_cache(maxsize=8)
def record_pattern(delimiter: str) -> re.Pattern[bytes]:
    """Return what a record of RFC 4180, without its line end, matches as a whole."""
    mark = re.escape(delimiter).encode()
    field = rb'(?:"[^"]*+(?:""[^"]*+)*+"|[^"%b\r\n]*+)' % mark
    return re.compile(rb"%b(?:%b%b)*+" % (field, mark, field))


@functools.lru_cache(maxsize=8)
def skipped_line(dialect: Dialect) -> re.Pattern[bytes]:
    """Return what a line that is no row, without its line end, matches as a whole: spaces, as for pandas, or a comment."""
    return re.compile(_skipped(dialect))


@functools.lru_cache(maxsize=8)
def skipped_lines(dialect: Dialect) -> re.Pattern[bytes]:
    """Return what as many such lines as there are match, each with its line end."""
    return re.compile(rb"(?:(?:%b)\r?\n)*" % _skipped(dialect))


def _skipped(dialect: Dialect) -> bytes:
    spaces = rb"[%b]*+" % b" \t".replace(dialect.delimiter.encode(), b"")
    return spaces if dialect.comment is None else rb"%b[^\n]*+|%b" % (re.escape(dialect.comment).encode(), spaces)
