"""What is found of libraries and own modules in an environment: this Python's, with a few libraries more."""

import json
import sys
from pathlib import Path

import pytest
from packaging.markers import Marker

from batch_predict.bundle.environment import interpreter_at, look_at
from batch_predict.bundle.libraries import holds
from batch_predict.bundle.own_modules import imports_of, imports_of_function
from batch_predict.bundle.plan import BundleError


def names_of(environment):
    return [one.name for one in environment.distributions]


def test_a_library_comes_with_what_it_requires_here(installed, tmp_path):
    site = installed(
        "Outer.Lib",
        {"outer/__init__.py": ""},
        requires=["inner-lib; python_version > '3'", "inner-lib[fast]>=1", "old; python_version < '3'"],
    )
    installed("inner_lib", {"inner.py": ""}, requires=['speedy; extra == "fast"', 'docs; extra == "docs"', "absent"])
    for name in ("speedy", "docs", "old"):
        installed(name, {f"{name}.py": ""})
    found = look_at(None, {"outer.deep.module": "its outer.deep.module.Thing"})
    assert names_of(found) == ["inner-lib", "outer-lib", "speedy"]
    assert (found.distributions[1].version, found.distributions[1].installed) == ("1.0", site)
    assert "outer/__init__.py" in found.distributions[1].files
    assert (found.missing, found.code, found.python) == ({}, {}, "{}.{}.{}".format(*sys.version_info))


def test_a_namespace_is_of_the_library_that_has_the_module(installed):
    installed("space-one", {"space/one/__init__.py": ""})
    installed("space-two", {"space/two/__init__.py": ""})
    assert names_of(look_at(None, {"space.two": ""})) == ["space-two"]


def test_libraries_for_several_graphics_cards_are_left_out(installed):
    installed("xgboost", {"xgboost/__init__.py": "", "xgboost/sklearn.py": ""}, requires=["nvidia-nccl-cu12"])
    installed("nvidia-nccl-cu12", {"nvidia/nccl/__init__.py": ""})
    found = look_at(None, {"xgboost.sklearn": ""})
    assert names_of(found) == ["xgboost"]
    assert found.notes == ("nvidia-nccl-cu12 is left out: it is for several graphics cards",)


def test_what_an_environment_prints_and_has_broken_is_passed_over(installed):
    site = installed("fine", {"fine.py": ""})
    (site / "sitecustomize.py").write_text("print('hello')\n")
    (site / "broken-1.dist-info").mkdir()
    (site / "worse-1.dist-info").mkdir()
    (site / "worse-1.dist-info" / "METADATA").write_bytes(b"Name: worse\nVersion: 1\n")
    (site / "worse-1.dist-info" / "RECORD").write_bytes(b"\xff\xfe,,\n")
    assert names_of(look_at(Path(sys.executable), {"fine": ""})) == ["fine"]


def test_own_modules_are_followed_by_what_they_import(installed, tmp_path):
    installed("direct", {"direct.py": ""})
    installed("lazy", {"lazy.py": ""})
    installed("matplotlib", {"matplotlib/__init__.py": ""})
    own = tmp_path / "own"
    package = own / "shop"
    (package / "sub").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "table.csv").write_text("a\n1\n")
    (package / "steps.py").write_text(
        "import json, beside, direct\nfrom .sub import part\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import never\n"
        "def draw():\n    import matplotlib.pyplot\n"
        "try:\n    import quick_one\nexcept ImportError:\n    quick_one = None\n"
        "if __name__ == '__main__':\n    import click_never\n"
    )
    (package / "sub" / "__init__.py").write_text("")
    (package / "sub" / "part.py").write_text("def f():\n    import lazy\n")
    (package / "unused.py").write_text("import nowhere\n")
    (own / "beside.py").write_text("from somewhere_else import thing\n")
    found = look_at(None, {"shop.steps": "its shop.steps.Step"}, folders=[own])
    assert names_of(found) == ["direct", "lazy"]
    assert {place: file.read_text() for place, file in found.code.items()} == {
        place: (own / place).read_text()
        for place in ("beside.py", "shop/__init__.py", "shop/steps.py", "shop/sub/__init__.py", "shop/sub/part.py",
                      "shop/table.csv", "shop/unused.py")
    }  # fmt: skip
    assert found.missing == {"somewhere_else.thing": "beside.py"}
    assert sorted(note.partition(":")[0] for note in found.notes) == ["lazy goes along", "matplotlib is left out"]


