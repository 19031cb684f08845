"""What counts as equal between a bundle and the model where it was fitted."""

import math

import numpy as np
import pytest

from batch_predict.bundle.plan import BundleError
from batch_predict.local.bundle_trial import _difference


def there(*values, dtype="float64"):
    return {"predictions": [[value] for value in values], "dtype": dtype}


@pytest.mark.parametrize(
    ("here", "answer"),
    [
        ([0.1, 2.5], there(0.1, 2.5)),
        ([None, None, 1.0], there(math.nan, math.inf, 1.0)),
        ([0.1], there(float(np.float32(0.1)), dtype="float32")),  # written as float32 is, in its shortest form
        (["yes", "no"], there("yes", "no", dtype="str")),
        ([1, 0], there(1, 0, dtype="int64")),
        (["True"], there(True, dtype="bool")),
    ],
)
def test_equal_to_the_bit(here, answer):
    assert _difference([[value] for value in here], answer, "predict") == 0


def test_rounding_is_told_and_is_a_share_of_the_columns_largest():
    """The sum of large numbers may be next to zero, and its last digits are the libraries' own."""
    assert _difference([[1e-9 + 1e-13], [1000.0]], there(1e-9, 1000.0), "predict") == pytest.approx(1e-16, rel=0.1)


@pytest.mark.parametrize(
    ("here", "answer", "row"),
    [
        ([0.5, 0.1 + 1e-9], there(0.5, 0.1), "predict of row 2 is 0.100000001 with the bundle, and 0.1 where the model was fitted"),
        ([0.1 + 1e-6], there(float(np.float32(0.1)), dtype="float32"), "predict of row 1 is 0.100001"),
        (["yes"], there("no", dtype="str"), "predict of row 1 is yes with the bundle, and no where"),
        ([None], there(1.0), "predict of row 1 is None with the bundle, and 1.0 where"),
        ([1.0], there(math.inf), "predict of row 1 is 1.0 with the bundle, and inf where"),
        ([1.0], there(math.nan), "predict of row 1 is 1.0 with the bundle, and nan where"),
        ([1.0], there(1.0, 2.0), "predict gives 1 rows of 1 with the bundle, and 2 of 1 where the model was fitted"),
    ],
)
def test_what_differs_is_refused_with_its_row_and_both_values(here, answer, row):
    with pytest.raises(BundleError) as refused:
        _difference([[value] for value in here], answer, "predict")
    assert str(refused.value).startswith(row)
