"""The libraries that the package carries: described truly, complete, and of use to the handler in the package's interpreter."""

import hashlib
import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from batch_predict.setup import package

IN_USE = Path(__file__).with_name("carried_in_use.py")


def run(unpacked, tmp_path, *words):
    environment = unpacked.environment(TMPDIR=str(tmp_path))
    done = subprocess.run(unpacked.command(*words), cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_what_the_handler_reads_of_them_is_true(built):
    _, libraries, report = built
    index = json.loads((libraries / "carried/index.json").read_text())
    assert {name: tuple(library["needs"]) for name, library in index.items()} == package.CARRIED
    for name, library in index.items():
        path = libraries / f"carried/{name}.zip"
        assert library["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        with zipfile.ZipFile(path) as archive:
            files = [entry.filename for entry in archive.infolist()]
            assert library["bytes"] == sum(entry.file_size for entry in archive.infolist())
        tops = {file.partition("/")[0] for file in files}
        assert name in tops
        assert any(top.endswith(".dist-info") for top in tops)
        assert not any((libraries / top).exists() for top in tops)  # invisible until it is unpacked
        assert ".py" not in {Path(file).suffix for file in files} or not report["byte_code"]
        licences = [file for file in files if "dist-info" in file and "licen" in file.lower()]
        assert licences, name


@pytest.mark.thorough
def test_the_handler_uses_them_in_the_package(unpacked, tmp_path):
    """The file has one container that unpacks pandas, LightGBM and XGBoost one after another."""
    run(unpacked, tmp_path, str(IN_USE))
    assert sorted(path.name.split("-")[1] for path in tmp_path.iterdir() if path.is_dir()) == ["lightgbm", "pandas", "xgboost"]


def test_lightgbm_loads_the_packages_openmp(unpacked, tmp_path):
    program = (
        "import prediction_handler as handler; handler._make_importable('lightgbm'); import lightgbm; "
        "print(*sorted({line.split()[-1] for line in open('/proc/self/maps') if 'libgomp' in line}))"
    )
    loaded = run(unpacked, tmp_path, "-c", program).split()
    assert str(unpacked.task_root / "lib/libgomp.so.1") in loaded
    assert all(path.startswith(str(unpacked.task_root)) for path in loaded)


def test_the_handlers_deployment_is_the_packages(unpacked, tmp_path):
    program = "import prediction_handler as handler; print(handler._deployment())"
    built = json.loads((unpacked.task_root / "deployment.json").read_text())
    assert run(unpacked, tmp_path, "-c", program) == built["digest"]
    assert {"pandas", "lightgbm", "xgboost_cpu", "scikit_learn"} <= {name.partition("-")[0] for name in built["distributions"]}
    source = unpacked.task_root / "prediction_handler.py"
    before = source.read_bytes()
    try:
        source.write_bytes(before + b"# edited in the console\n")
        assert run(unpacked, tmp_path, "-c", program) != built["digest"]
    finally:
        source.write_bytes(before)
