"""Statistics of chunks, counted by the prediction function itself: one line of JSON for a few chunks of a table.

They are made in a process of their own, because what they need of memory would be taken for the merge's.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

import prediction_handler as handler

VARIANTS = 16
"""Chunks with statistics of their own; the receipts of thousands of chunks repeat them."""
BLOCKS, BLOCK_ROWS = 3, 20_000

Statistics = dict[str, Any]


def main() -> None:
    """Take the number of features."""
    print(json.dumps([statistics_of_chunk(int(sys.argv[1]), seed) for seed in range(VARIANTS)]))


def statistics_of_chunk(features: int, seed: int) -> Statistics:
    """Count random numbers, of five magnitudes, every third column around 1 and not around 0; and a prediction."""
    random = np.random.default_rng(seed)
    names = [f"feature_{index:03}" for index in range(features)]
    blocks = [
        {name: random.normal(float(index % 3 == 0), 10.0 ** (index % 5 - 2), BLOCK_ROWS) for index, name in enumerate(names)}
        for _ in range(BLOCKS)
    ]
    predicted = [{"prediction": random.normal(size=BLOCK_ROWS)} for _ in range(BLOCKS)]
    return {
        "predictions": handler.column_statistics(predicted, {"prediction": handler.NUMBER}),
        "predictions_left_out": 0,
        "features": handler.column_statistics(blocks, dict.fromkeys(names, handler.NUMBER)),
        "features_left_out": 0,
        "rejected_reasons": {},
    }


if __name__ == "__main__":
    main()
