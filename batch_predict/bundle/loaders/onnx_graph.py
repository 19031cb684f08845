"""Loads an ONNX graph of a table's columns, as skl2onnx and onnxmltools write them, and runs it by onnxruntime on one thread.

It takes one matrix, or columns side by side in several inputs. Most such graphs compute in float32.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime

if TYPE_CHECKING:
    from collections.abc import Iterator

FLOATS = {"tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16}
INTEGERS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}
OTHERS = {"tensor(string)": object, "tensor(bool)": np.bool_}
TYPES: dict[str, Any] = {**FLOATS, **INTEGERS, **OTHERS}
STATED = {**dict.fromkeys(FLOATS, "number"), **dict.fromkeys(INTEGERS, "integer"), "tensor(string)": "text"}


def load(path: str) -> Any:
    """Return the estimator that a file holds; ValueError if it takes anything else than columns."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    for one in session.get_inputs():
        if one.type not in TYPES or len(one.shape) not in (1, 2) or (len(one.shape) == 2 and not isinstance(one.shape[1], int)):
            is_wide = one.type in TYPES and len(one.shape) == 2 and len(session.get_inputs()) == 1
            if not is_wide:
                raise ValueError(f"the ONNX graph takes {one.name}, a {one.type} of shape {one.shape}, and no columns of a table")
    outputs = session.get_outputs()
    classes = _classes(Path(path).read_bytes()) if outputs[0].type in ("tensor(int64)", "tensor(string)") else None
    if classes is not None and _gives_shares(outputs[1:], len(classes)):
        return Classifier(session, classes)
    return Graph(session)


def _gives_shares(outputs: list[Any], n_classes: int) -> bool:
    """Tell whether the outputs behind the label are a probability for each class."""
    if len(outputs) == n_classes and all(len(one.shape) == 1 and one.type in FLOATS for one in outputs):
        return True
    is_matrix = len(outputs) == 1 and outputs[0].type in FLOATS and outputs[0].shape[1:] in ([n_classes], [None])
    return is_matrix or (len(outputs) == 1 and outputs[0].type.startswith("seq(map("))


class Graph:
    """A graph whose first output is the prediction."""

    def __init__(self, session: Any) -> None:
        self._session = session
        self._inputs = session.get_inputs()
        self._outputs = [one.name for one in session.get_outputs()]
        widths = [one.shape[1] if len(one.shape) == 2 else 1 for one in self._inputs]
        if all(isinstance(width, int) for width in widths):
            self.n_features_in_ = sum(widths)
            self.column_types_ = [
                STATED.get(one.type, "any") for one, width in zip(self._inputs, widths, strict=True) for _ in range(width)
            ]
        if len(widths) > 1 and set(widths) == {1}:
            self.feature_names_in_ = np.array([one.name for one in self._inputs], dtype=object)

    def predict(self, features: Any) -> Any:
        """Predict the rows of a DataFrame."""
        predicted = self._run(features, self._outputs[:1])[0]
        return predicted[:, 0] if predicted.ndim == 2 and predicted.shape[1] == 1 else predicted

    def _run(self, features: Any, outputs: list[str]) -> list[Any]:
        if features.shape[1] != getattr(self, "n_features_in_", features.shape[1]):
            raise ValueError(f"the number of features is {features.shape[1]}, and the graph takes {self.n_features_in_}")
        given, start = {}, 0
        for one in self._inputs:
            width = one.shape[1] if len(one.shape) == 2 and isinstance(one.shape[1], int) else 1
            width = features.shape[1] if len(self._inputs) == 1 else width
            values = _values(features.iloc[:, start : start + width], one.type)
            given[one.name] = values if len(one.shape) == 2 else values[:, 0]
            start += width
        found: list[Any] = self._session.run(outputs, given)
        return found


def _values(columns: Any, kind: str) -> Any:
    """Return columns as an input takes them; ValueError for what is missing where ONNX has no missing value."""
    if kind in FLOATS:
        return columns.to_numpy(TYPES[kind])
    if columns.isna().to_numpy().any():
        raise ValueError("a value is missing where the graph takes integers, texts or booleans, which ONNX has no missing value of")
    if kind == "tensor(string)":
        return columns.astype(str).to_numpy(object)
    values = columns.to_numpy()
    made = values.astype(TYPES[kind])
    if (made != values).any():
        raise ValueError("a number is not an integer, or is too large, and the graph takes integers there")
    return made


class Classifier(Graph):
    """A graph whose first output is a label, and whose others are the probabilities of the classes."""

    def __init__(self, session: Any, classes: list[Any]) -> None:
        super().__init__(session)
        self.classes_ = np.array(classes)

    def predict_proba(self, features: Any) -> Any:
        """Return each class's probability."""
        found = self._run(features, self._outputs[1:])
        if len(found) > 1:
            return np.column_stack(found)
        if isinstance(found[0], list):  # a dict for each row
            labels = self.classes_.tolist()
            return np.array([[row[label] for label in labels] for row in found[0]], dtype=np.float32).reshape(-1, len(labels))
        return found[0]


# --- the classes, which onnxruntime does not tell ---------------------------------------------------------------------------------


def _classes(content: bytes) -> list[Any] | None:
    """Return the labels that the last node with labels lists: the model's graph is field 7, its nodes 1, their attributes 5.

    https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
    """
    found: list[Any] | None = None
    for graph in _fields(content, 7):
        for node in _fields(graph, 1):
            for attribute in _fields(node, 5):
                if next(_fields(attribute, 1), b"").startswith(b"classlabels_"):
                    texts = [text.decode() for text in _fields(attribute, 9)]
                    found = texts or [number for packed in _fields(attribute, 8) for number in _integers(packed)] or found
    return found


def _fields(message: bytes, wanted: int) -> Iterator[bytes]:
    """Yield the fields of a number in a message of protobuf; a number alone comes as it is encoded."""
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        start, kind = at, key & 7
        if kind == 0:
            _, at = _varint(message, at)
        elif kind == 2:
            length, start = _varint(message, at)
            at = start + length
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            raise ValueError("the ONNX file is broken")
        if key >> 3 == wanted:
            yield message[start:at]


def _integers(packed: bytes) -> Iterator[int]:
    at = 0
    while at < len(packed):
        number, at = _varint(packed, at)
        yield number - 2**64 if number >= 2**63 else number


def _varint(message: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = message[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
