"""The statistics of a chunk, counted as the prediction function counts them."""

import json
from typing import Any

import numpy as np

import prediction_handler as handler


def statistics(values: list[float], predicted: list[str], texts: list[str], reasons: list[str]) -> Any:
    """Count some rows as the prediction function does; as many of each column as there are."""
    block = handler._BlockStatistics(
        handler._measure_numbers([np.array(values)]),
        {"text": handler._count_texts(handler.pa.chunked_array([texts]))},
        None,
        {"p": handler._count_labels(np.array(predicted))},
        handler.Counter(reasons),
    )
    counted = handler._Statistics(handler._Columns(["x", "text"], {"x": "number", "text": "text"}))
    counted.add(["p"], block)
    return json.loads(json.dumps(counted.result(), allow_nan=False))


def sample() -> Any:
    return statistics([1.0, -2.5, 0.0], ["a", "b", "a"], ["t", "u", "t"], ["column 'x': not a number"])
