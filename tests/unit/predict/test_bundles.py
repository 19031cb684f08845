"""Bundles: what is refused of a zip before anything of it runs, and what is unpacked of it."""

import json
import os
import random
import shutil
import stat
import subprocess
import sys
import zipfile
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import numpy as np
import pytest
from harness import BUCKET, DATA, OUTPUT, linear

import prediction_handler as handler
from prediction_handler import ModelError
from support.bundles import PLATFORM, facts_of, make_bundle, zipped
from support.places import dumped

LIBRARY = {"lib_a/__init__.py": b"number = 1\n", "lib_a/deep/data.bin": bytes(range(256)), "lib_a-1.0.dist-info/METADATA": b"x"}
MODEL = f"s3://{BUCKET}/models/m.bundle.zip"


@pytest.fixture
def refused(tmp_path):
    """Unpack a bundle that is refused, and return the words and the advice; nothing is left outside of its folder."""

    def refused(model=b"model", **options):
        path = tmp_path / "m.bundle.zip"
        if options or isinstance(model, dict):
            make_bundle(path, model, **options)
        else:
            path.write_bytes(model)
        (tmp_path / "within").mkdir(exist_ok=True)
        with pytest.raises(ModelError) as caught:
            handler.unpack_bundle(path, tmp_path / "within/unpacked")
        assert {one.name for one in tmp_path.iterdir()} == {"m.bundle.zip", "within"}
        assert [one.name for one in (tmp_path / "within").iterdir()] in ([], ["unpacked"])
        shutil.rmtree(tmp_path / "within")
        return caught.value.what, caught.value.advice

    return refused


def named(name):
    """An entry with a name that no program should write."""
    entry = zipfile.ZipInfo("x")
    entry.filename = entry.orig_filename = name
    return entry


def link(name):
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry


def with_entry(name, content=b"x"):
    """Add an entry that bundle.json lists."""

    def change(document):
        document["files"][str(getattr(name, "filename", name))] = {**facts_of(content), "unpacked_bytes": 1}

    return {"change": change, "spoil": lambda entries: entries.append((name, content))}


def test_a_bundle_is_unpacked_for_this_platform_alone(tmp_path):
    document = make_bundle(
        tmp_path / "m.bundle.zip",
        {"model.pkl": b"the model", "beside.json": b"{}"},
        libraries={PLATFORM: LIBRARY, "linux-riscv-py399": {"other.py": b""}},
        code={"own_steps.py": b"x = 1\n"},
    )
    bundle = handler.unpack_bundle(tmp_path / "m.bundle.zip", tmp_path / "unpacked")
    assert (bundle.document, bundle.digest, bundle.loader) == (document, document["digest"], None)
    assert bundle.model.read_bytes() == b"the model"
    assert bundle.model.with_name("beside.json").read_bytes() == b"{}"
    libraries, code = map(Path, bundle.path)
    there = {file.relative_to(libraries).as_posix(): file.read_bytes() for file in libraries.rglob("*") if file.is_file()}
    assert there == LIBRARY
    assert [file.name for file in code.iterdir()] == ["own_steps.py"]
    assert bundle.modules() == ["lib_a", "own_steps"]
    assert not list((tmp_path / "unpacked").rglob("*.zip"))
    sizes = [len(content) for content in (*LIBRARY.values(), b"the model", b"{}", b"x = 1\n")]
    assert bundle.unpacked_bytes() == sum(sizes)


def test_a_bundle_without_libraries_and_code_has_a_model_alone(tmp_path):
    make_bundle(tmp_path / "m.bundle.zip", b"m")
    bundle = handler.unpack_bundle(tmp_path / "m.bundle.zip", tmp_path / "unpacked")
    assert (bundle.path, bundle.modules()) == ([], [])


NAMES = {
    "../out.py": "would leave its folder",
    "a/../../out.py": "would leave its folder",
    "/etc/out.py": "would leave its folder",
    "C:/out.py": "would leave its folder",
    "a\\..\\out.py": "would leave its folder",
    "a//out.py": "would leave its folder",
    "./out.py": "would leave its folder",
    "a\0out.py": "would leave its folder",
}