def test_what_an_index_does_not_have_is_own_code_with_what_says_its_version(installed, tmp_path):
    editable, here = tmp_path / "project", {"dir_info": {"editable": True}, "url": (tmp_path / "project").as_uri()}
    (editable / "src" / "mine").mkdir(parents=True)
    (editable / "src" / "mine" / "__init__.py").write_text("import local_one\n")
    installed("mine", {"__editable__.mine.pth": str(editable / "src")}, direct_url=json.dumps(here), requires=["far"])
    installed("far", {"far.py": ""})
    local = {"dir_info": {}, "url": tmp_path.as_uri()}
    installed("local-one", {"local_one.py": "import far\n"}, direct_url=json.dumps(local))
    built = {"dir_info": {}, "url": "file:///home/conda/feedstock_root/build_artifacts/of_conda/work"}
    installed("of-conda", {"of_conda.py": ""}, direct_url=json.dumps(built))
    found = look_at(None, {"mine.steps": "", "of_conda": ""}, folders=[editable / "src"])
    assert names_of(found) == ["far", "of-conda"]
    assert list(found.code) == [
        "local_one-1.0.dist-info/METADATA", "local_one.py", "mine-1.0.dist-info/METADATA", "mine/__init__.py",
    ]  # fmt: skip
    assert found.missing == {}


def test_a_local_library_that_is_compiled_is_no_own_code(installed, tmp_path):
    stated = json.dumps({"dir_info": {}, "url": tmp_path.as_uri()})
    installed("speedy", {"speedy/__init__.py": "", "speedy/core.cpython-311-x86_64-linux-gnu.so": ""}, direct_url=stated)
    assert names_of(look_at(None, {"speedy.core": ""})) == ["speedy"]


def test_code_is_taken_whole_even_if_nothing_names_it(tmp_path):
    package = tmp_path / "pack"
    package.mkdir()
    for name in ("__init__.py", "inner.py"):
        (package / name).write_text("")
    (tmp_path / "single.py").write_text("import pack.inner\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "found.py").write_text("")
    found = look_at(None, {"found": ""}, code=[package / "inner.py", tmp_path / "single.py", tmp_path / "folder"])
    assert list(found.code) == ["found.py", "pack/__init__.py", "pack/inner.py", "single.py"]


def test_data_beside_own_modules_goes_along_if_it_is_small(tmp_path):
    package = tmp_path / "pack"
    (package / ".git").mkdir(parents=True)
    (package / "venv").mkdir()
    for name in ("__init__.py", "small.json", ".git/config", "venv/pyvenv.cfg", "venv/lib.py"):
        (package / name).write_text("{}")
    (package / "large.bin").write_bytes(bytes(2**20 + 1))
    (package / "fast.cpython-311-x86_64-linux-gnu.so").write_bytes(b"")
    found = look_at(None, {"pack": ""}, folders=[tmp_path])
    assert list(found.code) == ["pack/__init__.py", "pack/small.json"]
    assert found.notes == (
        "large files beside own modules are left out: pack/large.bin",
        "compiled own modules are left out, because they run on one platform alone: pack/fast.cpython-311-x86_64-linux-gnu.so",
    )


def test_own_modules_win_over_libraries_as_they_do_for_a_script(installed, tmp_path):
    installed("steps", {"steps.py": ""})
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "steps.py").write_text("")
    found = look_at(None, {"steps": ""}, folders=[tmp_path / "here"])
    assert (names_of(found), list(found.code)) == ([], ["steps.py"])


