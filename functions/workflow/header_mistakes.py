"""What a file that should be CSV is instead, and what is wrong with its header.

`functions/predict/prediction_handler.py` must stand alone, so it has a copy of all below the imports: `make docs` writes it.
"""

import codecs
import difflib
import json
import re
from typing import Any, NamedTuple

from .csv_dialect import COMMAS, QUOTED, Dialect, field_of, record_pattern, undefined_octets

SEPARATORS = {
    ";": "';'", "\t": "tabs", "|": "'|'", "^": "'^'", "\x01": "U+0001, as Hive writes", "~": "'~'", ":": "':'", ",": "commas",
    " ": "spaces",
}  # fmt: skip
MAX_DATA_COLUMNS = 100_000
"""Columns of one table. The time to read a record grows with all columns, used or not: so many take 8 ms, as measured."""
SHOWN_COLUMNS, SHOWN_MISSING, COMPARED_COLUMNS, COMPARED_CHARACTERS = 50, 10, 1000, 60
"""Columns of a header that a message names, missing ones that it names, and how many and how long ones it compares with these."""
_VALUE = re.compile(
    r"[+-]?(?:[0-9]{1,30}[.,]?[0-9]{0,30}|[.,][0-9]{1,30})(?:[eE][+-]?[0-9]{1,4})?|[0-9]{4}-[0-9]{2}-[0-9]{2}.{0,30}"
)
"""A number or a date, as no column is called."""


class Mistake(NamedTuple):
    """What is wrong with a header: completes a sentence that begins with the object's URI."""

    what: str
    advice: str


_PICKLE = Mistake("a Python pickle, as models are", "give the table as CSV: perhaps model and data are swapped")
_UTF_16 = Mistake("UTF-16", "convert it to UTF-8 first")
# The mistakes that people make, by the first bytes of the file.
FOREIGN_FORMATS = {
    b"\x1f\x8b": Mistake("gzip", "decompress it first"),
    b"BZh": Mistake("bzip2", "decompress it first"),
    b"\xfd7zXZ": Mistake("xz", "decompress it first"),
    b"\x28\xb5\x2f\xfd": Mistake("Zstandard", "decompress it first"),
    b"\x04\x22\x4d\x18": Mistake("LZ4", "decompress it first"),
    b"7z\xbc\xaf": Mistake("a 7z archive", "unpack it first"),
    b"PK\x03\x04": Mistake("a zip archive (or an Excel workbook)", "convert it to CSV first"),
    b"\xd0\xcf\x11\xe0": Mistake("an Excel workbook", "save it as CSV first"),
    b"PAR1": Mistake("Parquet", "set input_format to parquet, and give all objects as Parquet"),
    b"ARROW1": Mistake("Arrow (Feather)", "convert it to CSV first"),
    b"ORC": Mistake("ORC", "convert it to CSV first"),
    b"Obj\x01": Mistake("Avro", "convert it to CSV first"),
    b"SQLite format 3": Mistake("an SQLite database", "export the table as CSV first"),
    b"\x89HDF": Mistake("HDF5", "convert it to CSV first"),
    b"%PDF": Mistake("PDF", "give the table as CSV"),
    b"\x80\x03": _PICKLE, b"\x80\x04": _PICKLE, b"\x80\x05": _PICKLE,
    b"\xff\xfe": _UTF_16, b"\xfe\xff": _UTF_16,
}  # fmt: skip


