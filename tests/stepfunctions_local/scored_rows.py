"""Rows, a model, and what it must make of them."""

from __future__ import annotations

import io

import joblib
import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeRegressor

ROWS = 1500
"""More than Probe Model reads, so that a bad row can be beyond it."""
BAD_ROW = 1400
HEADER = b"id,note,x,y\n"


def rows() -> list[bytes]:
    return [f'{number:06},"a ""note"",\nof two lines",{number % 100},{number % 13}\n'.encode() for number in range(ROWS)]


def good() -> bytes:
    return HEADER + b"".join(rows())


def bad() -> bytes:
    """Return the same with a row that cannot be scored."""
    records = rows()
    records[BAD_ROW] = b'001400,"bad",zwei,1\n'
    return HEADER + b"".join(records)


def tree() -> DecisionTreeRegressor:
    """Return a model whose predictions do not depend on what is scored together."""
    frame = pd.DataFrame({"x": range(100), "y": [(7 * x) % 13 for x in range(100)]})
    return DecisionTreeRegressor(max_depth=6, random_state=0).fit(frame, frame.x * 1.5 + frame.y / 3)


def tree_bytes() -> bytes:
    buffer = io.BytesIO()
    joblib.dump(tree(), buffer)
    return buffer.getvalue()


def scored() -> bytes:
    """Return the output that the good rows must have: the oracle, by the model itself."""
    numbers = np.arange(ROWS)
    predictions = tree().predict(pd.DataFrame({"x": numbers % 100, "y": numbers % 13}))
    lines = [row.rstrip(b"\n") + f",{float(value)!r}\n".encode() for row, value in zip(rows(), predictions, strict=True)]
    return HEADER.rstrip(b"\n") + b",prediction\n" + b"".join(lines)
