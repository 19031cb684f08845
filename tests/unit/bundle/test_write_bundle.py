"""A bundle holds what it says, and the same contents give the same bytes."""

import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import prediction_handler
from batch_predict.bundle import platform_libraries, platforms
from batch_predict.bundle import write as writing
from batch_predict.bundle.plan import BundleError

ARM, INTEL = "linux-aarch64-py313", "linux-x86_64-py313"


@pytest.fixture
def own(tmp_path):
    (tmp_path / "steps.py").write_text("STEP = 1\n")
    (tmp_path / "loader.py").write_text("def load(path):\n    return path\n")
    return {
        "code": {"own/__init__.py": tmp_path / "loader.py", "own/steps.py": tmp_path / "steps.py", "one.py": tmp_path / "steps.py"},
        "loader": tmp_path / "loader.py",
        "beside": {"names.txt": b"a\nb\n"},
    }


def test_a_bundle_holds_what_it_says(index, write, own, tmp_path):
    index("big-one", "1.2", requires=["small>=1", "never; sys_platform == 'win32'"])
    index("small", "1.0", files={"small.libs/x.txt": "x", "small-1.0.data/purelib/beside.py": "HERE = 1\n", "top.py": "TOP = 2\n"})
    written = write("big-one==1.2", "small==1.0", platforms=[ARM, INTEL], python="3.11.7", **own)
    with zipfile.ZipFile(written.path) as archive:
        entries = archive.infolist()
        contents = {entry.filename: archive.read(entry) for entry in entries}
    document = json.loads(contents.pop("bundle.json"))
    digest = document.pop("digest")
    assert [entry.filename for entry in entries][:2] == ["bundle.json", "model/model.joblib"]
    assert len({entry.filename for entry in entries}) == len(entries)
    assert all((entry.compress_type == zipfile.ZIP_STORED) == entry.filename.endswith(".zip") for entry in entries)
    assert digest == written.digest
    assert digest == hashlib.sha256(json.dumps(document, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
    assert document["format"] == 1
    assert document["python"] == "3.11.7"
    assert document["model"] == {"path": "model/model.joblib", "loader": "bundle_loader"}
    assert document["code_modules"] == ["bundle_loader", "one", "own"]
    assert document["fitted_with"] == {"big-one": "1.2", "small": "1.0"}
    assert document["files"].keys() == contents.keys()
    for name, facts in document["files"].items():
        assert facts["sha256"] == hashlib.sha256(contents[name]).hexdigest()
        assert facts["bytes"] == len(contents[name])
    assert list(document["platforms"]) == [ARM, INTEL]
    for platform, of in document["platforms"].items():
        assert of["modules"] == ["beside", "big_one", "small", "top"]
        assert [(one["name"], one["version"], one["from"]) for one in of["distributions"]] == [
            ("big-one", "1.2", "bundle"),
            ("small", "1.0", "bundle"),
        ]
        wheels = {one["sha256"] for one in of["distributions"]}
        assert wheels == {hashlib.sha256(path.read_bytes()).hexdigest() for path in (tmp_path / "index").glob("*.whl")}
        with zipfile.ZipFile(io.BytesIO(contents[f"libraries/{platform}.zip"])) as libraries:
            unpacked = sum(entry.file_size for entry in libraries.infolist())
            assert document["files"][f"libraries/{platform}.zip"]["unpacked_bytes"] == unpacked
            assert {"big_one/__init__.py", "beside.py", "top.py", "small-1.0.dist-info/METADATA"} <= set(libraries.namelist())
            assert not [name for name in libraries.namelist() if name.endswith("RECORD") or ".data" in name]
        assert written.unpacked_bytes[platform] >= unpacked
    again = write("big-one==1.2", "small==1.0", platforms=[INTEL, ARM], python="3.11.7", name="again", **own)
    assert again.path.read_bytes() == written.path.read_bytes()


def test_the_function_unpacks_it_and_imports_what_it_brings(index, write, tmp_path):
    index("tiny", "3.1", files={"tiny/broken.py": "print 'Python 2'\n"})
    index("cloudpickle", "0.1", files={"single.py": "SINGLE = 1\n"})
    written = write("tiny==3.1", "cloudpickle==0.1", platforms=[platforms.HERE])
    bundle = prediction_handler.unpack_bundle(written.path, tmp_path / "unpacked")
    assert bundle.digest == written.digest
    assert bundle.unpacked_bytes() == written.unpacked_bytes[platforms.HERE]
    assert bundle.modules() == ["cloudpickle", "single", "tiny"]
    question = (
        "import sys, inspect; sys.path[:0] = sys.argv[1:]; import tiny, cloudpickle, single; from importlib import metadata; "
        "print(tiny.VERSION, metadata.version('cloudpickle'), 'its version' in inspect.getsource(tiny), "
        "cloudpickle.__file__[-3:], single.__file__[-3:])"
    )
    command = [sys.executable, "-S", "-s", "-P", "-c", question, *bundle.path]
    answer = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert answer == ["3.1", "0.1", "True", "pyc", "pyc"]  # what the package has without sources, and what may read its own
    assert len(list(Path(bundle.path[0]).glob("tiny/__pycache__/__init__.*.pyc"))) == 1


def test_shared_libraries_in_lib_are_found_in_the_process_of_a_bundle(index, write, tmp_path, monkeypatch):
    index("tiny", "1.0", files={"lib/libshared.so.1": "x"})
    bundle = prediction_handler.unpack_bundle(write("tiny==1.0", platforms=[platforms.HERE]).path, tmp_path / "unpacked")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    assert bundle.modules() == ["tiny"]
    assert prediction_handler._environment_of(bundle)["LD_LIBRARY_PATH"] == f"{bundle.path[0]}/lib:/opt/lib"
    monkeypatch.delenv("LD_LIBRARY_PATH")
    assert prediction_handler._environment_of(bundle)["LD_LIBRARY_PATH"] == f"{bundle.path[0]}/lib"


def test_its_bounds_are_the_functions():
    for name in ("MAX_BUNDLE_BYTES", "MAX_UNPACKED_BYTES", "MAX_DOCUMENT_BYTES"):
        assert getattr(writing, name) == getattr(prediction_handler, name)
    assert platform_libraries.MAX_FILES == prediction_handler.MAX_FILES
    assert prediction_handler.BUNDLE_SUFFIX == writing.SUFFIX
    assert prediction_handler.BUNDLE_FORMAT == writing.FORMAT
    assert prediction_handler.bundle_platform() == platforms.HERE


def test_without_libraries_there_is_no_zip_of_them(index, write):
    written = write()
    with zipfile.ZipFile(written.path) as archive:
        assert archive.namelist() == ["bundle.json", "model/model.joblib"]
        assert json.loads(archive.read("bundle.json"))["platforms"] == {ARM: {"distributions": [], "modules": []}}
    assert written.unpacked_bytes == {ARM: 8000}


@pytest.mark.parametrize(
    ("name", "platform", "contents", "told"),
    [
        ("../out", ARM, {}, "the folder"),
        ("model", "windows-AMD64-py313", {}, "no platform that a bundle can be made for"),
        ("model", "linux-armv7l-py313", {}, "linux-aarch64-py313"),
        ("model", ARM, {"python": "3.11.7", "needs_python": True}, "functions or classes as Python 3.11 compiled them"),
        ("model", ARM, {"code": {"../leaves.py": "model.joblib"}}, "leaves the bundle's folder"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(write, tmp_path, name, platform, contents, told):
    contents = {**contents}
    if "code" in contents:
        contents["code"] = {path: tmp_path / file for path, file in contents["code"].items()}
    name = "missing/out" if told == "the folder" else name
    with pytest.raises(BundleError, match=told):
        write(platforms=[platform], name=name, **contents)


def test_a_bundle_is_named_as_one(root, tmp_path):
    for name in ("model.zip", "model.joblib", ".bundle.zip"):
        with pytest.raises(BundleError, match=r"ends in \.bundle\.zip"):
            writing.write_bundle(None, tmp_path / name, [ARM], stack=root, say=print)


def test_above_a_bound_nothing_is_written_and_what_was_there_stays(index, write, monkeypatch, tmp_path):
    index("tiny", "1.0", files={"tiny/data.bin": "x" * 300_000})
    before = write(name="kept").path.read_bytes()
    for bound, value, told in (
        ("MAX_UNPACKED_BYTES", 200_000, r"tiny \(0\.3 MB\)"),
        ("MAX_BUNDLE_BYTES", 500, r"largest libraries are tiny"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(writing, bound, value)
            with pytest.raises(BundleError, match=told):
                write("tiny==1.0", name="kept")
    assert (tmp_path / "kept.bundle.zip").read_bytes() == before
    assert sorted(path.name for path in tmp_path.glob("*kept*")) == ["kept.bundle.zip"]


def test_what_replaces_a_bundle_is_another_file_and_caches_forget_what_is_old(index, write, tmp_path):
    index("tiny", "1.0")
    path = write("tiny==1.0", name="kept").path
    kept = [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]
    before = path.read_bytes()
    with path.open("rb") as still_read:
        for file in kept:
            os.utime(file, (0, 0))
        write(name="kept", platforms=["linux-x86_64-py313"])
        assert still_read.read() == before != path.read_bytes()
    assert {file.suffix for file in kept if not file.exists()} == {".zip", ".json"}
    write(name="kept")
    assert not [file for file in kept if file.exists()]


def test_a_bundle_too_large_for_the_stack_says_the_size_of_its_storage(index, write, monkeypatch):
    assert not [note for note in write().notes if "storage" in note]
    monkeypatch.setattr(writing, "CHUNK_ROOM_BYTES", 2100 * 2**20)
    note = next(note for note in write().notes if "storage" in note)
    assert note.endswith("the stack gives it 2,048 MB: deploy it with PredictEphemeralStorageSize=2560")