COMPRESSION_NAMES = {"gzip": "gzip", "zstd": "Zstandard"}
"""The compressions that are read, and what people call them."""
_COMPRESSED = {"gzip": re.compile(rb"\x1f\x8b"), "zstd": re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18")}
COMPRESSION_MAGIC_BYTES = 4


def compression_of(data: bytes) -> str | None:
    """Return which of the compressions that are read an object's first bytes show; Zstandard may begin with a skippable frame."""
    return next((name for name, magic in _COMPRESSED.items() if magic.match(data)), None)


def foreign_format(data: bytes) -> Mistake | None:
    """Say what the first bytes of an object are if they are not text."""
    binary = b"\0" in data
    for magic, mistake in FOREIGN_FORMATS.items():
        if data.startswith(magic) and (binary or not magic.isalnum()):  # a column may be called ORC
            return mistake
    if not binary:
        return None
    pairs = data[: len(data) // 2 * 2][:100]
    if len(pairs) >= 6 and any(pairs) and not (any(pairs[::2]) and any(pairs[1::2])):
        return _UTF_16
    return Mistake("binary (it holds NUL bytes)", "convert it to CSV first")


def foreign_to_csv(data: bytes) -> Mistake | None:
    """Say what the first bytes of an object are if they are not CSV; a request may say that they are UTF-16."""
    found = foreign_format(data)
    if found != _UTF_16:
        return found
    codec = "utf-16-be" if data.startswith((codecs.BOM_UTF16_BE, b"\0")) else "utf-16"
    return found._replace(advice=f"say so in the request: {said(COMMAS, encoding=codec)}")


def header_mistake(raw: bytes, dialect: Dialect = COMMAS) -> Mistake | None:  # noqa: PLR0911  # one a mistake
    """Say why a first line, without its line end, is no header of RFC 4180; it is not repeated, because it may hold values."""
    try:
        text = raw.decode("utf-8-sig" if dialect.encoding == "utf-8" else dialect.encoding)
    except UnicodeDecodeError as error:
        perhaps = ", but perhaps Latin-1 or Windows-1252" if dialect.encoding == "utf-8" else ""
        what = f"is not {dialect.encoding.upper()} at byte {error.start} of its header{perhaps}"
        return Mistake(what, encoding_advice(raw, dialect))
    if record_pattern(dialect.delimiter).fullmatch(raw.removeprefix(codecs.BOM_UTF8)):
        columns = 1 + QUOTED.sub(b"", raw).count(dialect.delimiter.encode())
        what, advice = (
            f"has {columns} columns, more than {MAX_DATA_COLUMNS}",
            "split the table, or leave out columns that nobody needs",
        )
        return Mistake(what, advice) if columns > MAX_DATA_COLUMNS else None
    if kind := _markup(text):
        return kind
    if separator := re.search(r'"([;\t|^,])"', text):
        return _separated_by(separator[1], dialect)
    if re.search(r'(?:^|,) +"[^",]*"|" +,', text.replace(dialect.delimiter, ",")):
        mark = "comma" if dialect.delimiter == "," else "delimiter"
        return Mistake(f"has spaces between a {mark} and a quote in its header", f"write {mark}s and quotes side by side")
    if re.search("\r(?!\n)", text):
        return Mistake("has a bare carriage return in its header", "end lines with LF or CRLF")
    return Mistake("has a stray or unclosed quote in its header", "quote the whole name and double the quote inside")


def encoding_advice(data: bytes, dialect: Dialect) -> str:
    """Say what to do about data that are not encoded as they should be."""
    may_be_cp1252 = not set(undefined_octets("cp1252") or b"").intersection(data)
    named = (
        f"perhaps {said(dialect, encoding='cp1252')}" if may_be_cp1252 and dialect.encoding == "utf-8" else 'csv: {"encoding": …}'
    )
    return f"save it as UTF-8, or say in the request how it is encoded: {named}"


def said(dialect: Dialect, **changes: Any) -> str:
    """Return the field of a request that says a dialect but for some changes; of one that lists many columns, the changes alone."""
    of = COMMAS if dialect.column_names else dialect
    return f"csv: {json.dumps(field_of(of._replace(**changes)), ensure_ascii=False)}"


_MARKUP = {
    "JSON": r"""\s{0,9}(?:\{|\[\s{0,9}(?:[{\["0-9-]|$))""",
    "HTML or XML": r"\s{0,9}<[!?a-zA-Z]",
    "a pointer of Git LFS": "version https://git-lfs",
    "ORC": r"ORC\Z",  # a line feed follows
}


def _markup(text: str) -> Mistake | None:
    kind = next((kind for kind, beginning in _MARKUP.items() if re.match(beginning, text)), None)
    return Mistake(f"is {kind} and not CSV", "give the table itself as CSV") if kind else None


def lacking_columns(wanted: list[str], names: list[str], named_by: str = "feature_columns", dialect: Dialect = COMMAS) -> Mistake:
    """Say which columns a header lacks, and why, if that can be seen; it names columns, and no values in their place."""
    if mistake := mistaken_first_line(wanted, names, dialect):
        return mistake
    known_names = set(names)
    missing = [name for name in wanted if name not in known_names]
    places: dict[str, str] = {}
    for name in names:
        places.setdefault(_plain_name(name), name)
    shown = [f"{shown_text(name)}{_similar_name(name, names, places)}" for name in missing[:SHOWN_MISSING]]
    more = f" and {len(missing) - SHOWN_MISSING} more" if len(missing) > SHOWN_MISSING else ""
    what = f"has no column {', '.join(shown)}{more}; it has {shown_names(names)}"
    return Mistake(what, f"correct {named_by}, or the names in {'the header' if dialect.header else 'csv.column_names'}")


REPEATED_ADVICE = "rename one: a column that is used must be the only one of its name"


def repeated_columns(names: list[str]) -> str:
    """Say that columns which are used are there more than once."""
    return f"more than one column named {shown_names(names, SHOWN_MISSING)}"


def difference(names: list[str], expected: list[str], subject: str = "it") -> str:
    """Say in which columns a header, or whatever the subject is, differs from another."""
    here, there = set(names), set(expected)
    missing = [name for name in expected if name not in here]
    added = [name for name in names if name not in there]
    if not missing and not added and len(names) != len(expected):
        return f"{subject} has {len(names)} columns, not {len(expected)}"
    if not missing and not added:
        first = next(index for index, name in enumerate(names) if name != expected[index])
        return f"they are in another order, column {first + 1} is {shown_text(names[first])}, not {shown_text(expected[first])}"
    verbs = {"lacks": missing, "adds": added}
    return " and ".join(f"{subject} {verb} {shown_names(columns, 20)}" for verb, columns in verbs.items() if columns)


def mistaken_first_line(  # noqa: PLR0911  # one a mistake
    wanted: list[str], names: list[str], dialect: Dialect = COMMAS
) -> Mistake | None:
    """Recognise a first line that is no header of this dialect; whatever it is, it may hold values, and is not repeated.

    If it has one of the wanted columns, it is the header, whatever else it holds.
    """
    if not (set(wanted).isdisjoint(names) and dialect.header):
        return None
    first = names[0].strip()
    if first.lower().startswith("sep="):
        advice = f"delete it, and say it in the request: {said(dialect, delimiter=first[4:5] or ';')}"
        return Mistake("begins with Excel's line 'sep=', which is not the header", advice)
    if kind := _markup(first):
        return kind
    for separator in (mark for mark in SEPARATORS if mark not in (dialect.delimiter, " ")):
        parts = {part.strip(" \"'") for name in names if separator in name for part in name.split(separator)}
        if separator in "~:" and (len(names) > 1 or parts.isdisjoint(wanted)):  # names hold these, too
            continue
        if parts and (len(names) == 1 or not parts.isdisjoint(wanted)):
            return _separated_by(separator, dialect)
    if len(names) == 1 and len(first.split()) > 1 and not set(first.split()).isdisjoint(wanted):
        return _separated_by(" ", dialect, is_single=" ".join(first.split()) == first)
    if first.startswith("#") and first.strip("# ") not in wanted:
        advice = f"delete the lines before the header, or say in the request what they are: {said(dialect, comment='#')}"
        return Mistake("begins with a comment ('#'), which is not the header", advice)
    if not any(name.strip() for name in names):
        return Mistake("begins with a line that names nothing, and not with its header", "delete the lines before the header")
    numbered = names if names[0] else names[1:]  # behind an index
    if numbered == [str(number) for number in range(len(numbered))]:
        what = "has 0, 1, … for its header, as pandas writes if the columns have no names"
        return Mistake(what, "write it with the names of the columns")
    values = sum(_VALUE.fullmatch(name.strip()) is not None for name in names)
    if values and 2 * values >= len(names) and not any(map(_VALUE.fullmatch, wanted)):
        named = 'csv: {"header": false, "column_names": […]}'
        advice = f"put the names of the columns above them, or say them in the request, all {len(names)}: {named}"
        return Mistake("seems to have no header: its first line holds values", advice)
    return None


def _separated_by(separator: str, dialect: Dialect, *, is_single: bool = True) -> Mistake:
    own, other = (SEPARATORS.get(mark) or repr(mark) for mark in (dialect.delimiter, separator))
    advice = "leave csv.delimiter out" if separator == "," else f"say so in the request: {said(dialect, delimiter=separator)}"
    what = f"is not separated by {own}: its fields are separated by {other}"
    return Mistake(what, advice if is_single else "write one character between fields")


def _similar_name(name: str, names: list[str], places: dict[str, str]) -> str:
    """Say in brackets what a header has in the place of a missing name; `places` are its names by `_plain_name`."""
    found = places.get(_plain_name(name))
    if found is not None:
        if found.casefold() == name.casefold():
            how = "with other capitals"
        else:
            how = "with spaces around it" if found.strip(" ") == name.strip(" ") else "with other or invisible characters in it"
        return f" (it has {shown_text(found)}, {how})"
    unnamed = re.fullmatch(r"Unnamed: ([0-9]{1,6})", name)
    if unnamed and int(unnamed[1]) < len(names) and not names[int(unnamed[1])]:
        return f" (as pandas calls column {int(unnamed[1]) + 1}, which has no name: '')"
    base, _, number = name.rpartition(".")
    if number.isdecimal() and names.count(base) > 1:
        return f" (as pandas calls one of the columns named {shown_text(base)})"
    close = close_name(name, names)
    return f" (did you mean {shown_text(close)}?)" if close else ""


def close_name(name: str, names: list[str]) -> str | None:
    """Return the name that is most like another; None if none is, or if there are too many or too long ones to compare."""
    if len(names) > COMPARED_COLUMNS or len(name) > COMPARED_CHARACTERS:
        return None
    close = difflib.get_close_matches(name, [other for other in names if len(other) <= COMPARED_CHARACTERS], n=1)
    return close[0] if close else None


def _plain_name(name: str) -> str:
    """Return a name without its case, its spaces and what nobody sees."""
    return "".join(letter for letter in name if letter.isprintable() and not letter.isspace()).casefold()


def shown_names(names: list[str], most: int = SHOWN_COLUMNS) -> str:
    """List names as a message shows them, the first of them if they are many."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(shown_text, names[:most])) + more


def shown_text(text: str) -> str:
    """Quote a text, or the beginning of a long one."""
    return repr(text if len(text) <= 60 else f"{text[:60]}…")
