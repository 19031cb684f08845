"""The packages, as built for both processors: small enough, complete, for the right machine, the same each time."""

import os
import re
import shutil
import struct
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import urllib3
from samtranslator.yaml_helper import yaml_parse

from batch_predict.setup import package, slimming, target, wheels
from batch_predict.setup.package import PackageError
from batch_predict.setup.target import Interpreter, Target

HERE = Interpreter(sys.executable, ".".join(map(str, sys.version_info[:3])))


def files(directory):
    return [path for path in directory.rglob("*") if path.is_file()]


def names(directory):
    return [path.relative_to(directory).as_posix() for path in files(directory)]


# --- what is inside ---------------------------------------------------------------------------------------------------------------


def size(libraries, own):
    return sum(path.stat().st_size for path in files(libraries)) + sum(map(len, own.values()))


def test_a_package_fits_into_a_function(built):
    built_for, libraries, _ = built
    own = package.build_predict(built_for, say=lambda _: None).own
    assert size(libraries, own) <= 258_000_000
    stored = {"stored_boosters", "stored_model", "stored_steps", "stored_transforms"}
    kernels = {
        "field_kernel",
        "json_kernel",
        "number_kernel",
        "packed_boosters",
        "packed_trees",
        "predict_kernel",
        "statistics_kernel",
        "tree_kernel",
    }
    modules = {"prediction_handler", *kernels, *stored}
    compiled = {f"__pycache__/{module}.cpython-313.pyc" for module in modules}
    assert {*own} - compiled == {"deployment.json", "libpredict_kernel.so", *(f"{module}.py" for module in modules)}


@pytest.mark.thorough
def test_without_an_interpreter_of_its_python_it_fits_too(built):
    """With sources, which are larger."""
    built_for, _, _ = built
    libraries, own, report = package.build_predict(built_for, with_byte_code=False, say=lambda _: None)
    assert report["byte_code"] is None
    assert size(libraries, own) <= 261_500_000
    assert (libraries / "sklearn/__init__.py").is_file()


def test_nothing_is_inside_that_the_function_does_not_open(built):
    _, libraries, report = built
    found = names(libraries)
    unwanted = re.compile(
        r"(^|/)(tests?|include|pandas|boto3|botocore|pip|setuptools)/|\.(pyi|pxd|pyx|h|hpp|c|cpp|a)$|flight|libarrow_s3|RECORD$"
    )
    left = [
        name
        for name in found
        if unwanted.search(name) and not re.match(r"numpy/f2py/|joblib/externals/|[^/]*dist-info/licenses/", name)
    ]
    assert left == []
    assert ".py" not in {path.suffix for path in files(libraries)} or not report["byte_code"]


def test_every_licence_is_kept(built):
    _, libraries, report = built
    for name in {*report["before"]} - {*report["carried"]}:  # test_carried.py looks at those
        [folder] = libraries.glob(f"{name}-*.dist-info")
        assert [path for path in folder.rglob("*") if re.search("licen[cs]e|copying", path.name, re.IGNORECASE)], name


def test_a_second_build_takes_the_first(built):
    built_for, libraries, report = built
    before = libraries.stat().st_ino
    again = package.build_predict(built_for, say=lambda _: None)
    assert (again.libraries.stat().st_ino, again.report) == (before, report)


# --- what fails the build ---------------------------------------------------------------------------------------------------------


def test_a_package_above_the_limit_fails_and_says_what_is_large(built):
    built_for, libraries, report = built
    total = size(libraries, package.build_predict(built_for, say=lambda _: None).own)
    with pytest.raises(PackageError) as failure:
        package.build_predict(built_for, limit=total - 1, say=lambda _: None)
    lines = str(failure.value).splitlines()
    assert lines[0].startswith(f"the package has {total:,} bytes, and may have {total - 1:,};")
    assert lines[1].startswith(f"libraries: {max(report['after'], key=report['after'].get)} ")
    assert lines[3].endswith(" pyarrow/libarrow.so.2600")
    assert len(lines) == 3 + package.LARGEST_SHOWN
    assert package.build_predict(built_for, limit=total, say=lambda _: None)


