"""Writes a fitted model as numbers, and reads it again without its library: what Probe Model stores for the chunks of its run.

The format is our own, and holds no code: a line that names it, the length of a JSON document, the document, and the arrays that it
refers to, as they lie in memory. Whoever reads it has checked its SHA-256 first.
"""

from __future__ import annotations

import functools
import json
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from stored_boosters import BOOSTERS
from stored_steps import PREDICTORS, NotStoredError
from stored_transforms import TRANSFORMERS
from tree_kernel import Array, Layout, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from stored_steps import Step

MAGIC = b"batch-predict model 1\n"
"""With the format's version. Whatever else may differ is in the facts: model, libraries, deployment."""
ALIGNMENT = 64
"""Bytes at whose multiples arrays begin."""
MAX_BYTES = 2**28
"""Of a stored model: a larger one is read as it was pickled."""


class Stored(NamedTuple):
    """A model as it is read again."""

    estimator: Any
    facts: dict[str, Any]
    differences: tuple[str, ...]


def require_size(response: dict[str, Any]) -> None:
    """Refuse S3's answer about an object that is too large for a stored model."""
    if response["ContentLength"] > MAX_BYTES:
        raise ValueError(f"{response['ContentLength']} bytes")


def checked(model: Stored, scorer: Any, scorer_of: Callable[[Stored], Any], table: pa.Table) -> bytes:
    """Return a model as bytes; NotStoredError if it has steps that are not known, or scores rows differently when it is read again.

    The rows are those of a table, all of which the model takes, and others that are made of its values: mixed by columns, few
    or many, with missing ones. If the model refuses some of these, the stored one must raise an error, too. Scorers are
    the prediction handler's.
    """
    content = written(model)
    own = scorer_of(read(content))
    if _told(own) != _told(scorer) or (own.given, scorer.given) not in (
        (scorer.given, scorer.given),
        ("table", "frame"),
        ("table", "values"),
    ):
        raise NotStoredError("expects other columns by its numbers alone")
    expected = _answer(scorer, table)
    is_equal = expected is not None and _answer(own, table) == expected
    if not (is_equal and all(_answer(own, rows) in (None, _answer(scorer, rows)) for rows in _made_of(table))):
        raise NotStoredError("answers differently by its numbers alone")
    return content


def _told(scorer: Any) -> Any:
    examples = {name: repr(value) for name, value in scorer.examples.items()}
    has_classes = getattr(scorer.estimator, "classes_", None) is not None
    return scorer.columns, examples, [scorer.output_names(count) for count in (None, 1, 2, 3)], has_classes


