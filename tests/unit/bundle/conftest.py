"""Own modules that exist only for one test, installed libraries that are made of a few lines, and an index of such wheels."""

import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

from batch_predict.bundle.plan import Contents, Distribution
from batch_predict.bundle.write import write_bundle


@pytest.fixture
def own_module(tmp_path, monkeypatch):
    """Write a module into the test's folder, and return it as if it had been imported from there: models can be dumped with it."""

    def make(name, source, folder=tmp_path):
        path = folder.joinpath(*name.split(".")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
        module = ModuleType(name)
        monkeypatch.setitem(sys.modules, name, module)
        exec(compile(source, str(path), "exec"), module.__dict__)
        return module

    return make


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a library of a few lines into a folder of PYTHONPATH, which the interpreter of the test looks into, too."""
    site = tmp_path / "site"
    monkeypatch.setenv("PYTHONPATH", str(site))

    def install(name, files, version="1.0", requires=(), direct_url=""):
        about = f"{name.replace('-', '_')}-{version}.dist-info"
        metadata = "".join(f"Requires-Dist: {line}\n" for line in requires)
        files = {
            **files,
            f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}",
            f"{about}/direct_url.json": direct_url,
        }
        files = {file: text for file, text in files.items() if text or not file.endswith("direct_url.json")}
        files[f"{about}/RECORD"] = "".join(f"{file},,\n" for file in files)
        for file, text in files.items():
            (site / file).parent.mkdir(parents=True, exist_ok=True)
            (site / file).write_text(text)
        return site

    return install


@pytest.fixture
def root():
    return Path(__file__).resolve().parents[3]


@pytest.fixture
def index(tmp_path, monkeypatch):
    """Return a function that adds a wheel of Python alone to the only index there is."""
    folder = tmp_path / "index"
    folder.mkdir()
    for name, value in {"NO_INDEX": "1", "FIND_LINKS": str(folder), "CONFIG_FILE": "/dev/null", "RETRIES": "0"}.items():
        monkeypatch.setenv(f"PIP_{name}", value)

    def add(name, version, requires=(), files=None, tag="py3-none-any"):
        module = name.replace("-", "_")
        info = f"{module}-{version}.dist-info"
        metadata = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {one}" for one in requires)]
        contents = {
            f"{module}/__init__.py": f'"""It says its version."""\nVERSION = "{version}"\n',
            f"{info}/METADATA": "Metadata-Version: 2.1\n" + "\n".join(metadata) + "\n",
            f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tag}\n",
            f"{info}/RECORD": "",
            **(files or {}),
        }
        with zipfile.ZipFile(folder / f"{module}-{version}-{tag}.whl", "w") as archive:
            for path, content in contents.items():
                archive.writestr(path, content)

    return add


@pytest.fixture
def write(tmp_path, root):
    """Return a function that writes a bundle of distributions, as `name==version`, and of requirements."""
    model = tmp_path / "model.joblib"
    model.write_bytes(b"a model " * 1000)

    def write(*distributions, platforms=("linux-aarch64-py313",), requirements=(), python="3.13.1", name="model", **contents):
        pinned = tuple(one if isinstance(one, Distribution) else Distribution(*one.split("==")) for one in distributions)
        return write_bundle(
            Contents(model, python, pinned, tuple(requirements), **contents),
            tmp_path / f"{name}.bundle.zip",
            platforms,
            stack=root,
            say=[].append,
            cache=tmp_path / "cache",
        )

    return write