@pytest.mark.parametrize(("name", "words"), NAMES.items())
def test_a_name_that_leaves_its_folder_is_refused(refused, name, words):
    """In the bundle, and in a zip in it."""
    entry = named(name)
    assert refused(**with_entry(entry))[0] == f"has an entry {name!r} that {words}"
    inner = zipped([("own.py", b""), (named(name), b"x")])
    assert refused(**with_entry("code.zip", inner))[0] == f"has a code.zip that has an entry {name!r} that {words}"


def test_a_link_is_refused(refused):
    assert refused(**with_entry(link("model/link"), b"/etc/passwd"))[0] == "has an entry 'model/link' that is a link or a device"


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_entry_that_is_there_twice_is_refused(refused):
    what, advice = refused(spoil=lambda entries: entries.append(entries[1]))
    assert (what, advice) == ("has an entry 'model/model.joblib' that is there twice", "make it again with batch-predict bundle")


def test_an_entry_within_a_file_is_refused(refused):
    assert refused(**with_entry("model/model.joblib/x"))[0] == "has an entry 'model/model.joblib/x' that lies within a file"


def test_an_entry_of_another_compression_is_refused(refused):
    entry = zipfile.ZipInfo("model/lzma")
    entry.compress_type = zipfile.ZIP_LZMA
    assert refused(**with_entry(entry))[0] == "has an entry 'model/lzma' that is compressed as batch-predict does not"


def test_an_encrypted_entry_is_refused(refused, tmp_path):
    """The mark alone, which the standard library cannot write."""
    content = bytearray(whole(tmp_path))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    assert refused(bytes(content))[0].endswith(".zip' that is encrypted")


def whole(folder):
    make_bundle(folder / "whole.zip", b"the model" * 100, libraries={PLATFORM: LIBRARY}, code={"own.py": b"x = 1\n"})
    content = (folder / "whole.zip").read_bytes()
    (folder / "whole.zip").unlink()
    return content


def test_a_bundle_that_is_cut_short_says_so(refused, tmp_path):
    content = whole(tmp_path)
    assert refused(content[:-30]) == (
        "is cut off, or has bytes behind its end",
        "copy it again, or make it again with batch-predict bundle",
    )


def test_damage_anywhere_is_refused_or_does_no_harm(tmp_path):
    content, chance = whole(tmp_path), random.Random(5)
    good = handler.unpack_bundle(shutil.copy(written(tmp_path / "good.zip", content), tmp_path / "g.zip"), tmp_path / "good")
    for number in range(400):
        damaged = bytearray(content)
        for _ in range(chance.choice((1, 1, 4))):
            damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        folder = tmp_path / f"{number}"
        with suppress(ModelError):  # a date, or what another program would read, does no harm
            bundle = handler.unpack_bundle(written(tmp_path / "m.bundle.zip", damaged), folder)
            assert bundle.document == good.document
            assert bundle.model.read_bytes() == good.model.read_bytes()
        shutil.rmtree(folder, ignore_errors=True)


def written(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is no bundle: it is empty"),
        (b"c__main__\nX\n.", "is no bundle: it is no zip archive"),
        (b"<html>Sign in</html>", "is no bundle: it is HTML or XML, perhaps the page of a failed download"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is no bundle: it is a pointer of Git LFS and not the model"),
    ],
)
def test_what_is_no_zip_is_named(refused, content, what):
    assert refused(content) == (what, "make one with batch-predict bundle")


def test_a_zip_that_is_no_bundle_is_named(refused):
    assert refused(zipped({"model.joblib": b"m"}))[0] == "is no bundle: its first entry is not bundle.json"


def test_a_wrong_sha256_is_refused(refused):
    def spoil(entries):
        entries[1] = (entries[1][0], b"mOdel")

    what, _ = refused({"model.joblib": b"model"}, spoil=spoil)
    assert what == (
        f"is damaged: its model/model.joblib has the SHA-256 {facts_of(b'mOdel')['sha256']}, and not {facts_of(b'model')['sha256']}"
    )


