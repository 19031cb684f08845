"""The statistics of a chunk, counted as the prediction function counts them."""

import json
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa

import prediction_handler as handler
from workflow.distributions import StatisticsSum


def statistics(values: list[float], predicted: list[str], texts: list[str], reasons: list[str]) -> Any:
    """Count some rows as the prediction function does; as many of each column as there are."""
    counted = handler._Statistics(handler._Columns(["x", "text"], {"x": "number", "text": "text"}))
    features = {"x": np.array(values), "text": pa.chunked_array([texts])}
    counted_features = counted._features.count(features, {"x": "number", "text": "text"})
    counted_predictions = counted._predictions.count({"p": np.array(predicted)}, {"p": "class"})
    counted.add(["p"], handler._BlockStatistics(counted_features, counted_predictions, Counter(reasons)))
    return json.loads(json.dumps(counted.result(), allow_nan=False))


def number_statistics(values: Any, *, are_shares: bool = False) -> Any:
    """Return the statistics of one column of numbers."""
    kinds = {"x": handler.SHARE if are_shares else handler.NUMBER}
    return handler.column_statistics([{"x": np.asarray(values, float)}], kinds)["x"]


def sample() -> Any:
    return statistics([1.0, -2.5, 0.0], ["a", "b", "a"], ["t", "u", "t"], ["column 'x': not a number"])


def merged(*parts: Any) -> Any:
    """Return the statistics of chunks together, each of which must be counted."""
    total = StatisticsSum()
    for part in parts:
        total.add(part)
    found: Any = total.result()
    assert found.pop("chunks") == len(parts)
    return found
