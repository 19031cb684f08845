"""What SageMaker's model.tar.gz holds, and archives that would do harm."""

import io
import pickle
import tarfile
import tempfile

import joblib
import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LinearRegression

from batch_predict.bundle import from_others, from_sagemaker
from batch_predict.bundle.plan import BundleError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10.0)


def dumped():
    buffer = io.BytesIO()
    joblib.dump(LinearRegression().fit(X, Y), buffer)
    return buffer.getvalue()


def boosted():
    return xgboost.train({"nthread": 1}, xgboost.DMatrix(X, Y), 2)


def packed(path, files, *members):
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in members:
            archive.addfile(member)
    return path


@pytest.fixture
def archive(tmp_path, monkeypatch):
    (tmp_path / "scratch").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))  # what would be written beside the folder is seen
    return tmp_path / "model.tar.gz"


def test_a_joblib_file_in_an_archive_is_taken_with_its_requirements_and_modules(archive):
    packed(
        archive,
        {
            "model.joblib": dumped(),
            "code/inference.py": b"import own_steps\n",
            "code/own_steps.py": b"",
            "code/requirements.txt": b"sagemaker-inference\nlightgbm==4.5.0\n",
        },
    )
    assert from_others.kind_of(archive) == from_others.SAGEMAKER
    contents = from_others.contents_of(archive, requires=["narwhals==2.0"])
    assert joblib.load(contents.model).predict(X[:1])
    assert contents.requirements == ("lightgbm==4.5.0", "narwhals==2.0")
    assert sorted(contents.code) == ["inference.py", "own_steps.py"]
    assert {one.name for one in contents.distributions} >= {"scikit-learn", "numpy", "scipy"}
    assert contents.notes[:2] == (
        "left out of the listed requirements, because they serve requests: sagemaker-inference",
        "code/inference.py does not run: the model itself predicts, and nothing is done before or after",
    )


@pytest.mark.parametrize("write", [pickle.dumps, lambda booster: bytes(booster.save_raw("ubj"))])
def test_the_file_of_sagemakers_xgboost_is_taken_pickled_or_saved(archive, write):
    contents = from_others.contents_of(packed(archive, {"xgboost-model": write(boosted())}))
    assert (contents.loader.name, contents.model.name) == ("xgboost_model.py", "xgboost-model")


def test_a_folder_of_mlflow_may_be_in_an_archive(archive):
    mlmodel = b"flavors:\n  sklearn:\n    pickled_model: model.pkl\n"
    contents = from_others.contents_of(packed(archive, {"MLmodel": mlmodel, "model.pkl": dumped()}))
    assert contents.model.name == "model.pkl"


def test_of_several_files_the_usual_name_counts_or_else_it_is_asked_for(archive):
    files = {"encoder.pkl": dumped(), "model.joblib": dumped(), "readme.md": b"text"}
    assert from_others.contents_of(packed(archive, files)).model.name == "model.joblib"
    files = {"encoder.pkl": dumped(), "scorer.pkl": dumped()}
    with pytest.raises(BundleError, match=r"holds 2 models \(encoder.pkl, scorer.pkl\): give the one that predicts"):
        from_others.contents_of(packed(archive, files))
    with pytest.raises(BundleError, match=r"holds no model that a bundle can be made of, but saved_model.pb: give a model itself"):
        from_others.contents_of(packed(archive, {"saved_model.pb": b"\x08\x01"}))


def linked(name, target, kind=tarfile.SYMTYPE):
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize(
    ("files", "members"),
    [
        ({"../outside.joblib": b"x"}, []),
        ({}, [linked("model.joblib", "/etc/passwd")]),
        ({}, [linked("model.joblib", "../../outside")]),
        ({}, [linked("model.joblib", "../outside", tarfile.LNKTYPE)]),
        ({}, [linked("model.joblib", "", tarfile.CHRTYPE)]),
    ],
    ids=["above", "link to a root", "link above", "hard link above", "device"],
)
def test_nothing_is_written_outside_of_the_folder(archive, files, members):
    packed(archive, files, *members)
    with pytest.raises(BundleError, match="outside of its folder: it is no archive of a model"):
        from_others.contents_of(archive)
    assert [path.name for path in archive.parent.iterdir() if path.name != "scratch"] == ["model.tar.gz"]
    assert all(path.is_dir() and not list(path.iterdir()) for path in (archive.parent / "scratch").iterdir())


def test_an_archive_that_unpacks_to_too_much_is_refused_before_it_is_written(archive, monkeypatch):
    packed(archive, {"zeros": bytes(5_000_000), "model.joblib": dumped()})
    assert archive.stat().st_size < 50_000
    monkeypatch.setattr(from_sagemaker, "MAX_BYTES", 4_000_000)
    with pytest.raises(BundleError, match="unpacks to more than 4000000 bytes or 10000 files"):
        from_others.contents_of(archive)
    assert not list((archive.parent / "scratch").glob("*/*"))


def test_an_archive_that_was_cut_off_is_said(archive):
    content = packed(archive, {"zeros": np.random.default_rng(0).bytes(100_000)}).read_bytes()
    archive.write_bytes(content[: len(content) // 2])
    with pytest.raises(BundleError, match=r"cannot be unpacked \(.*\): copy it again"):
        from_others.contents_of(archive)