def test_a_pattern_that_matches_nothing_fails(tmp_path, monkeypatch):
    (tmp_path / "numpy").mkdir()
    (tmp_path / "numpy/a.pyi").write_text("x: int")
    monkeypatch.setattr(slimming, "OMISSIONS", (slimming.Omission("stubs", "for type checkers", ("**/*.pyi",)),))
    assert slimming.slim(tmp_path) == {"stubs": 6}
    with pytest.raises(PackageError, match=re.escape("**/*.pyi (stubs) matches nothing")):
        slimming.slim(tmp_path)


def test_a_required_library_that_is_missing_fails(tmp_path):
    for name in ("numpy/__init__.pyc", "threadpoolctl.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "orjson").mkdir()
    assert package.check_imports(tmp_path, ["numpy", "threadpoolctl"]) == ["numpy", "threadpoolctl"]
    with pytest.raises(PackageError, match="the package lacks orjson, scipy"):
        package.check_imports(tmp_path, ["numpy", "orjson", "scipy"])


def test_what_is_required_follows_the_handlers_imports(tmp_path):
    handler = tmp_path / "handler.py"
    handler.write_text(
        "import json, boto3, polars as pl\nfrom botocore.config import Config\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import mypy_boto3_s3\nelse:\n    import catboost.core\n"
        "def f():\n    import pandas\n    from onnxruntime.capi import X\n"
    )
    assert package.required_modules(handler) == ["catboost", "onnxruntime", "polars", "scipy", "sklearn"]


@pytest.mark.parametrize(
    ("name", "change", "problem"),
    [
        ("liba.so.1", lambda content: content, None),
        ("_a.cpython-312-aarch64-linux-gnu.so", lambda content: content, "another Python or processor"),
        ("liba.so.1", lambda content: content[:18] + struct.pack("<H", 62) + content[20:], "another Python or processor"),
        ("liba.so.1", lambda content: content[:-1], "would not load: .* cut off"),
    ],
)
def test_a_library_that_would_not_load_fails(tmp_path, name, change, problem):
    header = struct.pack("<6s10xHHIQQQIHHHHHH", b"\x7fELF\x02\x01", 3, 183, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 120, 120, 0x10000)
    (tmp_path / name).write_bytes(change(header + segment))
    if problem is None:
        assert package.check_elf(tmp_path, Target("arm64", (3, 13))) == 1
    else:
        with pytest.raises(PackageError, match=problem):
            package.check_elf(tmp_path, Target("arm64", (3, 13)))


# --- the same each time -----------------------------------------------------------------------------------------------------------


def test_the_same_files_give_the_same_zip(tmp_path):
    for number, order in enumerate((["a/b.so", "c.pyc", "é.py"], ["é.py", "c.pyc", "a/b.so"])):
        for name in order:
            path = tmp_path / f"in{number}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
            path.chmod(0o600 + number)
            os.utime(path, (number, number))
        package.write_zip(tmp_path / f"{number}.zip", tmp_path / f"in{number}", {"handler.py": b"x"})
    assert (tmp_path / "0.zip").read_bytes() == (tmp_path / "1.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        assert archive.namelist() == ["a/b.so", "c.pyc", "handler.py", "é.py"]
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        modes = {entry.filename: entry.external_attr >> 16 for entry in archive.infolist()}
    assert modes == {"a/b.so": 0o755, "c.pyc": 0o644, "handler.py": 0o644, "é.py": 0o644}


def test_the_same_sources_give_the_same_byte_code_in_any_folder(tmp_path):
    for name in ("one", "another/deeper"):
        shutil.copytree(Path(urllib3.__file__).parent, tmp_path / name / "urllib3", ignore=shutil.ignore_patterns("__pycache__"))
        package.compile_all(tmp_path / name, HERE)
    first, second = tmp_path / "one", tmp_path / "another/deeper"
    assert sorted(names(first)) == sorted(names(second))
    assert [path.suffix for path in files(first)].count(".py") == 0
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names(first))
    program = "import urllib3; print(urllib3.PoolManager.__init__.__code__.co_filename)"
    environment = {**os.environ, "PYTHONPATH": str(first)}
    done = subprocess.run([sys.executable, "-S", "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "/var/task/urllib3/poolmanager.py"


SOURCE = '''"""Module."""
from __future__ import annotations
class A:
    """Class."""
    def f(self):
        """Only this."""
async def g(x: int) -> "str":
    """Function."""
    assert x > 1, "too small"
    return "text that is no docstring"
TEXT = "kept"
'''


def test_byte_code_has_no_docstrings_but_everything_else(tmp_path):
    """Asserts stay, unlike with -OO; so do the docstrings of a source that speaks of them, and those of some libraries."""
    program = (
        "import asyncio, numpy_like, speaks, silent as s\n"
        "print([x.__doc__ for x in (s, s.A, s.A.f, s.g, speaks, speaks.A.f, numpy_like.A)])\n"
        "print(s.g.__annotations__, s.TEXT, asyncio.run(s.g(2)), s.g.__code__.co_firstlineno)\n"
        "try:\n    asyncio.run(s.g(1))\nexcept AssertionError as error:\n    print(error)\n"
    )
    for name, source in (("silent", SOURCE), ("numpy_like", SOURCE), ("speaks", f"{SOURCE}A.__doc__ += TEXT\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(source)
    package.compile_all(tmp_path, HERE, with_docstrings=("numpy_like",))
    assert not list(tmp_path.rglob("*.py"))
    done = subprocess.run([sys.executable, "-S", "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "[None, None, None, None, 'Module.', 'Only this.', 'Class.']",
        "{'x': 'int', 'return': \"'str'\"} kept text that is no docstring 7",
        "too small",
    ]


@pytest.mark.thorough
def test_every_module_is_importable_without_docstrings(unpacked, tmp_path):
    """numpy is not; what else computes with them would fail here. Many need a library that is not there: that is no failure."""
    program = (
        "import importlib, pathlib, sys, warnings\nwarnings.simplefilter('ignore')\n"
        "for root in map(pathlib.Path, sys.argv[1:]):\n"
        "    for path in sorted(root.rglob('*.pyc')):\n"
        "        name = '.'.join(path.relative_to(root).with_suffix('').parts).removesuffix('.__init__')\n"
        "        if '-' in name or '_win' in name or '__main__' in name or name == 'narwhals.this':\n            continue\n"
        "        try:\n            importlib.import_module(name)\n"
        "        except (ImportError, FileNotFoundError):\n            pass\n"
        "        except BaseException as error:\n            print(name, repr(error))\n"
        "print(len(sys.modules))\n"
    )
    command = unpacked.command("-c", program, str(unpacked.task_root), str(unpacked.carried))
    environment = unpacked.environment_with_carried()
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    *failed, modules = done.stdout.splitlines()
    assert failed == []
    assert int(modules) > 1800


def test_sources_that_do_not_compile_fail_the_build(tmp_path):
    (tmp_path / "a.py").write_text("x = (")
    with pytest.raises(PackageError, match="could not compile"):
        package.compile_all(tmp_path, HERE)


def test_an_edit_of_the_handler_is_not_overlooked(tmp_path):
    """Its byte-code lies beside it, and knows the source's hash."""
    source = tmp_path / "prediction.py"
    source.write_text("print('as packed')")
    for name, content in package.compiled(source, HERE).items():
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(content)

    def run():
        command = [sys.executable, "-B", "-v", "-c", "import prediction"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)

    packed = run()
    assert packed.stdout == "as packed\n"
    assert re.search(r"matches .*prediction\.py", packed.stderr)  # not compiled anew
    source.write_text("print('as edited')")
    assert run().stdout == "as edited\n"


# --- versions and wheels ----------------------------------------------------------------------------------------------------------


def test_the_functions_requirements_are_the_locks(root, python):
    pinned = [line for line in (root / "functions/predict/requirements.txt").read_text().splitlines() if not line.startswith("#")]
    assert [line.partition(" ")[0] for line in wheels.locked(wheels.required_names(), python)] == pinned
    carried = wheels.CARRIED_REQUIREMENTS.read_text().splitlines()
    pinned = [line for line in carried if not line.startswith("#")]
    assert [line.partition(" ")[0] for line in wheels.locked(wheels.required_names(wheels.CARRIED_REQUIREMENTS), python)] == pinned
    assert {"lightgbm", "pandas", "xgboost-cpu"} <= {line.partition("==")[0] for line in pinned}


LOCK = """\
a==1.0 ; python_full_version < '3.12' \\
    --hash=sha256:01 \\
    --hash=sha256:02
    # via b
a==2.0 ; python_full_version >= '3.12' \\
    --hash=sha256:03
b==1.1 \\
    --hash=sha256:04
c==1 ; platform_machine == 'x86_64' or sys_platform == 'win32' \\
    --hash=sha256:05
d==3 ; python_full_version >= '3.12' and sys_platform != 'darwin' \\
    --hash=sha256:06
"""


def test_the_lock_is_read_for_the_targets_python(tmp_path):
    lock = tmp_path / "a.lock"
    lock.write_text(LOCK)
    assert wheels.locked(["b", "a"], (3, 11), lock) == ["b==1.1 --hash=sha256:04", "a==1.0 --hash=sha256:01 --hash=sha256:02"]
    assert wheels.locked(["a"], (3, 12), lock) == ["a==2.0 --hash=sha256:03"]
    assert wheels.locked(["d"], (3, 12), lock) == ["d==3 --hash=sha256:06"]
    for name, python in (("x", (3, 13)), ("c", (3, 13)), ("d", (3, 11))):
        with pytest.raises(PackageError, match=rf"a\.lock has no {name} for Python 3\.{python[1]}"):
            wheels.locked(["a", name], python, lock)


def test_a_wheel_with_another_hash_is_refused(tmp_path, python):
    [line] = wheels.locked(["six"], python)
    with pytest.raises(PackageError, match=r"(?s)could not get the wheels for x86_64-py.*HASH"):
        wheels.download([f"{line.partition(' ')[0]} --hash=sha256:{'0' * 64}"], Target("x86_64", python), tmp_path)
    assert list(tmp_path.iterdir()) == []


# --- what it is built for ---------------------------------------------------------------------------------------------------------


def test_what_it_is_built_for_is_the_templates(root, tmp_path):
    assert target.template_target() == Target("arm64", (3, 13))
    text = (root / "template.yaml").read_text()
    changed = tmp_path / "template.yaml"
    changed.write_text(text.replace("    Default: arm64", "    Default: x86_64").replace("python3.13", "python3.12"))
    assert target.template_target(changed) == Target("x86_64", (3, 12))
    for wrong in (
        text.replace("[!Ref Architecture]", "[arm64]"),
        text.replace("Runtime: python3.13", "Runtime: python3.13\n    Runtime: python3.12"),
        text.replace("Runtime: python3.13", "Runtime: python3.13\n    Architectures: [x86_64]"),
    ):
        changed.write_text(wrong)
        with pytest.raises(PackageError, match="must have one"):
            target.template_target(changed)


@pytest.mark.parametrize(
    "line",
    [
        '    "Architecture=x86_64",',
        "    'Architecture=\"x86_64\"',",
        'parameter_overrides = "ModelBucket=\\"m\\" Architecture=\\"x86_64\\""',
        "parameter_overrides = ['Architecture=x86_64']",
    ],
)
def test_the_processor_is_the_one_that_is_deployed_to(root, tmp_path, line):
    """`sam build` hands no parameters to make: the setting that `sam deploy` reads counts for both."""
    template, settings = tmp_path / "template.yaml", tmp_path / "samconfig.toml"
    template.write_text((root / "template.yaml").read_text())
    settings.write_text(f"[default.deploy.parameters]\n{line}\n")
    assert target.template_target(template).architecture == "x86_64"
    settings.write_text(f"# {line}\n")
    assert target.template_target(template).architecture == "arm64"
    settings.write_text(line.replace("x86_64", "riscv"))
    with pytest.raises(PackageError, match="must be one of arm64, x86_64, not riscv"):
        target.template_target(template)


def test_an_interpreter_is_of_the_very_minor_version(monkeypatch, tmp_path):
    found = target.find_interpreter((sys.version_info.major, sys.version_info.minor))
    assert found is not None
    assert found.path == sys.executable
    assert target.find_interpreter((3, 99)) is None
    scripts = {
        "python3.99": "exit 127",  # as pyenv's on PATH
        "python3.98": f'exec {sys.executable} "$@"',  # one that lies
        "versions/3.97.2/bin/python": """echo '["final", "3.97.2"]'""",
    }
    for name, script in scripts.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert target.find_interpreter((3, 99)) is None
    assert target.find_interpreter((3, 98)) is None
    assert target.find_interpreter((3, 97)) == Interpreter(str(tmp_path / "versions/3.97.2/bin/python"), "3.97.2")


def test_the_report_warns_of_a_package_without_byte_code(built):
    _, _, report = built
    said = []
    package.print_report({**report, "byte_code": None}, said.append)
    assert any(line.strip().startswith("WARNING: sources without byte-code") for line in said)
    said.clear()
    package.print_report({**report, "byte_code": "3.13.0"}, said.append)
    assert not any("WARNING" in line for line in said)


# --- what `sam build` and `make package` make ------------------------------------------------------------------------------------


def test_a_function_that_the_template_does_not_have_is_refused(root, tmp_path):
    resources = yaml_parse((root / "template.yaml").read_text())["Resources"]
    functions = [name for name, resource in resources.items() if resource["Type"] == "AWS::Serverless::Function"]
    assert target.template_functions() == functions
    with pytest.raises(PackageError, match="has no PredictFunction"):
        package.write_artifact("PredictFunction", tmp_path / "artifact")
    assert not (tmp_path / "artifact").exists()


def test_the_workflows_zip_is_its_files(root, tmp_path):
    said = []
    with zipfile.ZipFile(package.zip_workflow(tmp_path, said.append)) as archive:
        assert {name: archive.read(name) for name in archive.namelist()} == package.workflow_files()
        assert {"workflow/plan_chunks.py", "workflow/formats/csv_format.py"} <= set(archive.namelist())
    assert "reaches Lambda directly" in said[-1]


def test_a_python_without_pip_says_so(monkeypatch, python):
    """Environments that uv makes have none."""
    monkeypatch.setattr(wheels.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(PackageError, match=r"has no pip, which gets the wheels: install it there \(python -m ensurepip, or uv pip"):
        wheels.locked(["numpy"], python)


@pytest.mark.thorough
def test_the_page_has_the_list_and_its_gains(root, built):
    """docs/package.md, to the tenth of a megabyte; not what compiled libraries have, which differs with the interpreter's patch."""
    built_for, _, report = built
    page = (root / "docs/package.md").read_text()
    column = {"arm64": 3, "x86_64": 4}[built_for.architecture]
    rows = {
        cells[1]: cells for line in page.splitlines() if (cells := [cell.strip() for cell in line.split("|")]) and len(cells) == 6
    }
    for omission in slimming.OMISSIONS:
        assert rows[omission.what][2] == omission.reason
        assert rows[omission.what][column] == f"{report['omitted'][omission.what] / 1e6:.1f}"
    assert rows["symbols"][column] == f"{report['symbols'] / 1e6:.1f}"
    sizes = {
        cells[1]: cells for line in page.splitlines() if (cells := [cell.strip() for cell in line.split("|")]) and len(cells) == 7
    }
    for name, size_before in report["before"].items():
        assert sizes[name][2 * column - 4] == f"{size_before / 1e6:.1f}"
