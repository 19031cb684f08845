"""What is left out of libraries, and what stays because the library reads it."""

import zipfile
from pathlib import Path

from batch_predict.bundle.platform_libraries import join_zips
from batch_predict.bundle.wheel_parts import slim
from batch_predict.setup import wheels
from batch_predict.setup.package import zip_files


def laid(folder, files):
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def left(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_tests_sources_and_stubs_are_left_out(tmp_path):
    laid(
        tmp_path,
        {
            "one/__init__.py": "from . import steps  # not its tests\n",
            "one/steps.pyi": "",
            "one/steps.py": "",
            "one/fast.pyx": "",
            "one/include/fast.h": "",
            "one/tests/__init__.py": "from one.tests import test_steps\n",
            "one/inner/test/data.csv": "",
            "one/testing.py": "",
            "one-1.0.dist-info/RECORD": "",
            "one-1.0.dist-info/METADATA": "",
        },
    )
    slim(tmp_path)
    assert left(tmp_path) == ["one-1.0.dist-info/METADATA", "one/__init__.py", "one/steps.py", "one/testing.py"]
    assert not (tmp_path / "one/include").exists()


def test_tests_that_a_library_imports_and_stubs_that_it_reads_stay(tmp_path):
    files = {
        "one/__init__.py": "import os\n    from one.tests import helper\n",
        "one/tests/helper.py": "",
        "two/__init__.py": "import lazy_loader as lazy\nlazy.attach_stub(__name__, __file__)\n",
        "two/__init__.pyi": "",
    }
    slim(laid(tmp_path, files))
    assert left(tmp_path) == sorted(files)


def test_modules_in_a_wheels_data_folder_are_unpacked_beside_the_others(tmp_path):
    with zipfile.ZipFile(tmp_path / "one-1.0-py3-none-any.whl", "w") as archive:
        for name in ("one-1.0.data/platlib/one/fast.py", "one-1.0.data/scripts/run", "one/__init__.py"):
            archive.writestr(name, "")
    wheels.unpack([tmp_path / "one-1.0-py3-none-any.whl"], Path(tmp_path / "unpacked"))
    assert left(tmp_path / "unpacked") == ["one/__init__.py", "one/fast.py"]


def test_zips_are_joined_as_if_their_files_had_been_zipped_together(tmp_path):
    parts = [{"b/one.py": b"1" * 5000, "a.txt": b""}, {"b/two.so": bytes(range(256)) * 99, "ünï.txt": b"2"}, {"a.txt": b"not this"}]
    for number, files in enumerate(parts):
        zip_files(tmp_path / f"{number}.zip", files)
    join_zips([tmp_path / f"{number}.zip" for number in range(3)], tmp_path / "joined.zip")
    with zipfile.ZipFile(tmp_path / "joined.zip") as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == parts[0] | parts[1]
        assert archive.getinfo("b/two.so").external_attr >> 16 == 0o755
        assert len(archive.infolist()) == 4