def test_another_size_than_listed_is_refused(refused):
    def spoil(entries):
        entries[1] = (entries[1][0], b"models")

    what, _ = refused({"model.joblib": b"model"}, spoil=spoil)
    assert what == "is damaged: it does not have the files, of the sizes, that its bundle.json lists"


def test_a_changed_bundle_json_is_refused(refused):
    def spoil(entries):
        entries[0] = ("bundle.json", entries[0][1].replace(b"batch-predict 0", b"batch-predict 9"))

    assert refused({"m": b""}, spoil=spoil)[0] == "is damaged: its bundle.json is not that of its digest"


def test_a_format_of_the_future_is_named(refused):
    what, advice = refused({"m": b""}, change=lambda document: document.update(format=2))
    assert what == "was made by a newer batch-predict: its format is 2, and this function knows 1"
    assert advice.startswith("deploy the function with that batch-predict")


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{", b'{"format": 1', b"[" * 100_000, b"\xff", b"1", b"{}", b'{"format": null}', b'{"format": 0}']
)
def test_a_bundle_json_of_another_kind_is_refused(refused, content):
    def spoil(entries):
        entries[0] = ("bundle.json", content)

    assert refused({"m": b""}, spoil=spoil)[0] == "has a bundle.json that is not as batch-predict writes it"


@pytest.mark.parametrize(
    "change",
    [
        lambda document: document.pop("model"),
        lambda document: document.update(model={"path": 1, "loader": None}),
        lambda document: document.update(files=[]),
        lambda document: document["files"]["model/m"].update(bytes=True),
        lambda document: document["files"]["model/m"].pop("sha256"),
        lambda document: document["files"]["code.zip"].pop("unpacked_bytes"),
        lambda document: document["files"]["code.zip"].update(unpacked_bytes=-1),  # which would make room for a zip bomb
        lambda document: document["files"]["model/m"].update(unpacked_bytes=1),
        lambda document: document.update(code_modules=[1]),
        lambda document: document["platforms"].update({PLATFORM: {"modules": []}}),
        lambda document: document["platforms"][PLATFORM]["distributions"].append({"name": "x", "version": None, "from": "bundle"}),
    ],
)
def test_a_bundle_json_that_lacks_a_part_is_refused(refused, change):
    what, _ = refused({"m": b""}, code={"own.py": b""}, change=change)
    assert what == "has a bundle.json that is not as batch-predict writes it"


def test_a_large_bundle_json_is_not_read(refused):
    def spoil(entries):
        entries[0] = ("bundle.json", b" " * (handler.MAX_DOCUMENT_BYTES + 1))

    assert refused({"m": b""}, spoil=spoil)[0] == "has a bundle.json of 4194305 bytes, more than 4194304"


@pytest.mark.parametrize("path", ["model/other.joblib", "code.zip", "../model.joblib", "/etc/passwd"])
def test_a_model_that_is_not_in_it_is_named(refused, path):
    what, _ = refused({"m": b""}, code={"own.py": b""}, change=lambda document: document["model"].update(path=path))
    assert what == f"has no {path!r}, which its bundle.json names as the model"


def test_a_missing_platform_names_those_that_are_there(refused):
    what, advice = refused({"m": b""}, libraries={"linux-x86_64-py399": {}, "darwin-arm64-py399": {"a.py": b""}})
    assert what == (
        f"has no libraries for {PLATFORM}, by which it would be scored here: it has them for darwin-arm64-py399, linux-x86_64-py399"
    )
    assert advice == f"make it again with batch-predict bundle --platform {PLATFORM}"


def test_a_zip_bomb_is_refused_before_it_is_unpacked(refused, monkeypatch):
    """By what it says of itself, by what it says wrongly, and by the room that there is."""
    bomb = {"zeros.bin": bytes(30_000_000)}
    monkeypatch.setattr(handler, "MAX_UNPACKED_BYTES", 20_000_000)
    what, _ = refused({"m": b""}, libraries={PLATFORM: bomb})
    assert what.startswith("unpacks to 3002")
    assert what.endswith("bytes, more than 20000000")


def test_libraries_that_are_larger_than_they_say_are_refused(refused):
    def change(document):
        document["files"][f"libraries/{PLATFORM}.zip"]["unpacked_bytes"] = 10

    what, _ = refused({"m": b""}, libraries={PLATFORM: {"zeros.bin": bytes(100_000)}}, change=change)
    assert what == (f"has a libraries/{PLATFORM}.zip that unpacks to 100000 bytes, and its bundle.json says 10")


def test_what_does_not_fit_ephemeral_storage_is_refused_beforehand(refused, monkeypatch):
    monkeypatch.setattr(handler.shutil, "disk_usage", lambda _: SimpleNamespace(free=1000))
    what, advice = refused({"m": bytes(2000)})
    assert what == "unpacks to 2000 bytes, more than the 1000 that are free of the function's ephemeral storage"
    assert advice == "raise PredictEphemeralStorageSize"


def test_more_files_than_a_zip_may_have_are_refused(refused, tmp_path):
    content = bytearray(whole(tmp_path))
    content[-12:-10] = b"\xff\xff"
    assert refused(bytes(content))[0] == "has more than 65534 files"


# Without a process: what is told of an object in S3 before one is started.


@pytest.fixture
def invoke(s3, tmp_path, monkeypatch):
    """Put a bundle to S3 and score by it; returns the error."""
    monkeypatch.setattr(handler.tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(handler._Child, "start", None)  # it must not come so far
    s3.put_object(Bucket=BUCKET, Key="data/in.csv", Body=b"x1,x2\n1,2\n")

    def invoke(content, name="models/m.bundle.zip", **fields):
        s3.put_object(Bucket=BUCKET, Key=name, Body=content)
        event = {"data_s3_uri": DATA, "output_s3_uri": OUTPUT, "prediction_column_name": "p"}
        answer = handler.lambda_handler({"model_s3_uri": f"s3://{BUCKET}/{name}", **event, **fields}, None)
        body = json.loads(answer["body"])
        return f"{body['error']}: {body['message']}"

    yield invoke
    handler._end_child()
    assert list(tmp_path.iterdir()) in ([], [tmp_path / "made.zip"])


def test_the_pinned_sha256_comes_first(invoke):
    found = facts_of(b"no zip")["sha256"]
    assert invoke(b"no zip", model_sha256="0" * 64) == (
        f"ModelError: {MODEL} is not the pinned model: its SHA-256 is {found}, the request allows only {'0' * 64}"
    )


def test_an_error_of_a_bundle_begins_with_its_uri(invoke):
    assert invoke(b"no zip") == f"ModelError: {MODEL} is no bundle: it is no zip archive: make one with batch-predict bundle"


def test_a_bundle_larger_than_any_may_be_is_not_downloaded(invoke, monkeypatch):
    monkeypatch.setattr(handler, "MAX_BUNDLE_BYTES", 5)
    assert invoke(b"no zip") == (
        f"ModelError: {MODEL} has 6 bytes, more than the 5 of a bundle: make it with fewer or smaller libraries"
    )


def test_a_bundle_that_is_called_otherwise_is_told_how_to_be_called(invoke, tmp_path):
    make_bundle(tmp_path / "made.zip", dumped(linear()))
    message = invoke((tmp_path / "made.zip").read_bytes(), "models/m.zip")
    assert message == (
        f"ModelError: s3://{BUCKET}/models/m.zip is a bundle under another name: give it one that ends in .bundle.zip"
    )


@pytest.mark.parametrize(
    ("name", "version", "here"),
    [
        ("numpy", "0.0.1", np.__version__),
        ("numpy", np.__version__, None),
        ("carried-lib", "2.0", None),
        ("carried-lib", "2.1", "2.0"),
        ("absent", "1.0", "none"),
    ],
)
def test_a_library_that_is_taken_from_the_function_must_be_there_in_that_version(tmp_path, monkeypatch, name, version, here):
    """Also if the package has it compressed: its list says so."""
    (tmp_path / "deployment.json").write_text(json.dumps({"distributions": ["numpy-1.0", "carried_lib-2.0"]}))
    monkeypatch.setattr(handler, "__file__", str(tmp_path / "prediction_handler.py"))
    make_bundle(tmp_path / "made", b"", distributions=[{"name": name, "version": version, "from": "function"}])
    bundle = handler.unpack_bundle(tmp_path / "made", tmp_path / "unpacked")
    if here is None:
        handler._require_of_function(bundle)
        return
    with pytest.raises(ModelError) as caught:
        handler._require_of_function(bundle)
    assert caught.value.what == f"takes {name} {version} from the function, which has {here}"


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (handler.TransientS3Error("s3://a/b is busy", "wait"), 500, "TransientS3Error: s3://a/b is busy: wait"),
        (handler.InputChangedError("s3://a/b changed"), 400, "InputChangedError: s3://a/b changed"),
        (MemoryError(), 400, "InvalidRequestError: the function ran out of memory: raise PredictMemorySize or lower chunk_size_mb"),
        (KeyError("a row's value"), 500, "InternalError: unexpected KeyError: see the function's log"),
    ],
)
@pytest.mark.parametrize("raises", [False, True])
def test_an_error_of_the_process_is_the_functions(monkeypatch, caplog, error, status, message, raises):
    """Its name, what, advice and status; what is a bug has its stack trace in the process's log, and no value in any."""

    def fail(_):
        raise error

    def answer(message, _):
        return json.loads(handler._answered(message["event"]))

    child = SimpleNamespace(is_running=lambda: True, ask=answer, kill=lambda: None)
    monkeypatch.setattr(handler, "_child_of", lambda *_: child)
    monkeypatch.setattr(handler, "_result_of", fail)
    event = {"model_s3_uri": MODEL, "data_s3_uri": DATA, "output_s3_uri": OUTPUT, "prediction_column_name": "p"}
    if raises:
        with pytest.raises(handler.PredictionError) as caught:
            handler.lambda_handler({**event, "raise_errors": True}, None)
        assert f"{type(caught.value).__name__}: {str(caught.value).replace(f'.{handler.ADVICE_MARK}', ': ')}" == message
    else:
        answer = handler.lambda_handler(event, None)
        body = json.loads(answer["body"])
        assert (answer["statusCode"], f"{body['error']}: {body['message']}") == (status, message)
    assert ("stack_trace" in caplog.text) == isinstance(error, (KeyError, MemoryError))
    assert "a row's value" not in caplog.text


