"""The kernel: for the function's processor, and in use in the package."""

import subprocess

from batch_predict.setup import amazon_linux, elf, kernel


def test_it_is_for_the_processor_and_loads_on_lambda(built, tmp_path):
    built_for, _, _ = built
    content = kernel.lambda_kernel(built_for.architecture)
    assert elf.machine(content) == built_for.architecture
    assert 5_000 < len(content) < 80_000
    (tmp_path / kernel.LIBRARY).write_bytes(content)
    amazon_linux.check_links(tmp_path)
    assert elf.needs(content).libraries == ["libm.so.6", "libc.so.6"]


PROGRAM = """
import numpy as np, packed_trees, tree_kernel
from sklearn.ensemble import RandomForestRegressor, HistGradientBoostingRegressor, GradientBoostingClassifier
inputs = np.random.default_rng(0).normal(size=(2000, 5))
for kind in RandomForestRegressor, HistGradientBoostingRegressor, GradientBoostingClassifier:
    model = kind(random_state=0).fit(inputs, inputs.sum(axis=1).round())
    packed = packed_trees.with_packed_trees(model, print)
    print(packed is not model, packed.predict(inputs).tobytes() == model.predict(inputs).tobytes())
"""


def test_the_package_scores_by_it(unpacked, tmp_path):
    done = subprocess.run(
        unpacked.command("-c", PROGRAM), cwd=tmp_path, env=unpacked.environment(), capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["True True"] * 3, done.stderr
