"""What a bundle of a pickled model needs, found without unpickling it: in this environment, and beside the model."""

import gzip
import importlib.metadata
import pickle
import platform
import sys

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline

from batch_predict.bundle.from_pickle import contents_of, read_pickle
from batch_predict.bundle.plan import BundleError

X, Y = np.arange(12.0).reshape(6, 2), np.arange(6.0)
FRAME = pd.DataFrame(X, columns=["a", "b"])
STEPS = """
from sklearn.base import BaseEstimator, TransformerMixin
import bounds

class Clip(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        return X.clip(*bounds.BOUNDS)

def words(text):
    return text.split()
"""


def dumped(model, path, dump=joblib.dump, **options):
    dump(model, path, **options)
    return path


def names_of(contents):
    return {one.name for one in contents.distributions}


def pickle_dump(model, path, **options):
    path.write_bytes(pickle.dumps(model, **options))


def cloudpickle_dump(model, path):
    path.write_bytes(cloudpickle.dumps(model))


@pytest.mark.parametrize(
    ("dump", "options"),
    [(joblib.dump, {}), (joblib.dump, {"compress": 3}), (pickle_dump, {}), (pickle_dump, {"protocol": 0}), (cloudpickle_dump, {})],
)
def test_a_model_of_scikit_learn_needs_it_and_what_it_requires(tmp_path, dump, options):
    contents = contents_of(dumped(LinearRegression().fit(X, Y), tmp_path / "model", dump, **options))
    assert {"scikit-learn", "numpy", "scipy", "joblib", "threadpoolctl"} <= names_of(contents)
    assert not {"pandas", "pytest", "lightgbm"} & names_of(contents)
    (sklearn,) = (one for one in contents.distributions if one.name == "scikit-learn")
    assert sklearn.version == importlib.metadata.version("scikit-learn")
    assert "sklearn/base.py" in sklearn.files
    assert sklearn.installed
    assert (sklearn.installed / "sklearn/base.py").is_file()
    assert (contents.python, contents.needs_python, contents.code, contents.notes) == (platform.python_version(), False, {}, ())


def test_a_model_of_a_frame_needs_pandas(tmp_path):
    assert "pandas" in names_of(contents_of(dumped(LinearRegression().fit(FRAME, Y), tmp_path / "model")))


def test_own_modules_beside_the_model_go_along_with_what_they_import(tmp_path, own_module):
    (tmp_path / "bounds.py").write_text("BOUNDS = (1, 7)\n")
    own_module("bounds", "BOUNDS = (1, 7)\n")
    steps = own_module("steps", STEPS)
    contents = contents_of(dumped(make_pipeline(steps.Clip(), LinearRegression()).fit(X, Y), tmp_path / "model"))
    assert contents.code == {name: tmp_path / name for name in ("bounds.py", "steps.py")}
    assert "pandas" in names_of(contents)  # such a step gets a DataFrame


def test_own_functions_of_a_text_pipeline_go_along(tmp_path, own_module):
    own_module("bounds", "")
    model = make_pipeline(TfidfVectorizer(tokenizer=own_module("steps", STEPS).words, token_pattern=None), LogisticRegression())
    contents = contents_of(dumped(model.fit(["a b", "c d"], [0, 1]), tmp_path / "model"))
    assert list(contents.code) == ["bounds.py", "steps.py"]


def test_what_no_module_has_is_told_with_what_needs_it(tmp_path, own_module):
    own_module("bounds", "BOUNDS = (1, 7)\n", tmp_path / "lost")
    steps = own_module("steps", STEPS, tmp_path / "elsewhere")
    path = dumped(make_pipeline(steps.Clip(), LinearRegression()).fit(X, Y), tmp_path / "model")
    with pytest.raises(BundleError, match=r"needs the module 'steps' \(for its steps\.Clip\), found neither .* --code steps\.py"):
        contents_of(path)
    with pytest.raises(BundleError, match=r"needs the module 'bounds' \(for steps\.py\), found neither .* --code bounds\.py"):
        contents_of(path, code=[tmp_path / "elsewhere" / "steps.py"])
    code = [tmp_path / "elsewhere", tmp_path / "lost" / "bounds.py"]
    assert list(contents_of(path, code=code).code) == ["bounds.py", "steps.py"]


def test_a_requirement_takes_the_place_of_what_is_installed(tmp_path):
    path = dumped(LinearRegression().fit(X, Y), tmp_path / "model")
    contents = contents_of(path, requires=["SciPy[extra] >= 1.2 ; python_version > '3'", "xgboost-cpu==3.1.0"])
    assert "scipy" not in names_of(contents)
    assert "numpy" in names_of(contents)
    assert contents.requirements == ("SciPy[extra] >= 1.2 ; python_version > '3'", "xgboost-cpu==3.1.0")
    with pytest.raises(BundleError, match=r"^--requires '-r file' is no requirement: write it as for pip"):
        contents_of(path, requires=["-r file"])


