"""What a model needs that is no joblib file, found out without running anything of it."""

import json
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pytest
import xgboost
from sklearn.linear_model import LinearRegression

from batch_predict.bundle import from_files, from_others, skops_types, ubjson, xgboost_files
from batch_predict.bundle.plan import BundleError

X, Y = np.arange(20.0).reshape(10, 2), np.arange(10.0)


def pinned(version):
    return (f"xgboost=={version}",)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with a small model in each format."""
    folder = tmp_path_factory.mktemp("files")
    model = xgboost.XGBClassifier(n_estimators=2, n_jobs=1).fit(X, Y > 4)
    for ending in ("ubj", "json"):
        model.save_model(folder / f"xgboost.{ending}")
    lightgbm.LGBMClassifier(n_estimators=1, verbose=-1, n_jobs=1).fit(X, (Y > 4).astype(int)).booster_.save_model(
        folder / "lightgbm.txt"
    )
    joblib.dump(LinearRegression().fit(X, Y), folder / "model.joblib")
    (folder / "data.csv").write_text("a,b\n1,2\n")
    return folder


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"CBM1\0\1", from_files.CATBOOST),
        (b"\x08\x08\x12\x08skl2onnx", from_files.ONNX),
        (b"\x08\x0a:\xff\x01", from_files.ONNX),
        (pickle.dumps(xgboost.XGBRegressor()), None),
        (b"", None),
        (bytes(2000), None),
        (b'{"version": 1, "name": "settings"}', None),
        (b"PK\5\6" + b"\xff" * 18, None),
        (b"PK\3\4" + bytes(40), None),
    ],
)
def test_a_library_is_known_by_the_first_bytes(tmp_path, content, kind):
    (tmp_path / "m").write_bytes(content)
    assert from_others.kind_of(tmp_path / "m") == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("xgboost.ubj", from_files.XGBOOST),
        ("xgboost.json", from_files.XGBOOST),
        ("lightgbm.txt", from_files.LIGHTGBM),
        ("model.joblib", None),
        ("data.csv", None),
        (".", None),
    ],
)
def test_a_file_is_known_by_its_content_whatever_its_name(files, tmp_path, name, kind):
    renamed = tmp_path / "model"
    renamed.symlink_to(files / name)
    assert from_others.kind_of(renamed) == kind


def test_what_is_unknown_is_refused_with_what_is_known(files):
    with pytest.raises(BundleError, match=r"is no model that a bundle can be made of: give what joblib.dump has written"):
        from_others.contents_of(files / "data.csv")


@pytest.mark.parametrize("ending", ["ubj", "json"])
def test_xgboosts_file_needs_the_release_that_wrote_it(files, ending):
    contents = from_others.contents_of(files / f"xgboost.{ending}")
    assert contents.requirements == pinned(xgboost.__version__)
    assert contents.loader.name == "xgboost_model.py"
    assert contents.loader.is_file()
    assert any("0 to n - 1" in note for note in contents.notes)


def test_the_environment_where_it_was_fitted_says_which_release(files):
    document = json.loads((files / "xgboost.json").read_bytes())
    older = files / "older.json"
    older.write_text(json.dumps(document | {"version": [3, 0, 2]}))
    assert from_others.contents_of(older).requirements == pinned("3.0.2")
    assert from_others.contents_of(older, python=Path(sys.executable)).requirements == pinned(xgboost.__version__)
    lgb = from_others.contents_of(files / "lightgbm.txt", python=Path(sys.executable))
    assert lgb.requirements == (f"lightgbm=={lightgbm.__version__}",)
    assert not any("does not say which LightGBM" in note for note in lgb.notes)


def test_what_the_user_requires_takes_the_place_of_what_was_found(files):
    contents = from_others.contents_of(files / "lightgbm.txt", requires=["LightGBM==4.5.0", "narwhals"])
    assert contents.requirements == ("LightGBM==4.5.0", "narwhals")


def test_own_modules_come_along(files, tmp_path):
    package = tmp_path / "own"
    (package / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "steps.py", "words.txt", "__pycache__/steps.pyc"):
        (package / name).write_text("")
    (tmp_path / "single.py").write_text("")
    contents = from_others.contents_of(files / "lightgbm.txt", code=[package, tmp_path / "single.py"])
    assert sorted(contents.code) == ["own/__init__.py", "own/steps.py", "own/words.txt", "single.py"]


def test_a_release_that_does_not_work_beside_todays_scikit_learn_is_said_and_not_pinned(files):
    document = json.loads((files / "xgboost.json").read_bytes())
    old = files / "old.json"
    old.write_text(json.dumps(document | {"version": [1, 7, 6]}))
    contents = from_others.contents_of(old)
    assert contents.requirements == ("xgboost",)
    assert any("saved by XGBoost 1.7.6, which does not work beside scikit-learn 1.6" in note for note in contents.notes)


def test_a_booster_that_was_stopped_early_says_that_all_its_rounds_score(tmp_path):
    booster = xgboost.train({"nthread": 1}, xgboost.DMatrix(X, Y), 3)
    booster.set_attr(best_iteration="1")
    booster.save_model(tmp_path / "m.ubj")
    notes = from_others.contents_of(tmp_path / "m.ubj").notes
    assert any("all its rounds score, as by Booster.predict, also those behind its best one, 1" in note for note in notes)
    assert not any("0 to n - 1" in note for note in notes)


def test_catboost_comes_without_its_libraries_for_plots_in_the_version_that_is_known(tmp_path):
    (tmp_path / "m.cbm").write_bytes(b"CBM1\0\1")
    contents = from_others.contents_of(tmp_path / "m.cbm")
    versions = {one.name: one.version for one in contents.distributions}
    assert versions == {"catboost": from_files.CATBOOST_VERSION, "six": from_files.SIX_VERSION}
    assert contents.notes == ("the file does not say which CatBoost wrote it: 1.2.10 scores, or what --requires says",)
    contents = from_others.contents_of(tmp_path / "m.cbm", requires=["catboost==1.2.8", "pandas==2.3.0"])
    assert (contents.distributions[0].version, contents.requirements, contents.notes) == ("1.2.8", ("pandas==2.3.0",), ())
    assert from_others.contents_of(tmp_path / "m.cbm", requires=["catboost>=1.2"]).requirements == ("catboost>=1.2",)


def binary(objective=b"binary:logistic", version=(1, 6)):
    """Return the beginning of a model in the binary format."""
    parameters = struct.pack("<fIiiiII", 0.5, 2, 0, 1, 0, *version).ljust(136, b"\0")
    return b"binf" + parameters + struct.pack("<Q", len(objective)) + objective + b"\6\0\0\0\0\0\0\0gbtree"


def test_the_binary_format_needs_the_last_release_that_reads_it(tmp_path):
    (tmp_path / "m").write_bytes(binary())
    contents = from_others.contents_of(tmp_path / "m")
    assert contents.requirements == pinned(xgboost_files.LAST_BINARY)
    assert any("binary format of XGBoost 1.6" in note for note in contents.notes)
    assert from_others.contents_of(tmp_path / "m", requires=["xgboost==2.1.4"]).requirements == ("xgboost==2.1.4",)
    newer = xgboost_files.needed_by(xgboost_files.read(tmp_path / "m"), "3.2.0")
    assert newer.requirement == f"xgboost=={xgboost_files.LAST_BINARY}"
    assert any("0 to n - 1" in note for note in contents.notes)


@pytest.mark.parametrize(
    "content",
    [
        b'{"learner": 1}',
        b'{"learner":{},"version":[3,0,0]}',
        b"{L\0\0\0\0\0\0\0\7learner{L\0\0",
        b"{L\0\0\0\0\0\0\0\7learner[#L\xff\xff\xff\xff\xff\xff\xff\xff",
        b"binf\0\0",
    ],
)
def test_a_broken_model_of_xgboost_is_said(tmp_path, content):
    (tmp_path / "m").write_bytes(content)
    with pytest.raises(BundleError, match=r"begins as a model of XGBoost, and is .*: save it again with save_model"):
        from_others.contents_of(tmp_path / "m")


def test_every_cut_of_a_model_is_refused(files):
    content = (files / "xgboost.ubj").read_bytes()
    whole = ubjson.loads(content)
    written = json.loads((files / "xgboost.json").read_bytes())
    assert whole["version"] == written["version"]
    assert whole["learner"]["objective"] == written["learner"]["objective"]
    for end in range(1, len(content) - 1, 37):
        with pytest.raises(ubjson.UbjsonError):
            ubjson.loads(content[:end])


def test_a_python_that_does_not_run_is_named(files, tmp_path):
    with pytest.raises(BundleError, match=r"--python .*none is no interpreter of Python"):
        from_others.contents_of(files / "lightgbm.txt", python=tmp_path / "none")


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickled_booster_says_its_release_unless_the_pickle_is_of_before_python_3(tmp_path, protocol):
    booster = xgboost.train({"nthread": 1, "objective": "binary:logistic"}, xgboost.DMatrix(X, Y > 4), 2)
    (tmp_path / "xgboost-model").write_bytes(pickle.dumps(booster, protocol))
    contents = from_others.contents_of(tmp_path / "xgboost-model")
    assert contents.loader.name == "xgboost_model.py"
    assert contents.requirements == (pinned(xgboost.__version__) if protocol > 2 else ("xgboost",))


def skops_file(path, schema):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", schema)
    return path


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("{", "looks like a model of skops, and is broken: write it again with skops.io.dump"),
        ("[" * 100_000, "looks like a model of skops, and is broken: write it again with skops.io.dump"),
        ("0" * 2_000, "describes its model in more than 1000 bytes: dump it with joblib.dump"),
    ],
)
def test_a_broken_skops_file_is_said_before_skops_is_asked(tmp_path, monkeypatch, schema, said):
    if schema.startswith("0"):
        monkeypatch.setattr(skops_types, "MAX_SCHEMA_BYTES", 1000)
    path = skops_file(tmp_path / "m", schema)
    assert from_others.kind_of(path) == from_others.SKOPS
    with pytest.raises(BundleError, match=said):
        from_others.contents_of(path)


def test_libraries_of_a_skops_file_are_those_of_its_types():
    def node(module, **more):
        return {"__class__": "X", "__module__": module, **more}

    version = {"content": '"1.5.2"'}
    schema = node("sklearn.pipeline", content=[node("lightgbm.sklearn"), {"deep": node("xgboost.core")}], _sklearn_version=version)
    asked = from_files.Asked({"xgboost-cpu": "3.1.0"}, None, ())
    assert skops_types._requirements(schema, asked) == ["scikit-learn==1.5.2", "lightgbm", "xgboost==3.1.0"]
