"""Parquet of many columns of which a model takes few: the prediction function and the joining, beside pandas and polars.

    python -m benchmarks.parquet [--rows 1000000] [--columns 300] [--features 10] [--rounds 2]

"ours" is what the prediction function and the merge do with an S3 that is this disk: a chunk for every two row groups, then the
joining. S3's own copying is left out, because no function does it; the output is put together after the clock has stopped.
Each contestant runs in a process of its own; its output is read by pandas and must have the same predictions.
"""

from __future__ import annotations

import argparse
import importlib
import io
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import output_of, start_module
from benchmarks.memory import peak_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    Work = Callable[[Path, Path, Path, list[str]], dict[str, Any]]

GROUP_ROWS, GROUPS_OF_A_CHUNK = 100_000, 2
PREDICTION = "prediction"


class DiskS3:
    """What the prediction function asks of S3, for files; it counts the bytes that are read of the data, and all that pass."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.read, self.passed = folder, 0, 0

    def head_object(self, Key: str, **_: Any) -> dict[str, Any]:  # noqa: N803  # as S3 calls it
        return {"ETag": '"1"', "ContentLength": (self.folder / Key).stat().st_size}

    def get_object(self, Key: str, Range: str = "", **_: Any) -> dict[str, Any]:  # noqa: N803
        path = self.folder / Key
        size = path.stat().st_size
        start, stop = (int(edge) for edge in Range.removeprefix("bytes=").split("-")) if Range else (0, size - 1)
        content = self.bytes_of(path, start, stop + 1)
        body = _Body(content)
        answer = {"Body": body, "ETag": '"1"', "ContentLength": len(content)}
        return answer | ({"ContentRange": f"bytes {start}-{stop}/{size}"} if Range else {})

    def put_object(self, Key: str, Body: Any, **_: Any) -> dict[str, Any]:  # noqa: N803
        content = Body if isinstance(Body, bytes) else Body.read()
        self.passed += len(content)
        (self.folder / Key).write_bytes(content)
        return {"ETag": '"1"'}

    def bytes_of(self, path: Path, start: int, stop: int) -> bytes:
        with path.open("rb") as file:
            content = os.pread(file.fileno(), stop - start, start)
        self.read += len(content) if path.name == "data.parquet" else 0
        self.passed += len(content)
        return content


class _Body(io.BytesIO):
    def iter_chunks(self, size: int) -> Any:
        return iter(lambda: self.read(size), b"")


def ours(data: Path, model: Path, output: Path, features: list[str]) -> dict[str, Any]:
    """Score chunk after chunk, then join."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    import prediction_handler  # noqa: PLC0415

    groups = pq.read_metadata(data).num_row_groups
    s3: Any = DiskS3(data.parent)
    event = {
        "model_s3_uri": f"s3://bucket/{model.name}",
        "data_s3_uri": f"s3://bucket/{data.name}",
        "prediction_column_name": PREDICTION,
        "feature_columns": features,
        "data_etag": '"1"',
    }
    prediction_handler._cached_model(s3, event)  # noqa: SLF001
    s3.passed = 0
    cpu = time.process_time()
    parts = []
    for start in range(0, groups, GROUPS_OF_A_CHUNK):
        parts.append(data.with_name(f"{output.stem}-{start:05d}.parquet"))
        chunk = {"output_s3_uri": f"s3://bucket/{parts[-1].name}", "row_groups": [start, min(start + GROUPS_OF_A_CHUNK, groups)]}
        prediction_handler.predict_chunk(s3, event | chunk)
    figures: dict[str, Any] = {"score_cpu": time.process_time() - cpu, "peak": peak_bytes()}
    try:
        footer, joining = (importlib.import_module(f"workflow.parquet.{name}") for name in ("footer", "joining"))
    except ModuleNotFoundError:
        return figures | {"read": s3.read, "passed": s3.passed}
    cpu = time.process_time()

    def source(path: Path) -> Any:
        def read(start: int, stop: int) -> bytes:
            return s3.bytes_of(path, start, stop)  # type: ignore[no-any-return]

        return joining.Source(footer.read_footer(str(path), path.stat().st_size, read), '"1"', read)

    joined = joining.join([source(data)], [source(part) for part in parts])
    s3.passed += len(joined.tail)
    figures |= {"join_cpu": time.process_time() - cpu, "read": s3.read, "passed": s3.passed}
    with output.open("wb") as written:
        for piece in joined.pieces:
            with Path(piece.uri).open("rb") as file:
                file.seek(piece.start)
                left = piece.stop - piece.start
                while left:
                    left -= written.write(file.read(min(left, 1 << 24)))
        written.write(joined.tail)
    return figures


def pandas(data: Path, model: Path, output: Path, features: list[str]) -> dict[str, Any]:
    """Do it as the documentation does."""
    import joblib  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    estimator = joblib.load(model)
    cpu = time.process_time()
    frame = pd.read_parquet(data)
    frame[PREDICTION] = estimator.predict(frame[features])
    frame.to_parquet(output, compression="zstd")
    return {"score_cpu": time.process_time() - cpu, "peak": peak_bytes()}


