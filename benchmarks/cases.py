"""What is measured: data, models, who competes, and which of them meet."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

PREDICTION_COLUMN = "prediction"


@dataclass(frozen=True)
class Dataset:
    """A generated file; at full scale each has 200 to 250 MB, of JSON Lines 400 MB."""

    name: str
    rows: int
    numbers: int
    """Numeric columns: x000, x001, …"""
    decimals: int
    has_text: bool = False
    """Whether there are an id, a city and a note as well."""
    is_quoted: bool = False
    """Whether 1 % of all fields are quoted, some with line breaks."""
    ending: str = ".csv"
    """Of the file's name; `.jsonl` if it is JSON Lines."""

    @property
    def shape(self) -> str:
        """Datasets of one shape have the same columns, so the same models score them."""
        return "a" if self.has_text else self.name

    @property
    def number_columns(self) -> list[str]:
        return [f"x{position:03d}" for position in range(self.numbers)]

    def scaled(self, scale: float) -> Dataset:
        return replace(self, rows=max(round(self.rows * scale), 1000))

    def features(self, model: str) -> list[str]:
        return ["city", *self.number_columns] if model == "columns" else self.number_columns


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset("a", 1_000_000, numbers=20, decimals=7, has_text=True),
        Dataset("aq", 1_000_000, numbers=20, decimals=7, has_text=True, is_quoted=True),
        Dataset("aj", 1_000_000, numbers=20, decimals=7, has_text=True, ending=".jsonl"),
        Dataset("b", 100_000, numbers=200, decimals=7),
        Dataset("c", 5_000_000, numbers=3, decimals=10),
    )
}

MODELS = {
    "ridge": "StandardScaler, Ridge",
    "columns": "ColumnTransformer (OneHotEncoder on the city, StandardScaler), Ridge",
    "histgb": "HistGradientBoostingRegressor, 100 iterations",
    "forest": "RandomForestRegressor, 100 trees of depth 10",
}

CONTESTANTS = {
    "ours": "the prediction handler",
    "pandas": "read_csv (read_json), predict, to_csv (to_json)",
    "polars": "scan_csv (scan_ndjson), map_batches, sink_csv (sink_ndjson)",
    "floor": "the model on an array in memory, and a copy of the bytes",
}


class Case(NamedTuple):
    data: str
    model: str

    def __str__(self) -> str:
        return f"{self.data} {self.model}"


CASES = (
    Case("a", "ridge"),
    Case("a", "columns"),
    Case("a", "histgb"),
    Case("a", "forest"),
    Case("aq", "ridge"),
    Case("aj", "ridge"),
    Case("aj", "columns"),
    Case("b", "ridge"),
    Case("b", "forest"),
    Case("c", "ridge"),
    Case("c", "histgb"),
    Case("c", "forest"),
)

MEMORY_FILE_BYTES = (16_000_000, 256_000_000, 1_000_000_000)
"""Sizes of which `--memory` measures the handler's peak; their shape is that of *a*."""