def test_whatever_fails_when_memory_has_run_out_fails_for_that(monkeypatch):
    """Threads that do not start, and libraries that do not load; not what is wrong with a request."""
    monkeypatch.setattr(handler, "_is_out_of_memory", lambda: True)
    for error, name in (
        (RuntimeError("can't start new thread"), "InvalidRequestError"),
        (OSError(12, "Cannot allocate memory"), "InvalidRequestError"),
        (handler.InvalidDataError("no rows"), "InvalidDataError"),
    ):
        monkeypatch.setattr(handler, "_result_of", Mock(side_effect=error))
        assert json.loads(handler._answered({}))["error"] == name


@pytest.mark.skipif(sys.platform != "linux", reason="as Lambda is")
def test_a_process_knows_when_its_memory_has_run_out():
    script = """
import numpy
import prediction_handler as handler
assert not handler._is_out_of_memory()
held, mebibyte = handler._memory_bytes()[0], 2**20
assert abs(handler._limit_memory(held + 300 * mebibyte) - 300 * mebibyte) < 10 * mebibyte
assert not handler._is_out_of_memory()
arrays = []
try:
    while True:
        arrays.append(numpy.ones(mebibyte))
except MemoryError:
    assert len(arrays) > 25
assert handler._is_out_of_memory()
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(handler.__file__).parent), "MIMALLOC_ARENA_EAGER_COMMIT": "0"}
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)


def test_a_bundle_that_lacks_a_module_is_not_told_to_be_bundled_also_where_it_is_tried(tmp_path):
    make_bundle(tmp_path / "made", b"cabsent_module\nModel\n)R.")
    with pytest.raises(ModelError) as caught:
        handler._load_of_bundle(handler.unpack_bundle(tmp_path / "made", tmp_path / "bundle"))
    assert caught.value.what.endswith("which neither the bundle nor the prediction function has")
    assert caught.value.advice.endswith("and name the library in --requires, or your own file of that name in --code")
