"""The kernel as other compilers' options and another processor run it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier

import packed_trees
import predict_kernel
import tree_kernel
from batch_predict.setup import kernel

TESTS = Path(__file__).with_name("test_packed_trees.py")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_no_sanitizer_finds_fault(tmp_path):
    """Under AddressSanitizer and UndefinedBehaviorSanitizer; a test proves that they look."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("its sanitizers need gcc")
    asked = [[compiler, f"-print-file-name=lib{name}.so"] for name in ("asan", "ubsan")]
    runtimes = [subprocess.check_output(command, text=True).strip() for command in asked]
    library = tmp_path / kernel.LIBRARY
    environment = {
        **os.environ,
        predict_kernel.LIBRARY_VARIABLE: str(library),
        "LD_PRELOAD": " ".join(runtimes),
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={tmp_path / 'found'}",
    }

    def run(*sources):
        subprocess.run([compiler, *kernel.FLAGS, *SANITIZERS, "-shared", *map(str, sources), "-o", str(library)], check=True)
        words = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not thorough", "-k", "bits or bit or kernels or blocks or categories"]
        command = [sys.executable, "-m", "pytest", *words, f"--basetemp={tmp_path / 'inner'}", str(TESTS)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run(*kernel.sources())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
    source, faulty = kernel.FOLDER / "packed_trees.c", tmp_path / "faulty.c"
    right = "(size_t)trees->n_columns * RANKED_ROWS + 1"
    assert source.read_text().count(right) == 1
    faulty.write_text(source.read_text().replace(right, "(size_t)trees->n_columns * RANKED_ROWS - 1"))
    assert run(faulty, *(path for path in kernel.sources() if path != source)).returncode
    assert "heap-buffer-overflow" in "".join(path.read_text() for path in tmp_path.glob("found.*"))


PROGRAM = """
#include "{source}"
#include <stdio.h>

{arrays}

int main(void) {{
    const block rows = {{x, ROWS, WIDTH, 1, sums, OUTPUTS, 1}};
    const {kind} trees = {{{{values, TREES, VALUES, TURNS, SCALE}}, {fields}}};
    add_{kind}(&trees, &rows);
    fwrite(sums, sizeof *sums, ROWS * OUTPUTS, stdout);
    return 0;
}}
"""


def array(declaration, values):
    words = ", ".join(f"{{{', '.join(map(str, row))}}}" if isinstance(row, tuple) else literal(row) for row in values.tolist())
    return f"static {declaration}[] = {{{words}}};\n"


def literal(value):
    return value.hex().replace("inf", "INFINITY").replace("nan", "NAN") if isinstance(value, float) else str(value)


def program(trees, rows, outputs):
    """Return C that scores the rows by the packed trees, which it holds, and writes the sums."""
    structure, arrays = trees._structure, trees._arrays
    of, kind = structure.of, "ranked" if trees.is_ranked else "walked"
    declarations = ["double values", "test tests", "int64_t starts", "int64_t value_starts", "column columns", "double thresholds"]
    fields = f"tests, starts, value_starts, columns, {getattr(structure, 'n_columns', 0)}, thresholds, NULL, 0, 0"
    if kind == "walked":
        nodes = arrays[1].view(np.uint32).reshape(-1, 2)
        declarations = ["double values", "uint32_t nodes", "int64_t starts", "int32_t features"]
        arrays = (arrays[0], nodes.ravel(), *arrays[2:])
        fields = f"(const node *)nodes, starts, features, {structure.n_features}, {structure.shift}"
    sizes = {"ROWS": len(rows), "WIDTH": rows.shape[1], "OUTPUTS": outputs, "TREES": of.trees, "VALUES": of.width}
    text = "".join(f"#define {name} {size}\n" for name, size in (sizes | {"TURNS": of.turns, "SCALE": of.scale.hex()}).items())
    text += "".join(array(declaration, values.ravel()) for declaration, values in zip(declarations, arrays, strict=False))
    text += array("float x", rows.ravel()) + "static double sums[ROWS * OUTPUTS];\n"
    return PROGRAM.format(source=kernel.FOLDER / "packed_trees.c", arrays=text, kind=kind, fields=fields)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_ranked", [False, True])
@pytest.mark.parametrize("kind", [RandomForestClassifier, GradientBoostingRegressor])
def test_arm64_gives_the_same_bits(kind, is_ranked, tmp_path, zig):
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("needs qemu-aarch64 (Debian: qemu-user-static)")
    inputs = np.random.default_rng(0).normal(size=(60, 3))
    model = kind(n_estimators=5, max_depth=4, random_state=0).fit(inputs, np.arange(60) % 2)
    ensemble = packed_trees.ensemble_of(model)
    trees = (tree_kernel._ranked if is_ranked else tree_kernel._walked)(ensemble, predict_kernel.kernel())
    rows = packed_trees.rows_beside_thresholds(ensemble, 3)[:200].astype(np.float32)
    expected = trees.sums(rows)
    (tmp_path / "main.c").write_text(program(trees, rows, expected.shape[1]))
    target = ("-target", "aarch64-linux-musl", "-static", *kernel.FLAGS[:2], "-ffp-contract=off")
    caches = {f"ZIG_{name}_CACHE_DIR": str(tmp_path / "cache") for name in ("GLOBAL", "LOCAL")}
    subprocess.run([*zig, *target, str(tmp_path / "main.c"), "-o", str(tmp_path / "main")], env=os.environ | caches, check=True)
    assert subprocess.check_output([emulator, str(tmp_path / "main")]) == expected.tobytes()


@pytest.fixture(scope="module")
def zig(tmp_path_factory):
    """The pinned compiler's command."""
    return kernel._install_zig(tmp_path_factory.mktemp("zig"))