@pytest.mark.parametrize(
    "marker",
    [
        "python_version >= '3.9'", "python_version < '3.10'", "python_version == '3.*'", "python_version != '3.8.*'",
        "python_full_version >= '3.9.0' and python_full_version < '4'", "python_version ~= '3.9'", "python_version ~= '2.7'",
        "sys_platform == 'linux' or sys_platform == 'darwin'", "(os_name == 'nt' or os_name == 'posix') and python_version > '3'",
        "platform_system in 'Linux Windows'", "platform_machine not in 'x86_64 arm64'", "'linux' in sys_platform",
        "extra == 'my_extra'", "extra == 'other'", "python_version >= '3.6' and extra == 'my-extra'",
        "implementation_name == 'cpython'", "platform_python_implementation != 'PyPy'", "'3.10' <= python_version",
    ],
)  # fmt: skip
def test_markers_hold_as_pips_do(marker):
    assert holds(marker, "my-extra") is Marker(marker).evaluate({"extra": "my-extra"})


@pytest.mark.parametrize("marker", ["nonsense ==", "unknown_name == '1'", "python_version < 'a.b' < 'c'", "f()"])
def test_a_marker_that_cannot_be_read_holds(marker):
    assert holds(marker)


def test_relative_imports_start_at_the_package(tmp_path):
    file = tmp_path / "steps.py"
    file.write_text("from . import a\nfrom .b import c\nfrom ..d import *\nimport importlib\nx = importlib.import_module('e.f')\n")
    assert imports_of(file, "one.two") == {"one.two.a": True, "one.two.b.c": True, "one.d": True, "importlib": True, "e.f": False}


def test_a_functions_byte_code_says_what_it_imports():
    code = compile("import a.b\nfrom c import d\na.b.json(d)\n", "", "exec")
    assert imports_of_function(code.co_code, code.co_names) == ["a.b", "c"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (Path.exists, "is no interpreter of Python"),
        (lambda path: path.mkdir(), "is no interpreter of Python"),
        (lambda path: path.write_text("#!/bin/sh\necho hello"), "is no interpreter of Python"),
        (lambda path: path.write_text("#!/bin/sh\necho broken >&2; exit 3"), "is no interpreter of Python"),
        (
            lambda path: path.write_text("#!/bin/sh\nprintf 3.7"),
            "is Python 3.7, which bundles are not made from: fit",
        ),
        (lambda path: path.write_text("#!/bin/sh\nprintf 3.9\necho 'no memory' >&2\nexit 3"), "does not run (no memory)"),
    ],
    ids=["absent", "folder", "shell", "error", "old", "ending"],
)
def test_what_is_no_interpreter_is_told(tmp_path, make, words):
    path = tmp_path / "python"
    make(path)
    if path.is_file():
        path.chmod(0o700)
    with pytest.raises(BundleError, match=r"^--python .*python ") as caught:
        look_at(path, {})
    assert words in str(caught.value)


def test_an_environment_that_cannot_answer_is_told(tmp_path):
    path = tmp_path / "python"
    path.write_text('#!/bin/sh\ncase "$2" in *look*) echo "ImportError: no zlib" >&2; exit 1;; *) printf 3.11;; esac\n')
    path.chmod(0o700)
    with pytest.raises(BundleError, match=r"cannot say what is installed there \(ImportError: no zlib\): run `.* -m pip check`"):
        look_at(path, {})


def test_the_folder_of_an_environment_stands_for_its_interpreter(tmp_path):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").symlink_to(sys.executable)
    assert interpreter_at(tmp_path) == tmp_path / "bin" / "python"


@pytest.mark.parametrize(("name", "words"), [("absent.py", "does not exist"), ("steps.txt", "is no module of Python")])
def test_code_that_is_none_is_told(tmp_path, name, words):
    (tmp_path / "steps.txt").write_text("")
    with pytest.raises(BundleError, match=rf"^--code .*{name} {words}: give a file.py, or the folder of a package$"):
        look_at(None, {}, code=[tmp_path / name])


def test_files_called_as_ours_are_own_modules(tmp_path, monkeypatch):
    """The scripts' own folder is not searched, and the current one is, but not for Python's own modules."""
    monkeypatch.chdir(tmp_path)
    for name in ("look", "plan", "json", "types"):
        Path(f"{name}.py").write_text("raise SystemExit('imported')\n")
    assert list(look_at(None, {"look": "", "plan": "", "json": ""}).code) == ["look.py", "plan.py"]
