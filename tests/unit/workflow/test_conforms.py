"""Values of JSON held to shapes as the contract writes them."""

from __future__ import annotations

from typing import Annotated, Literal, NotRequired, TypedDict

import pytest

from workflow.conforms import Natural, conforms


class Inner(TypedDict):
    number: float


class Shape(TypedDict):
    name: str
    inner: Inner | None
    pair: NotRequired[Annotated[list[int], lambda edges: len(edges) == 2]]


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ({"name": "é", "inner": None}, Shape),
        ({"name": "", "inner": {"number": 1}, "pair": [0, 1]}, Shape),
        ([], list[Shape]),
        ({"a": [1, None]}, dict[str, tuple[int, int | None]]),
        ("no", Literal["yes", "no"]),
        (1.5, float),
        ([], list[Natural]),
        ([0, 2**64 - 1], list[Natural]),
        ([[{}]], object),
    ],
)
def test_a_value_of_the_shape_conforms(value, shape):
    assert conforms(value, shape)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        *((value, Shape) for value in (None, [], "name", {}, {"name": "a"}, {"name": 1, "inner": None})),
        ({"name": "a", "inner": {}}, Shape),
        ({"name": "a", "inner": {"number": "1"}}, Shape),
        ({"name": "a", "inner": None, "other": 1}, Shape),
        *(({"name": "a", "inner": None, "pair": pair}, Shape) for pair in (None, [1], [1, 2, 3], [1, "2"], {"0": 1, "1": 2})),
        ({"0": 1}, list[int]),
        *((value, list[Natural]) for value in ({"0": 1}, (1,), [1, -1], [1.0], ["1"], [None], [2**64], [[1]])),
        ([1], dict[str, int]),
        ({"a": [1]}, dict[str, tuple[int, int | None]]),
        ("perhaps", Literal["yes", "no"]),
        ([], Literal["yes", "no"]),
        (True, int),
        (1.0, int),
        (1, bool),
        (1, Literal[True]),
        *((value, float) for value in (float("nan"), float("inf"), 10**400, True, "1")),
    ],
)
def test_another_value_does_not(value, shape):
    assert not conforms(value, shape)
