"""Carried libraries: unpacked once, whole or not at all, whoever asks at the same time and whatever was killed before."""

import errno
import hashlib
import importlib
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import prediction_handler
from prediction_handler import InternalError, InvalidRequestError
from support.bundles import make_bundle

SOURCE = Path(prediction_handler.__file__)
FILES = {f"alpha/m{n}.py": f"N = {n}\n" for n in range(50)}
FILES |= {"alpha/__init__.py": "from beta_rays import ENERGY\n", "alpha/parts/data.txt": "1\n"}


@pytest.fixture
def carried(tmp_path, monkeypatch):
    """A package that carries `alpha`, which needs `beta_rays`; returns the folder that stands for /tmp."""
    directory, storage = tmp_path / "carried", tmp_path / "tmp"
    directory.mkdir()
    storage.mkdir()
    index = {}
    for name, needs, files in (("alpha", ["beta_rays"], FILES), ("beta_rays", [], {"beta_rays.py": "ENERGY = 5\n"})):
        with zipfile.ZipFile(directory / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path, content in files.items():
                archive.writestr(path, content)
        sha256 = hashlib.sha256((directory / f"{name}.zip").read_bytes()).hexdigest()
        index[name] = {"needs": needs, "bytes": sum(map(len, files.values())), "sha256": sha256}
    (directory / "index.json").write_text(json.dumps(index))
    monkeypatch.setattr(prediction_handler, "CARRIED", directory)
    monkeypatch.setattr(prediction_handler.tempfile, "gettempdir", lambda: str(storage))
    monkeypatch.setattr(sys, "path", [*sys.path])
    prediction_handler._carried_libraries.cache_clear()
    yield storage
    prediction_handler._carried_libraries.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] in index]:
        del sys.modules[name]


def folders(storage):
    return sorted(path.name.rpartition("-")[0] for path in storage.iterdir() if path.is_dir())


def test_what_a_model_needs_is_invisible_until_then(carried):
    for module in ("numpy", "sklearn.linear_model", "gamma", "__main__"):
        prediction_handler._make_importable(module)
    assert folders(carried) == []
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("alpha")
    before = [*sys.path]
    prediction_handler._make_importable("alpha.m7")
    assert folders(carried) == ["carried-alpha", "carried-beta_rays"]
    assert sys.path[: len(before)] == before
    assert importlib.import_module("alpha").ENERGY == 5
    assert importlib.import_module("alpha.m7").N == 7
    prediction_handler._make_importable("alpha")
    assert len(sys.path) == len(before) + 2


def test_what_a_bundle_takes_from_the_function_is_there_for_the_bundles_libraries(carried, tmp_path, monkeypatch):
    """Whoever imports it: no name in the pickle says so."""
    loader = (
        b"import alpha\n\nclass Model:\n    energy = alpha.ENERGY\n    predict = print\n\ndef load(path):\n    return Model()\n"
    )
    taken = [{"name": "alpha", "version": "1", "from": "function"}, {"name": "gamma", "version": "1", "from": "bundle"}]
    make_bundle(tmp_path / "made", b"", code={"own_loader.py": loader}, loader="own_loader", distributions=taken)
    bundle = prediction_handler.unpack_bundle(tmp_path / "made", tmp_path / "bundle")
    monkeypatch.syspath_prepend(bundle.path[0])
    assert prediction_handler._load_of_bundle(bundle).energy == 5
    del sys.modules["own_loader"]


def test_nothing_happens_where_there_is_no_such_package(tmp_path, monkeypatch):
    monkeypatch.setattr(prediction_handler, "CARRIED", tmp_path / "carried")
    prediction_handler._carried_libraries.cache_clear()
    before = [*sys.path]
    prediction_handler._make_importable("pandas")
    assert sys.path == before
    prediction_handler._carried_libraries.cache_clear()
    assert not SOURCE.with_name("carried").exists()  # nor here


def test_threads_that_ask_at_once_get_one_folder(carried):
    start = threading.Barrier(8)

    def ask(_):
        start.wait()
        prediction_handler._make_importable("alpha")
        return importlib.import_module("alpha.m49").N

    before = len(sys.path)
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(8))) == [49] * 8
    assert len(sys.path) == before + 2
    assert folders(carried) == ["carried-alpha", "carried-beta_rays"]


CHILD = """
import os, sys, time, pathlib, zipfile
sys.path.insert(0, {source!r})
import prediction_handler as handler
handler.CARRIED = pathlib.Path({carried!r})
extract = zipfile.ZipFile._extract_member
def slowly(self, member, *rest):
    done = extract(self, member, *rest)
    if str(member) == {pause!r}:
        print("in the middle", flush=True)
        time.sleep(60)
    return done
zipfile.ZipFile._extract_member = slowly
while time.time() < {start}:
    pass
handler._make_importable("alpha")
import alpha.m49
print(alpha.ENERGY, alpha.m49.N)
"""


def child(carried, *, pause=None, start=0.0):
    """Start a process that asks for `alpha`, with its own /tmp in common with us."""
    program = CHILD.format(source=str(SOURCE.parent), carried=str(carried.parent / "carried"), pause=pause, start=start)
    environment = {**os.environ, "TMPDIR": str(carried)}
    return subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.mark.thorough
