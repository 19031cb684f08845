"""Whether a value that was read back from JSON has the shape that the contract gives it.

What lies in S3 may have been cut, damaged or written by a stranger. A shape is a type as `contract.py` writes it:

- a TypedDict: every field must be there, except those that are NotRequired, and no other field may be;
- a list, a dict, a tuple (a list of so many items), a Literal, a union;
- str, int, float, bool, None; `object` is anything. A number must be finite: JSON can spell others;
- an Annotated type: the function in it must agree, too.
"""

import sys
from array import array
from collections.abc import Callable
from functools import cache
from types import NoneType, UnionType
from typing import (
    Annotated,
    Any,
    Literal,
    NotRequired,
    TypeGuard,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

Shape = TypeVar("Shape")
Check = Callable[[Any], bool]
Natural = Annotated[int, lambda number: 0 <= number < 2**64]
"""A merge may read hundreds of millions, so a list of them is checked as a whole, in which True passes for 1."""

LARGEST_FLOAT = sys.float_info.max


def conforms(value: object, shape: type[Shape]) -> TypeGuard[Shape]:
    """Whether a value has a shape."""
    return _check_of(cast("Any", shape))(value)


@cache
def _check_of(shape: Any) -> Check:
    """Return the function that checks a shape; it is kept, because a plan may list a million values of one shape."""
    if is_typeddict(shape):
        return _check_of_document(shape)
    parts, origin = get_args(shape), get_origin(shape)
    if origin is Literal and len(parts) == 1:
        return lambda value: type(value) is type(parts[0]) and value == parts[0]
    if origin is Literal:
        return lambda value: any(type(value) is type(part) and value == part for part in parts)
    if origin is Annotated:
        return _annotated(parts[0], parts[1])
    if shape == list[Natural]:
        return _are_natural
    return _COMPOSED[origin](*map(_check_of, parts)) if origin else _PLAIN[shape]


def _annotated(shape: Any, further: Check) -> Check:
    if shape is int:
        return lambda value: type(value) is int and further(value)
    check = _check_of(shape)
    return lambda value: check(value) and further(value)


def _check_of_document(shape: Any) -> Check:
    hints = get_type_hints(shape, include_extras=True)
    required = {name for name, hint in hints.items() if get_origin(hint) is not NotRequired}
    checks = {name: _check_of(hint if name in required else get_args(hint)[0]) for name, hint in hints.items()}

    def check(value: Any) -> bool:
        if not (type(value) is dict and required <= value.keys() <= checks.keys()):
            return False
        for name, part in value.items():  # noqa: SIM110 - faster than `all`, and a merge may check two million columns
            if not checks[name](part):
                return False
        return True

    return check


def _list_of(item: Check) -> Check:
    return lambda value: type(value) is list and all(map(item, value))


def _are_natural(value: Any) -> bool:
    if type(value) is not list:
        return False
    try:
        array("Q", value)
    except (TypeError, OverflowError):
        return False
    return True


def _tuple_of(*items: Check) -> Check:
    return lambda value: (
        type(value) is list and len(value) == len(items) and all(item(part) for item, part in zip(items, value, strict=True))
    )


def _dict_of(key: Check, item: Check) -> Check:
    return lambda value: type(value) is dict and all(map(key, value)) and all(map(item, value.values()))


def _any_of(*choices: Check) -> Check:
    def check(value: Any) -> bool:
        for choice in choices:  # noqa: SIM110 - likewise
            if choice(value):
                return True
        return False

    return check


_COMPOSED: dict[Any, Callable[..., Check]] = {
    list: _list_of,
    tuple: _tuple_of,
    dict: _dict_of,
    Union: _any_of,
    UnionType: _any_of,
}
_PLAIN: dict[Any, Check] = {
    str: lambda value: type(value) is str,
    bool: lambda value: type(value) is bool,
    int: lambda value: type(value) is int,  # which True is not
    float: lambda value: type(value) in (int, float) and abs(value) <= LARGEST_FLOAT,
    NoneType: lambda value: value is None,
    object: lambda _: True,
}
