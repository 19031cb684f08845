"""Ways to damage what the functions read: JSON documents in their shape or in their bytes, and any bytes."""

import json
import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

SLOW = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)
fuzzed = settings(max_examples=settings.default.max_examples // 3, suppress_health_check=SLOW)
fuzzed_runs = settings(max_examples=settings.default.max_examples // 6, suppress_health_check=SLOW)
"""Fewer cases than of the other properties: there are many tests of them, and those of the second kind run whole functions."""

DEEP = []
for _ in range(90):
    DEEP = [DEEP]

ODD = st.one_of(
    st.sampled_from(
        [
            *(None, True, False, 0, -1, 1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, math.inf, -math.inf, math.nan),
            *("", " ", "\0", "\ud800", "é", "x" * 10_000, "%d{}", "../..", "a\r\nb", "None", "0"),
            *("s3://", "s3://bucket", "s3://bucket/", "s3://bucket/no such key", "s3://a..b/k", "s3://bucket/\ud800"),
            "s3://no-bucket-x/k",
            *("s3://bucket/a\0b", "s3://bucket/" + "k" * 1100, "s3://-b-/k", "s3://bucket/in/*", "s3://bucket/../k"),
            "s3://127.0.0.1/k",
            *([], [None], [0], [0, 1], [1, 0], [0, 10**400], [0, math.nan], [""], ["a", "a"], [[]], {}, {"": None}),
            {"a": {"b": []}},
            DEEP,
        ]
    ),
    st.integers(-10, 10),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.recursive(st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=3), lambda inner: st.lists(inner, max_size=3)),
)  # fmt: skip
"""Values that stand where others should."""


def paths(document, path=()):
    """Every place in a document, the whole first."""
    inside = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    return [path, *(place for key, value in inside for place in paths(value, (*path, key)))]


def _changed(document, path, change):
    whole = json.loads(json.dumps([document]))
    parent = whole
    for key in (path and (0, *path[:-1])) or ():
        parent = parent[key]
    change(parent, path[-1] if path else 0)
    return whole[0] if whole else None


@st.composite
def misshapen(draw, document):
    """A document with one to three places replaced, removed, doubled or added to."""
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(paths(document)))
        kind = draw(st.sampled_from(["replace", "replace", "replace", "remove", "add", "double"]))
        odd = draw(ODD)

        def change(parent, key, kind=kind, odd=odd):
            if kind == "replace" or (kind == "add" and not isinstance(parent[key], (dict, list))):
                parent[key] = odd
            elif kind == "remove":
                del parent[key]
            elif kind == "add" and isinstance(parent[key], dict):
                parent[key]["unknown" if isinstance(odd, (list, dict, float)) else str(odd)] = odd
            elif isinstance(parent[key], list):
                parent[key] += parent[key] if kind == "double" else [odd]

        document = _changed(document, path, change)
    return document


@st.composite
def damaged_bytes(draw, whole):
    """Bytes cut off, flipped, replaced, inserted, repeated."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, len(data)))
        kind = draw(st.sampled_from(["cut", "flip", "set", "insert", "repeat", "drop"]))
        if kind == "cut":
            del data[place:]
        elif kind == "drop":
            del data[place : place + draw(st.integers(1, 50))]
        elif kind == "insert":
            nasty = [b'"', b",", b"\r", b"\n", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xed\xa0\x80", b'""', b"x" * 70_000, b"," * 300]
            data[place:place] = draw(st.sampled_from(nasty) | st.binary(max_size=8))
        elif kind == "repeat":
            data[place:place] = data[place : place + draw(st.integers(1, 200))]
        elif place < len(data):
            data[place] = data[place] ^ (1 << draw(st.integers(0, 7))) if kind == "flip" else draw(st.integers(0, 255))
    return bytes(data)


def damaged_json(document):
    """A JSON object in S3 that is another, or none."""
    text = json.dumps(document).encode()
    return st.one_of(
        misshapen(document).map(lambda value: json.dumps(value).encode()),
        misshapen(document).map(lambda value: json.dumps(value).encode()),
        damaged_bytes(text),
        st.sampled_from([b"", b"null", b"[]", b"{}", b"0", b'""', b"[" * 100_000, b"[" * 900 + b"]" * 900, b"1" * 5000]),
        st.sampled_from([b"\xef\xbb\xbf" + text, text.decode().encode("utf-16"), text + b"\n", text + text]),
        st.sampled_from([b"[1e999]", b'{"a": -Infinity}', b"\xff\xfe", b"NaN"]),
    )  # fmt: skip