def test_processes_that_ask_at_once_get_one_folder(carried):
    processes = [child(carried, start=time.time() + 3) for _ in range(4)]
    assert [process.communicate(timeout=60)[0] for process in processes] == ["5 49\n"] * 4
    assert folders(carried) == ["carried-alpha", "carried-beta_rays"]


def test_a_container_is_used_again_after_a_kill_in_the_middle(carried):
    killed = child(carried, pause="alpha/m20.py")
    assert killed.stdout.readline() == "in the middle\n"
    [partial] = carried.glob("carried-alpha-*.partial")
    assert 20 < len(list(partial.rglob("*.py"))) < 50
    (partial / "alpha/stray.py").touch()
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    prediction_handler._make_importable("alpha")
    assert importlib.import_module("alpha.m49").N == 49
    assert folders(carried) == ["carried-alpha", "carried-beta_rays"]
    assert not list(carried.rglob("stray.py"))


@pytest.mark.thorough
def test_a_process_waits_for_the_one_that_unpacks(carried):
    first = child(carried, pause="alpha/m20.py")
    assert first.stdout.readline() == "in the middle\n"
    second = child(carried)
    with pytest.raises(subprocess.TimeoutExpired):
        second.wait(timeout=2)
    assert len(list(carried.glob("carried-alpha-*.partial"))) == 1
    first.kill()
    first.communicate()
    assert second.communicate(timeout=60)[0] == "5 49\n"


def test_full_storage_is_named_and_the_room_is_free_again(carried, monkeypatch):
    extract = zipfile.ZipFile._extract_member

    def fill(self, member, *rest):
        if str(member) == "alpha/m20.py":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return extract(self, member, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(zipfile.ZipFile, "_extract_member", fill)
        size = prediction_handler._carried_libraries()["alpha"]["bytes"]
        with pytest.raises(InvalidRequestError, match=rf"storage is full \(alpha takes {size} bytes\): raise PredictEphemeralSto"):
            prediction_handler._make_importable("alpha")
        assert folders(carried) == ["carried-beta_rays"]
    prediction_handler._make_importable("alpha")
    assert importlib.import_module("alpha.m49").N == 49


@pytest.mark.parametrize("damage", [lambda content: content[:-1] + b"x", lambda content: content[:100], lambda _: None])
def test_a_damaged_package_is_named(carried, damage):
    archive = carried.parent / "carried/alpha.zip"
    content = damage(archive.read_bytes())
    archive.unlink()
    if content:
        archive.write_bytes(content)
    with pytest.raises(InternalError, match=r"alpha\.zip in the function's package is damaged: deploy the function again"):
        prediction_handler._make_importable("alpha")
    assert folders(carried) == ["carried-beta_rays"]


# --- the deployment ---------------------------------------------------------------------------------------------------------------


def deployment(directory, *paths):
    """Return the digest of a copy of the handler."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prediction_handler, "__file__", str(directory / SOURCE.name))
        patch.setattr(sys, "path", [*map(str, paths), *sys.path])
        return prediction_handler._deployment.__wrapped__()


@pytest.fixture
def copy(tmp_path):
    """A folder with a copy of the function's modules."""
    (tmp_path / "function").mkdir()
    for module in SOURCE.parent.glob("*.py"):
        shutil.copy(module, tmp_path / "function")
    return tmp_path / "function"


def test_a_deployment_is_one_digest_wherever_it_is_computed(copy):
    found = deployment(copy)
    program = "import sys; sys.path[:0] = sys.argv[1:]; import prediction_handler; print(prediction_handler._deployment())"
    done = subprocess.run([sys.executable, "-c", program, str(copy)], cwd="/", capture_output=True, text=True, check=True)
    assert found == done.stdout.strip() == prediction_handler._deployment()
    assert len(found) == 64
    int(found, 16)


def test_another_distribution_version_or_source_is_another_deployment(copy, tmp_path):
    seen = {deployment(copy)}
    for name in ("alpha-1.0.dist-info", "alpha-1.1.dist-info", "Beta-1.0.egg-info"):
        (tmp_path / name / name).mkdir(parents=True)
        seen.add(deployment(copy, tmp_path / name))
    (copy / "transformers.py").write_text("class Mine: ...\n")
    seen.add(deployment(copy))
    source = copy / SOURCE.name
    source.write_text(source.read_text() + "# edited\n")
    seen.add(deployment(copy))
    assert len(seen) == 6


def test_the_packages_own_list_is_taken_and_its_code_as_it_is(copy, tmp_path):
    built = {"digest": "0" * 64, "distributions": ["alpha-1.0"], "own": {SOURCE.name: "1" * 64}, "machine": "m", "python": "2.7"}
    (copy / "deployment.json").write_text(json.dumps(built))
    own = {SOURCE.name: hashlib.sha256(SOURCE.read_bytes()).hexdigest()}
    here = {"machine": platform.machine(), "own": own, "python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    expected = json.dumps({"distributions": ["alpha-1.0"], **here}, sort_keys=True)
    assert deployment(copy) == hashlib.sha256(expected.encode()).hexdigest()
    (tmp_path / "more/beta-1.0.dist-info").mkdir(parents=True)
    assert deployment(copy, tmp_path / "more") == deployment(copy)  # only what the package was built of
    source = copy / SOURCE.name
    source.write_text(source.read_text() + "# edited\n")
    assert deployment(copy) != hashlib.sha256(expected.encode()).hexdigest()