def test_a_required_library_may_bring_a_module_that_is_not_installed(tmp_path, own_module):
    far = own_module("far", "class Model:\n    pass\n", tmp_path / "lost")
    path = dumped(far.Model(), tmp_path / "model")
    assert contents_of(path, requires=["faraway==1"]).requirements == ("faraway==1",)
    with pytest.raises(BundleError, match=r"needs the module 'far' \(for its far\.Model\)"):
        contents_of(path, requires=["numpy>=2"])  # which is installed, and brings no such module


def test_the_scikit_learn_that_saved_the_model_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr("sklearn.base.__version__", "1.5.0")
    contents = contents_of(dumped(LinearRegression().fit(X, Y), tmp_path / "model"))
    (sklearn,) = (one for one in contents.distributions if one.name == "scikit-learn")
    assert (sklearn.version, sklearn.installed, sklearn.files) == ("1.5.0", None, ())
    (note,) = contents.notes
    assert note.startswith(f"the model was saved with scikit-learn 1.5.0, and the environment of {sys.executable} has ")


def in_a_script(source, monkeypatch):
    """Return a class of a script's, which is its alone."""
    scope = {"__name__": "__main__"}
    exec(source, scope)
    monkeypatch.setattr(sys.modules["__main__"], "Mine", scope["Mine"], raising=False)
    return scope["Mine"]


MINE = """
import scipy.special
from sklearn.base import BaseEstimator, TransformerMixin

class Mine(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        return self

    def transform(self, X):
        import yaml
        return scipy.special.expit(X)
"""


def test_a_notebooks_class_lies_in_the_pickle_of_cloudpickle(tmp_path, monkeypatch):
    model = make_pipeline(in_a_script(MINE, monkeypatch)(), LinearRegression()).fit(X, Y)
    for path in (
        dumped(model, tmp_path / "model.pkl", cloudpickle_dump),
        dumped(joblib.wrap_non_picklable_objects(model), tmp_path / "wrapped.joblib"),
        dumped(np.array([joblib.wrap_non_picklable_objects(model)], object), tmp_path / "in_an_array.joblib"),
    ):
        contents = contents_of(path)
        assert contents.needs_python
        assert {"cloudpickle", "scipy", "pyyaml", "pandas"} <= names_of(contents)
        assert contents.notes == ("pyyaml goes along: the pickle may import it, in a function, an if or a try",)


def test_a_scripts_class_that_is_not_in_the_file_is_refused(tmp_path, monkeypatch):
    path = dumped(in_a_script(MINE, monkeypatch)(), tmp_path / "model")
    with pytest.raises(
        BundleError,
        match=r"needs 'Mine' of the script or notebook that fitted it, which is not in the file: dump the model there by",
    ):
        contents_of(path)


def test_byte_code_of_another_python_was_not_fitted_here(tmp_path, monkeypatch):
    path = dumped(in_a_script(MINE, monkeypatch)(), tmp_path / "model.pkl", cloudpickle_dump)
    (here,) = {pythons[:1] for pythons in read_pickle(path, "model").pythons}
    assert here == (".".join(platform.python_version_tuple()[:2]),)
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\n{sys.executable} "$@" | sed "s/\\"{platform.python_version()}\\"/\\"3.9.1\\"/"\n')
    stand_in.chmod(0o700)
    with pytest.raises(BundleError, match=r"holds functions by value, which were pickled under Python .*, and .* is Python 3\.9"):
        contents_of(path, stand_in)


def test_names_are_found_to_the_end_of_a_large_model(tmp_path, own_module, monkeypatch):
    """The handler reads only so much of a model: it has less time."""
    last = own_module("last_one", "class Last:\n    pass\n").Last()
    large = [np.zeros(9_000_000), {str(number): number for number in range(150_000)}, last]
    path = dumped(large, tmp_path / "model", compress=1)
    assert "last_one" in read_pickle(path, "model").modules


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty: write the model again with joblib.dump"),
        (b"a,b\n1,2\n", "is text, perhaps CSV, and no model"),
        (pickle.dumps(LinearRegression().fit(X, Y))[:-30], "ends too early: it was not written or copied to its end: copy it"),
        (gzip.compress(pickle.dumps(LinearRegression().fit(X, Y)))[:-30], "ends too early"),
        (pickle.dumps(LinearRegression().fit(X, Y)).replace(b"numpy", b"\xff\xff\xff\xff\xff"), "is damaged behind its sklearn."),
        (b"PAR1....", "is Parquet: data, and no model"),
        (b"\x07\x93\x12random", "is not a model that joblib can load"),
    ],
)  # fmt: skip
def test_what_is_no_pickle_is_told_as_the_function_tells_it(tmp_path, content, words):
    (tmp_path / "model").write_bytes(content)
    with pytest.raises(BundleError) as caught:
        contents_of(tmp_path / "model")
    assert str(caught.value).startswith(f"{tmp_path / 'model'} {words}")


def test_nothing_of_the_model_runs(tmp_path):
    (tmp_path / "model").write_bytes(b"\x80\x04cposix\nsystem\nX\x0b\x00\x00\x00touch pwned\x85R.")
    contents_of(tmp_path / "model")
    assert not (tmp_path / "pwned").exists()


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(BundleError, match=r"absent is no file: give the file that joblib\.dump has written"):
        contents_of(tmp_path / "absent")
