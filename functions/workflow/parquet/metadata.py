"""The keys and values in a Parquet footer: some describe the table's columns, and must not be true of fewer than there are."""

import json
from collections.abc import Callable
from itertools import compress
from typing import Any

from . import arrow_schema
from . import footer as names
from .footer import PHYSICAL_TYPES, Element, Footer, column_names, malformed, schema_of
from .selection import Selection
from .thrift_compact import STRUCT, Field, binary_bytes, binary_of, list_bytes, list_of, read_struct, struct_bytes

PANDAS = b"pandas"
SPARK = b"org.apache.spark.sql.parquet.row.metadata"
STALE = {b"parquet.avro.schema", b"avro.schema", b"iceberg.schema"}
"""Their readers take the columns from here, and would not see more; without them they take the file's own."""

# KeyValue
_KEY, _VALUE = 1, 2

_SPARK_TYPES = {"BOOLEAN": "boolean", "INT32": "integer", "INT64": "long", "FLOAT": "float", "DOUBLE": "double"}


def extended_metadata(first: Footer, part: Footer | None, selection: Selection | None) -> bytes:
    """Return the list of keys and values of a file of the selected columns, or of all, with the part's after them."""
    with malformed(first.uri):
        return _extended(first, part, selection)


def _extended(first: Footer, part: Footer | None, selection: Selection | None) -> bytes:
    pairs = list_of(first.struct[names.KEY_VALUES].value)
    values = {key: value for key, value in map(_pair, pairs) if value is not None}
    pandas = _pandas(values[PANDAS], set(column_names(part))) if part and PANDAS in values else values.get(PANDAS)
    columns = column_names(first)
    kept = set(compress(columns, selection.columns) if selection else columns)
    replaced: dict[bytes, Callable[[bytes], bytes | None]] = {
        PANDAS: lambda _: pandas,
        SPARK: lambda value: _spark(value, kept, schema_of(part) if part else []),
        arrow_schema.KEY: lambda value: _arrow(value, selection, part, {PANDAS: pandas} if pandas else {}),
        **dict.fromkeys(STALE, lambda _: None),
    }
    written = []
    for raw in pairs:
        key, value = _pair(raw)
        if key not in replaced or value is None:
            written.append(raw)
            continue
        changed = replaced[key](value)
        if changed is not None:
            fields, _ = read_struct(raw)
            fields[_VALUE] = Field(_VALUE, fields[_VALUE].kind, binary_bytes(changed))
            written.append(struct_bytes(fields.values()))
    return list_bytes(STRUCT, written)


def _pair(raw: bytes) -> tuple[bytes, bytes | None]:
    pair, _ = read_struct(raw)
    return binary_of(pair[_KEY].value), binary_of(pair[_VALUE].value) if _VALUE in pair else None


def _arrow(value: bytes, selection: Selection | None, part: Footer | None, metadata: dict[bytes, bytes]) -> bytes | None:
    kept = selection.columns if selection else None
    if part is None:
        return arrow_schema.extended_schema(value, kept, None, metadata)
    pairs = map(_pair, list_of(part.struct[names.KEY_VALUES].value)) if names.KEY_VALUES in part.struct else ()
    more = dict(pairs).get(arrow_schema.KEY)
    return arrow_schema.extended_schema(value, kept, more, metadata) if more else None


def _pandas(value: bytes, added: set[str]) -> bytes:
    """Return pandas' metadata such that the names of all columns are texts: it cannot read others as numbers, dates or tuples.

    The columns that it does not list get the types that they would have without it, and an index of other rows is not used.
    A column that is left out may have had the name of an `added` one, which must not become of its type, or the index.
    """
    metadata = _json(value)
    columns, index = metadata.get("columns"), metadata.get("index_columns")
    if isinstance(columns, list) and any(_is_of(column, added) for column in columns):
        metadata["columns"] = [column for column in columns if not _is_of(column, added)]
        if isinstance(index, list):
            metadata["index_columns"] = [one for one in index if not (isinstance(one, str) and one in added)]
        value = json.dumps(metadata).encode()
    levels = metadata.get("column_indexes")
    if not isinstance(levels, list) or (len(levels) < 2 and all(_is_text(level) for level in levels)):
        return value
    text = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": {"encoding": "UTF-8"}}
    return json.dumps(metadata | {"column_indexes": [text]}).encode()


def _is_of(column: Any, names: set[str]) -> bool:
    return isinstance(column, dict) and (column.get("field_name") or column.get("name")) in names


def _is_text(level: Any) -> bool:
    return isinstance(level, dict) and level.get("pandas_type") in {"unicode", "empty"}


def _spark(value: bytes, kept: set[str], added: list[Element]) -> bytes | None:
    """Return Spark's schema with more columns; None if they have none of its simple types: then it takes the file's own."""
    schema = _json(value)
    fields = schema.get("fields")
    if not isinstance(fields, list):
        return None
    schema["fields"] = [field for field in fields if isinstance(field, dict) and field.get("name") in kept]
    for element in added:
        spark_type = _spark_type(element)
        if spark_type is None:
            return None
        schema["fields"].append({"name": element.path, "type": spark_type, "nullable": True, "metadata": {}})
    return json.dumps(schema, separators=(",", ":")).encode()


def _spark_type(element: Element) -> str | None:
    words = element.type.split(" ", 1)[1]
    return "string" if words == "BYTE_ARRAY STRING" else _SPARK_TYPES.get(words) if words in PHYSICAL_TYPES else None


def _json(value: bytes) -> dict[str, Any]:
    try:
        content = json.loads(value)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
