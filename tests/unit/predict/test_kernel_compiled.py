"""The kernel as other compilers' options and another processor run it."""

import math
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier
from test_numbers import spellings
from test_records import hard_numbers, random_numbers

import number_kernel
import packed_trees
import predict_kernel
import prediction_handler
import statistics_kernel
import tree_kernel
from batch_predict.setup import kernel

TREES = (
    "packed_trees",
    "bits or bit or kernels or blocks or categories",
    "n_columns * RANKED_ROWS + 1",
    "n_columns * RANKED_ROWS - 1",
)
NUMBERS = ("numbers", "not hostile_files", "of->offsets[row + 1] < ROOM", "of->offsets[row + 1] < 0")
STATISTICS = ("statistics", "kernel", "row < rest ? values", "row < 2 * WIDTH ? values")
RECORDS = ("records", "records", "if (size + COPIED > (size_t)(end - from))", "if (size > (size_t)(end - from))")
FIELDS = ("fields", "kernel or never", "if (in->at + LOOK >= stop)", "if (in->at + LOOK > stop + 4096)")
JSON_LINES = ("json_lines", "hostile or read_as", "of->data + value[0], size);", "of->data + value[0], size + (1 << 20));")
SANITIZERS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g")


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("name", "tests", "right", "wrong"), [TREES, NUMBERS, STATISTICS, RECORDS, JSON_LINES, FIELDS])
def test_no_sanitizer_finds_fault(name, tests, right, wrong, tmp_path):
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
        "PYTHONMALLOC": "malloc",
        "ASAN_OPTIONS": f"detect_leaks=0:log_path={tmp_path / 'found'}",
    }

    def run(*sources):
        subprocess.run([compiler, *kernel.FLAGS, *SANITIZERS, "-shared", *map(str, sources), "-lm", "-o", str(library)], check=True)
        options = ["-q", "-x", "-p", "no:cacheprovider", "-m", "not thorough", "-k", tests, f"--basetemp={tmp_path / 'inner'}"]
        command = [sys.executable, "-m", "pytest", *options, str(Path(__file__).with_name(f"test_{name}.py"))]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    done = run(*kernel.sources())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert " passed" in done.stdout
    path, faulty = kernel.FOLDER / f"{name}.c", tmp_path / f"{name}.c"
    assert path.read_text().count(right) == 1
    faulty.write_text(path.read_text().replace(right, wrong))
    assert run(faulty, *(other for other in kernel.sources() if other != path)).returncode
    assert "AddressSanitizer" in "".join(path.read_text() for path in tmp_path.glob("found.*"))


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
    structure, arrays = trees._structure, trees.layout.arrays
    of, kind = structure.of, "ranked" if trees.is_ranked else "walked"
    declarations = ["double values", "test tests", "int64_t starts", "int64_t value_starts", "column columns", "double thresholds"]
    fields = f"tests, starts, value_starts, columns, {getattr(structure, 'n_columns', 0)}, thresholds, NULL, 0, 0"
    if kind == "walked":
        nodes = arrays[1].view(np.uint32).reshape(-1, 2)
        declarations = ["double values", "uint32_t nodes", "int64_t starts", "int32_t features"]
        arrays = (arrays[0], nodes.ravel(), *arrays[2:4])
        fields = f"(const node *)nodes, starts, features, {structure.n_features}, {structure.shift}, NULL, NULL, 0"
    sizes = {"ROWS": len(rows), "WIDTH": rows.shape[1], "OUTPUTS": outputs, "TREES": of.trees, "VALUES": of.width}
    text = "".join(f"#define {name} {size}\n" for name, size in (sizes | {"TURNS": of.turns, "SCALE": of.scale.hex()}).items())
    text += "".join(array(declaration, values.ravel()) for declaration, values in zip(declarations, arrays, strict=False))
    text += array("float x", rows.ravel()) + "static double sums[ROWS * OUTPUTS];\n"
    return PROGRAM.format(source=kernel.FOLDER / "packed_trees.c", arrays=text, kind=kind, fields=fields)


@pytest.mark.thorough
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("is_ranked", [False, True])
@pytest.mark.parametrize("kind", [RandomForestClassifier, GradientBoostingRegressor])
def test_arm64_gives_the_same_bits(kind, is_ranked, on_arm64):
    inputs = np.random.default_rng(0).normal(size=(60, 3))
    model = kind(n_estimators=5, max_depth=4, random_state=0).fit(inputs, np.arange(60) % 2)
    ensemble = packed_trees.ensemble_of(model)
    layout = (tree_kernel._ranked if is_ranked else tree_kernel._walked)(ensemble)
    trees = tree_kernel.PackedTrees(layout, predict_kernel.kernel())
    rows = packed_trees.rows_beside_thresholds(ensemble, 3)[:200].astype(np.float32)
    expected = trees.sums(rows)
    assert on_arm64(program(trees, rows, expected.shape[1])) == expected.tobytes()


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_arm64_reads_the_same_numbers(on_arm64):
    generator = random.Random(0)
    texts = [text for text in (spellings(generator) for _ in range(20_000)) if math.isfinite(float(text))]
    texts += [f"{generator.gauss(0, 9):.9f}" for _ in range(1000)]
    data = "".join(f"\n{text},é" for text in texts) + "\n"
    offsets = np.cumsum([0, *(len(f"\n{text},é".encode()) for text in texts)])
    arrays = {"data": ("uint8_t", np.frombuffer(data.encode(), np.uint8)), "offsets": ("int32_t", offsets)}
    arrays["powers"] = ("uint64_t", number_kernel._powers())
    declared = "".join(array(f"{kind} {name}", values) for name, (kind, values) in arrays.items())
    found = on_arm64(NUMBERS_PROGRAM.format(source=kernel.FOLDER / "numbers.c", arrays=declared, rows=len(texts)))
    assert found == np.array([float(text) for text in texts]).tobytes() + "é\n".encode() * len(texts)


