"""What an output of some columns takes against one of all: processor time and bytes to upload, of 23 columns and a linear model.

`python -m benchmarks.columns`; the rounds alternate, and the least time of each counts, because the machine may do other things.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

import prediction_handler
from batch_predict.setup.kernel import local_kernel
from predict_kernel import LIBRARY_VARIABLE

ROWS, COLUMNS, FEATURES, ROUNDS = 400_000, 23, 10, 5
KEPT = {"all": None, '["id"]': ["id"], "[]": []}


def main() -> None:
    """Print a line for each kind of output."""
    if library := local_kernel():
        os.environ[LIBRARY_VARIABLE] = str(library)
    generator = np.random.default_rng(0)
    names = [f"c{number}" for number in range(1, COLUMNS)]
    table = pd.DataFrame(generator.normal(size=(ROWS, COLUMNS - 1)).round(4), columns=names)
    model = Ridge().fit(table[names[:FEATURES]], table[names[-1]])
    with tempfile.TemporaryDirectory() as folder:
        data, output = Path(folder, "in.csv"), Path(folder, "out.csv")
        table.to_csv(data, index_label="id")
        seconds = dict.fromkeys(KEPT, np.inf)
        sizes = {}
        for _ in range(ROUNDS):
            for kind, kept in KEPT.items():
                started = time.process_time()
                sizes[kind] = prediction_handler.score_file(data, output, model, output_columns=kept).bytes
                seconds[kind] = min(seconds[kind], time.process_time() - started)
    for kind in KEPT:
        share, size = seconds[kind] / seconds["all"], sizes[kind] / sizes["all"]
        print(f"{kind:8} {seconds[kind]:.2f} s, {share:.2f} of all; {sizes[kind] / 1e6:.1f} MB to upload, {size:.3f} of all")


if __name__ == "__main__":
    main()