def polars(data: Path, model: Path, output: Path, features: list[str]) -> dict[str, Any]:
    """Scan, predict batch by batch, and sink."""
    import joblib  # noqa: PLC0415
    import polars as pl  # noqa: PLC0415

    estimator = joblib.load(model)

    def predict(batch: pl.DataFrame) -> pl.DataFrame:
        return batch.with_columns(pl.Series(PREDICTION, estimator.predict(batch.select(features)), pl.Float64))

    cpu = time.process_time()
    frame = pl.scan_parquet(data)
    schema: dict[str, Any] = {**frame.collect_schema(), PREDICTION: pl.Float64}
    frame.map_batches(predict, schema=schema, streamable=True).sink_parquet(output)
    return {"score_cpu": time.process_time() - cpu, "peak": peak_bytes()}


CONTESTANTS: dict[str, Work] = {"ours": ours, "pandas": pandas, "polars": polars}


def make(folder: Path, rows: int, columns: int, features: list[str]) -> None:
    """Write the data, a third of them integers, and a model of its features."""
    import joblib  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415
    from sklearn.linear_model import Ridge  # noqa: PLC0415
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    random = np.random.default_rng(0)
    schema = pa.schema([(f"c{place:03d}", pa.float64() if place % 3 else pa.int64()) for place in range(columns)])
    with pq.ParquetWriter(folder / "data.parquet", schema, compression="zstd") as writer:
        for start in range(0, rows, GROUP_ROWS):
            size = min(GROUP_ROWS, rows - start)
            arrays = [random.normal(size=size) if place % 3 else random.integers(0, 1000, size) for place in range(columns)]
            writer.write_table(pa.table(arrays, schema=schema), row_group_size=size)
    frame = pd.DataFrame(random.normal(size=(1000, len(features))), columns=features)
    joblib.dump(make_pipeline(StandardScaler(), Ridge()).fit(frame, frame.sum(axis=1)), folder / "model.joblib")


def main() -> int:
    """Measure; the exit status is 1 if outputs differ."""
    if len(sys.argv) > 1 and sys.argv[1] in CONTESTANTS:
        name, data, model, output, *features = sys.argv[1:]
        print(json.dumps(CONTESTANTS[name](Path(data), Path(model), Path(output), features)))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.parquet", description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (("rows", 1_000_000), ("columns", 300), ("features", 10), ("rounds", 2)):
        parser.add_argument(f"--{name}", type=int, default=default)
    wanted = parser.parse_args()
    features = [f"c{place * wanted.columns // wanted.features + place % 3:03d}" for place in range(wanted.features)]
    with tempfile.TemporaryDirectory() as name:
        return _compare(Path(name), wanted, features)


def _compare(folder: Path, wanted: argparse.Namespace, features: list[str]) -> int:
    make(folder, wanted.rows, wanted.columns, features)
    data, model = folder / "data.parquet", folder / "model.joblib"
    size = data.stat().st_size
    print(f"{wanted.rows} rows of {wanted.columns} columns, {size} bytes; {wanted.features} of them are features")
    best: dict[str, dict[str, Any]] = {}
    are_equal = True
    for _ in range(wanted.rounds):
        for contestant in CONTESTANTS:
            output = folder / f"{contestant}.parquet"
            found = output_of(start_module("parquet", contestant, data, model, output, *features))
            found["cpu"] = found["score_cpu"] + found.get("join_cpu", 0)
            best[contestant] = min(best.get(contestant, found), found, key=lambda figures: float(figures["cpu"]))
            are_equal = are_equal and (not output.exists() or _is_equal(output, data, model, features))
            for path in folder.glob(f"{contestant}*"):
                path.unlink()
    for contestant, figures in best.items():
        print(contestant, {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()})
    mine = best["ours"]
    for contestant in ("pandas", "polars"):
        ratio, memory = best[contestant]["cpu"] / mine["cpu"], mine["peak"] / best[contestant]["peak"]
        print(f"{contestant} takes {ratio:.1f} times the processor time; ours takes {memory:.2f} of its memory")
    print(f"read of the data: {mine['read'] / size:.2%}; through the functions: {mine['passed'] / size:.2%}")
    print("outputs are equal" if are_equal else "OUTPUTS DIFFER")
    return not are_equal


def _is_equal(output: Path, data: Path, model: Path, features: list[str]) -> bool:
    import joblib  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    found = pd.read_parquet(output, columns=[PREDICTION, features[-1]])
    frame = pd.read_parquet(data, columns=features)
    expected = joblib.load(model).predict(frame)
    return bool(np.allclose(found[PREDICTION], expected, rtol=1e-9) and np.array_equal(found[features[-1]], frame[features[-1]]))


if __name__ == "__main__":
    sys.exit(main())