NUMBERS_PROGRAM = """
#include "{source}"
#include <stdio.h>

{arrays}
static double values[{rows}];
static uint8_t copied[sizeof data];

int main(void) {{
    const int32_t columns[] = {{0, COPIED}};
    int64_t missing = 0;
    uint8_t large = 0, declined = 0;
    const request all = {{
        data, sizeof data, offsets, {rows}, 1, ',', '.', columns, 2, powers, values, &missing, &large, &declined, copied
    }};
    const int size = read_numbers(&all);
    fwrite(values, sizeof *values, declined ? 0 : {rows}, stdout);
    fwrite(copied, 1, (size_t)size, stdout);
    return 0;
}}
"""


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_arm64_finds_the_same_octets_and_prints_the_same_numbers(on_arm64):
    data = np.random.default_rng(0).integers(0, 256, 10_001).astype(np.uint8)
    numbers = np.concatenate([hard_numbers()[::3], random_numbers(0, 1000)])
    offsets = (np.arange(len(numbers) + 1) % 3).cumsum().astype(np.int32)
    joined = bytes(number_kernel.join_numbers(bytes(offsets[-1]), offsets, numbers))
    arrays = {"uint8_t data": data, "int32_t offsets": offsets, "uint64_t powers": number_kernel._powers()}
    arrays |= {"uint64_t numbers": numbers.view(np.uint64), "uint8_t records": np.zeros(offsets[-1], np.uint8)}
    declared = "".join(array(name, values) for name, values in arrays.items())
    found = on_arm64(RECORDS_PROGRAM.format(source=kernel.FOLDER / "records.c", arrays=declared, rows=len(numbers)))
    assert found == number_kernel.find(data.tobytes(), ord("\n")).tobytes() + joined


RECORDS_PROGRAM = """
#include "{source}"
#include <stdio.h>

{arrays}
static int32_t found[sizeof data];
static double values[{rows}];
static uint8_t joined[sizeof records + {rows} * 25 + 64];

int main(void) {{
    fwrite(found, sizeof *found, (size_t)find_octet(data, 0, sizeof data, '\\n', found), stdout);
    memcpy(values, numbers, sizeof values);
    const int64_t size = join_numbers(records, sizeof records, {rows}, 1, ',', '.', offsets, values, powers, joined);
    fwrite(joined, 1, (size_t)size, stdout);
    return 0;
}}
"""


@pytest.mark.thorough
@pytest.mark.timeout(1800)
def test_arm64_counts_to_the_same_bits(on_arm64):
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.normal(size=(1, 1499)), generator.random((1, 1499)), generator.integers(-9, 9, (1, 1499))])
    values[:, ::7], values[0, ::5] = np.nan, -np.inf
    bins, shares = prediction_handler._bins(), np.array([0, 1, 0], np.uint8)
    counts = np.zeros((3, len(bins.buckets)), np.uint32)
    are_coarse = np.array([1, 0, 0], np.uint8)
    arrays = {"double values": values, "uint8_t shares": shares, "uint16_t cells": bins.of_cells, "uint16_t parts": bins.of_shares}
    arrays |= {"uint16_t coarse": bins.coarse_of_cells, "uint8_t are_coarse": are_coarse.copy()}
    measures = statistics_kernel.count(values, shares, are_coarse, bins, prediction_handler._FIRST_WHOLE, 80, counts)
    declared = "".join(array(name, elements.ravel()) for name, elements in arrays.items())
    sizes = {"bins": len(bins.buckets), "whole": prediction_handler._FIRST_WHOLE}
    found = on_arm64(STATISTICS_PROGRAM.format(source=kernel.FOLDER / "statistics.c", arrays=declared, **sizes))
    assert found == measures.tobytes() + counts.tobytes()


STATISTICS_PROGRAM = """
#include "{source}"
#include <stdio.h>

{arrays}
static double all[7 * 3];
static uint32_t counts[3 * {bins}];

int main(void) {{
    const double *columns[] = {{values, values + 1499, values + 2 * 1499}};
    const request of = {{columns, 3, 1499, shares, cells, coarse, are_coarse, 80, parts, {whole}, 0, all, {bins}, counts}};
    count_columns(&of);
    fwrite(all, sizeof all, 1, stdout);
    fwrite(counts, sizeof counts, 1, stdout);
    return 0;
}}
"""


@pytest.fixture
def on_arm64(tmp_path, zig):
    """Compiles a program for arm64, and returns what it writes."""
    emulator = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if emulator is None:
        pytest.skip("needs qemu-aarch64 (Debian: qemu-user-static)")

    def output(source):
        (tmp_path / "main.c").write_text(source)
        target = ("-target", "aarch64-linux-musl", "-static", *kernel.FLAGS[:2], "-ffp-contract=off")
        caches = {f"ZIG_{name}_CACHE_DIR": str(tmp_path / "cache") for name in ("GLOBAL", "LOCAL")}
        subprocess.run([*zig, *target, str(tmp_path / "main.c"), "-o", str(tmp_path / "main")], env=os.environ | caches, check=True)
        return subprocess.check_output([emulator, str(tmp_path / "main")])

    return output


@pytest.fixture(scope="module")
def zig(tmp_path_factory):
    """The pinned compiler's command."""
    return kernel._install_zig(tmp_path_factory.mktemp("zig"))
