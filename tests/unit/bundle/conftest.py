"""Own modules that exist only for one test, and installed libraries that are made of a few lines."""

import sys
from types import ModuleType

import pytest


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