def _answer(scorer: Any, table: pa.Table) -> Any:
    """Return the bits of predictions; None if the rows are refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the model's own warnings have been seen when the probe has scored
        try:
            found = scorer.predict(table)
        except Exception:  # noqa: BLE001  # models raise what they like
            return None
    return found.dtype.str, found.shape, found.tolist() if found.dtype == object else found.tobytes()


def _made_of(table: pa.Table) -> Iterator[pa.Table]:
    random, names = np.random.default_rng(0), table.column_names
    mixed = pa.table([column.take(pa.array(random.permutation(len(table)))) for column in table.columns], names)
    yield from (mixed[:rows] for rows in (len(table), 1, 2, 3, 17))
    yield pa.table([pc.if_else(pa.array(random.random(len(table)) < 0.1), None, column) for column in mixed.columns], names)


def written(model: Stored) -> bytes:
    """Return a model as bytes, equal for equal models; NotStoredError if it has more than numbers, or steps that are not known."""
    arrays = _Arrays()
    described = {"estimator": arrays.described(model.estimator), "facts": model.facts, "differences": list(model.differences)}
    document = json.dumps({**described, "arrays": arrays.places}, sort_keys=True, separators=(",", ":")).encode()
    head = MAGIC + len(document).to_bytes(8, "little") + document
    content = b"".join([head, bytes(-len(head) % ALIGNMENT), *arrays.pieces])
    if len(content) > MAX_BYTES:
        raise NotStoredError(f"has {len(content)} bytes")
    return content


def read(content: bytes) -> Stored:
    """Return the model; any error means that these bytes are none."""
    if not content.startswith(MAGIC):
        raise ValueError("no stored model of this version")
    start = len(MAGIC) + 8
    stop = start + int.from_bytes(content[len(MAGIC) : start], "little")
    document = json.loads(content[start:stop])
    first = stop + -stop % ALIGNMENT
    arrays = [_array(content, first, *place) for place in document["arrays"]]
    return Stored(_restored(document["estimator"], arrays), document["facts"], tuple(document["differences"]))


class _Arrays:
    """The arrays of a model, one behind the other."""

    def __init__(self) -> None:
        self.places: list[tuple[Any, list[int], str, int]] = []
        """Of each: its type, its shape, the order of its axes, and where it begins."""
        self.pieces: list[bytes] = []
        self._size = 0

    def described(self, value: Any) -> Any:  # noqa: PLR0911  # a kind of value each
        """Return a value as JSON that refers to arrays: what JSON does not know is an object with its name."""
        if value is None or type(value) in (bool, int, float, str):
            return value
        if isinstance(value, list):
            return [self.described(item) for item in value]
        if isinstance(value, (Layout, tuple)):
            return {"layout" if isinstance(value, Layout) else "tuple": [self.described(item) for item in value]}
        if isinstance(value, dict):
            return {"dict": {str(name): self.described(item) for name, item in value.items()}}
        if isinstance(value, slice):
            return {"slice": [self.described(item) for item in (value.start, value.stop)]}
        if isinstance(value, np.generic):
            return {"scalar": self._kept(np.asarray(value))}
        if isinstance(value, np.ndarray):
            return self._described_array(value)
        kind, numbers = _numbers_of(value)
        return {"step": kind, "numbers": {name: self.described(item) for name, item in numbers.items()}}

    def _described_array(self, array: Array) -> Any:
        if array.dtype != object:
            return {"array": self._kept(array)}
        if array.ndim != 1 or not all(type(item) in (int, float, str) for item in array):
            raise NotStoredError("has an array of objects")
        return {"objects": array.tolist()}

    def _kept(self, array: Array) -> int:
        if array.dtype.kind not in "biufUV" or array.dtype.hasobject:
            raise NotStoredError(f"has an array of {array.dtype}")
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        piece = array.tobytes(order)  # type: ignore[arg-type]
        self.places.append((array.dtype.descr if array.dtype.names else array.dtype.str, list(array.shape), order, self._size))
        piece += bytes(-len(piece) % ALIGNMENT)
        self.pieces.append(piece)
        self._size += len(piece)
        return len(self.places) - 1


def _array(content: bytes, first: int, kind: Any, shape: list[int], order: Any, place: int) -> Array:
    dtype = np.dtype(kind if isinstance(kind, str) else [tuple(field) for field in kind])
    if dtype.hasobject:
        raise ValueError("an array of objects")
    return np.frombuffer(content, dtype, int(np.prod(shape, dtype=np.int64)), first + place).reshape(shape, order=order)


def _restored(value: Any, arrays: list[Array]) -> Any:
    """Return what a description describes."""
    if isinstance(value, list):
        return [_restored(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    if "step" in value:
        return _class_of(value["step"])({name: _restored(item, arrays) for name, item in value["numbers"].items()})
    ((name, item),) = value.items()
    if name == "layout":
        return Layout(*(_restored(part, arrays) for part in item))
    readers: dict[str, Callable[[], Any]] = {
        "dict": lambda: {name: _restored(part, arrays) for name, part in item.items()},
        "slice": lambda: slice(*_restored(item, arrays)),
        "array": lambda: arrays[item],
        "scalar": lambda: arrays[item][()],
        "objects": lambda: np.array(item, object),
        "tuple": lambda: tuple(_restored(item, arrays)),
    }
    return readers[name]()


_KINDS = PREDICTORS | BOOSTERS | TRANSFORMERS


def _numbers_of(estimator: Any) -> tuple[str, dict[str, Any]]:
    """Return an estimator's kind and its numbers; NotStoredError if it is of no known kind."""
    kind = kind_of(estimator)
    if kind not in _KINDS:
        raise NotStoredError(f"has a {type(estimator).__name__}")
    return kind, _KINDS[kind].numbers_of(estimator)


@functools.cache
def _class_of(kind: str) -> type[Step]:
    """Return the class of what stands for estimators of a kind: by its module and name, it is theirs."""
    module, _, name = kind.rpartition(".")
    return type(name, (_KINDS[kind],), {"__module__": module})
