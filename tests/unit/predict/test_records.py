"""Octets that the kernel finds, and records that it joins with predictions, which it prints: every byte as without it."""

import csv
import functools
import io
import random
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import number_kernel
import prediction_handler as handler


@functools.cache
def hard_numbers():
    """Powers of two and ten, short decimals, integers from 2^50 on, the smallest numbers; all with neighbours, of either sign."""
    tens = [float(f"{digits}e{power}") for power in range(-330, 309) for digits in ("1", "1.5", "9", "9.007199254740993")]
    short = [np.arange(4000) / 8, np.arange(4000) / 1000, np.arange(500) * 5e-324]
    short += [2.0**power + 2.0 ** (power - 52) * np.arange(-100, 100) for power in range(50, 75)]  # doubles and nothing between
    numbers = np.concatenate([tens, 2.0 ** np.arange(-1074, 1024), [np.inf, np.nan, np.finfo(float).max], *short])
    with np.errstate(over="ignore"):
        numbers = np.concatenate([numbers, np.nextafter(numbers, np.inf), np.nextafter(numbers, -np.inf)])
    return np.concatenate([numbers, -numbers])


def random_numbers(seed, count):
    """Of any bits, and of the usual sizes."""
    generator = np.random.default_rng(seed)
    rounded = (generator.normal(size=count) * 1000).round(seed % 12)
    return np.concatenate([generator.integers(0, 2**64, count, np.uint64).view(np.float64), generator.normal(size=count), rounded])


def joined(predictions, record=b"\n1,a", kernel=True):
    """The records of a block, one for each row, with their predictions."""
    data = record * len(predictions) + b"\n"
    offsets = (np.arange(len(predictions) + 1) * len(record)).astype(np.int32)
    block = handler._CsvBlock(handler.Header(b"x,y", b"\n", ["x", "y"]), data, offsets, False, ())
    n_outputs = predictions.size // len(predictions)
    own = handler._beside
    with pytest.MonkeyPatch.context() as patch:
        if not kernel:
            patch.setattr(handler, "_beside", lambda name: None if name == "number_kernel" else own(name))
        return bytes(handler._append_predictions(block, np.arange(len(predictions)), predictions, n_outputs))


def assert_joined_the_same(predictions, record=b"\n1,a"):
    with_kernel, without = joined(predictions, record), joined(predictions, record, kernel=False)
    if with_kernel != without:  # pytest would compare megabytes
        pairs = zip(with_kernel.splitlines(), without.splitlines(), strict=True)
        assert not [pair for pair in pairs if pair[0] != pair[1]][:3]


def test_hard_numbers_are_printed_as_without_the_kernel():
    assert_joined_the_same(hard_numbers())


def test_printed_numbers_have_the_digits_of_pythons_repr():
    numbers = np.concatenate([hard_numbers()[::7], random_numbers(1, 1000)])
    numbers = numbers[np.isfinite(numbers)]
    printed = [text for _, _, text in csv.reader(io.StringIO(joined(numbers)[1:].decode()))]
    assert [Decimal(text) for text in printed] == [Decimal(repr(number)) for number in numbers.tolist()]
    assert np.array([float(text) for text in printed]).tobytes() == numbers.tobytes()


@settings(deadline=None)
@given(st.integers(0, 2**64 - 1), st.integers(1, 5), st.sampled_from(["<f8", ">f8", "f4", "f2", "g"]), st.sampled_from("CF"))
def test_predictions_of_any_type_and_shape_are_joined_as_without_the_kernel(seed, columns, dtype, order):
    generator = random.Random(seed)
    some = [*random_numbers(seed, 100), *generator.choices(hard_numbers(), k=100)]
    values = generator.choices(some, k=columns * generator.randint(1, 150))
    with np.errstate(over="ignore", invalid="ignore"):
        predictions = np.asarray(np.reshape(values, (-1, columns)).astype(dtype), order=order)
    record = b"\n" + bytes(generator.choices(b"0123456789,", k=generator.randint(0, 70)))
    assert_joined_the_same(predictions[:, 0] if columns == 1 else predictions, record)


@pytest.mark.thorough
def test_millions_of_numbers_are_printed_as_without_the_kernel():
    for seed in range(30):
        assert_joined_the_same(random_numbers(seed, 100_000))


def test_rows_without_a_prediction_keep_their_places():
    header = handler.Header(b"x", b"\n", ["x"])
    block = handler._CsvBlock(header, b"\n1\n2\n3\n", np.array([0, 2, 4, 6], np.int32), False, ())
    assert bytes(handler._append_predictions(block, np.array([1]), np.array([[0.5, 2.0]]), 2)) == b"\n1,,\n2,0.5,2.0\n3,,"
    assert bytes(handler._append_predictions(block, np.array([], int), None, 1)) == b"\n1,\n2,\n3,"


def test_octets_are_found_at_any_place():
    """Also in the last bytes, and where the search goes on in another piece."""
    generator = np.random.default_rng(0)
    for size in [*range(1, 200), 1 << 18, (1 << 18) + 1, 600_000]:
        data = generator.choice(np.frombuffer(b",\n\x00\xac\xff-", np.uint8), size)
        for octet in b",\n\xff":
            assert number_kernel.find(data.tobytes(), octet).tolist() == np.flatnonzero(data == octet).tolist()
