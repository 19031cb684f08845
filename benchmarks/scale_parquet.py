"""The scale benchmark's Parquet: objects of 300 columns whose pages are formulas, and whose footers are real."""

from __future__ import annotations

import hashlib
import io
import json
from itertools import count
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.formula_s3 import FormulaS3
from benchmarks.scale_case import COLUMNS as COLUMNS_JSON
from benchmarks.scale_case import COLUMNS_KEY, document_of, figures_of, measured, receipt_of, segments_of
from benchmarks.scale_input import BUCKET, INPUT_PREFIX, ScaleCase
from workflow import merge_outputs, plan_chunks
from workflow.parquet import footer as names
from workflow.parquet.footer import MAGIC, read_footer, row_groups_of
from workflow.parquet.thrift_compact import integer_bytes, list_edit, number_edit, read_struct, struct_bytes, struct_edit

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS, GROUPS, FEATURES = 300, 4, 10
LINE_BYTES = 16
SAMPLED, LOOKED_BYTES = 20, 64
"""Row groups of the output that are looked at, and bytes of each of their columns."""


class Pages:
    """A Parquet file of columns of equally large pages, one after the other, whose bytes say where they stand in which file."""

    def __init__(self, number: int, columns: Sequence[str], groups: int, rows: int, page_bytes: int) -> None:
        self.number, self.page_bytes, self.rows = number, page_bytes, groups * rows
        self.header_bytes = len(MAGIC)
        pages_stop = len(MAGIC) + len(columns) * groups * page_bytes
        footer = _footer(tuple(columns), groups, rows, page_bytes)
        self._tail_start, self._tail = pages_stop, footer + len(footer).to_bytes(4, "little") + MAGIC
        self.size = pages_stop + len(self._tail)

    def read(self, start: int, stop: int) -> bytes:
        first = start // LINE_BYTES
        lines = b"".join(
            b"%06d %08x\n" % (self.number, line) for line in range(first, -(-min(stop, self._tail_start) // LINE_BYTES))
        )
        data = bytearray(lines[start - first * LINE_BYTES : min(stop, self._tail_start) - first * LINE_BYTES])
        data[: max(0, len(MAGIC) - start)] = MAGIC[start : min(stop, len(MAGIC))]
        return bytes(data) + self._tail[max(0, start - self._tail_start) : max(0, stop - self._tail_start)]


_footers: dict[Any, bytes] = {}


def _footer(columns: tuple[str, ...], groups: int, rows: int, page_bytes: int) -> bytes:
    """Return a footer that pyarrow has written, with other places, sizes and rows."""
    key = (columns, groups, rows, page_bytes)
    if key not in _footers:
        written = io.BytesIO()
        table = pa.table({name: [0.5] * groups for name in columns})
        pq.write_table(table, written, row_group_size=1, use_dictionary=False, compression="none")
        data = written.getvalue()
        footer = read_footer("", len(data), lambda start, stop: data[start:stop])
        places = count()
        size = number_edit(lambda _: page_bytes)
        place = number_edit(lambda _: len(MAGIC) + next(places) * page_bytes)
        meta = struct_edit({names.UNCOMPRESSED_SIZE: size, names.COMPRESSED_SIZE: size, names.DATA_PAGE: place})
        column = struct_edit({names.META_DATA: meta})
        of_group = {names.GROUP_ROWS: number_edit(lambda _: rows), names.COLUMNS: list_edit(column)}
        group_bytes = number_edit(lambda _: len(columns) * page_bytes)
        of_group |= dict.fromkeys((names.TOTAL_BYTE_SIZE, names.GROUP_COMPRESSED_SIZE), group_bytes)
        content = struct_bytes(footer.struct.values())
        struct, _ = read_struct(content, 0, {names.ROW_GROUPS: list_edit(struct_edit(of_group))})
        struct[names.NUM_ROWS] = struct[names.NUM_ROWS]._replace(value=integer_bytes(groups * rows))
        _footers[key] = struct_bytes(struct.values())
    return _footers[key]


def measure_parquet(case: ScaleCase) -> dict[str, Any]:
    """Plan, pretend to predict, merge, and look for the pages where the output's footer says they are."""
    client = FormulaS3(BUCKET)
    page_bytes = case.n_bytes // case.n_objects // (COLUMNS * GROUPS)
    rows, names_of = page_bytes // 8, [f"column_{number}" for number in range(COLUMNS)]
    inputs = [Pages(number, names_of, GROUPS, rows, page_bytes) for number in range(case.n_objects)]
    for content in inputs:
        client.add(f"{INPUT_PREFIX}part-{content.number:05}.parquet", content)
    document = document_of(case)
    uri = document["request"]["output_s3_uri"].replace(".csv", ".parquet")
    formats = {"input_format": "parquet", "output_format": "parquet"}
    document["request"] |= formats | {"output_s3_uri": uri}
    document["prediction"] |= formats
    columns = json.dumps(json.loads(COLUMNS_JSON) | {"feature_columns": names_of[:FEATURES]}).encode()
    client.add_bytes(COLUMNS_KEY, columns)
    document["model"] |= {"columns_sha256": hashlib.sha256(columns).hexdigest(), "row_bytes": 8.0 * FEATURES}
    document["plan"], planning = measured(client, lambda: plan_chunks.plan_chunks(client, document))
    plan_content = client.content(document["plan"]["plan_key"])
    items = plan_content.read(0, plan_content.size)
    parts = []
    for chunk in json.loads(items):
        segments = segments_of(client, chunk)
        groups = sum(stop - start for start, stop in (segment["row_groups"] for segment in segments))
        part = Pages(10**5 + chunk["chunk_index"], ["prediction"], groups, rows, 8 * rows)
        parts.append(part)
        etag = client.add(chunk["output_s3_uri"].removeprefix(f"s3://{BUCKET}/"), part)
        receipt = receipt_of(chunk, segments, part, etag, "row_groups", FEATURES * page_bytes)
        client.add_bytes(chunk["receipt_s3_uri"].removeprefix(f"s3://{BUCKET}/"), json.dumps(receipt).encode())
    document["output"], merging = measured(client, lambda: merge_outputs.merge_outputs(client, document))
    problems = output_problems(client, uri.removeprefix(f"s3://{BUCKET}/"), inputs, parts)
    return figures_of(client, case, document, planning, merging, items, problems)


def output_problems(client: FormulaS3, key: str, inputs: Sequence[Pages], parts: Sequence[Pages]) -> list[str]:
    """Look for the input's and the parts' pages at the places that the output's footer says, in some row groups."""

    def read(start: int, stop: int) -> bytes:
        body: bytes = client.get_object(Bucket=BUCKET, Key=key, Range=f"bytes={start}-{stop - 1}")["Body"].read()
        return body

    groups = list(row_groups_of(read_footer(key, client.content(key).size, read)))
    predictions = [
        (part, group.columns[0].pages[0]) for part in parts for group in row_groups_of(read_footer("", part.size, part.read))
    ]
    if not len(groups) == len(predictions) == len(inputs) * GROUPS:
        return [f"the output has {len(groups)} row groups, not {len(inputs) * GROUPS}"]
    problems = []
    for number in sorted({index * (len(groups) - 1) // (SAMPLED - 1) for index in range(SAMPLED)}):
        own = inputs[number // GROUPS]
        starts = [(own, len(MAGIC) + (number % GROUPS * COLUMNS + place) * own.page_bytes) for place in range(COLUMNS)]
        for place, (column, (source, at)) in enumerate(zip(groups[number].columns, [*starts, predictions[number]], strict=True)):
            start, stop = column.pages
            looked = min(LOOKED_BYTES, stop - start)
            if stop - start != source.page_bytes or read(start, start + looked) != source.read(at, at + looked):
                problems.append(f"column {place} of row group {number} is not where the footer says")
    return problems[:10]
