"""Each name that a model's pickle holds is looked at when it is loaded: what cannot be loaded says why, and ends no process."""

import gc
import gzip
import hashlib
import importlib
import importlib.metadata
import io
import json
import os
import pickle
import platform
import subprocess
import sys
import tarfile
import textwrap
import zipfile
import zlib
from pathlib import Path
from types import FunctionType

import cloudpickle
import joblib
import numpy as np
import pandas as pd
import pytest
import sklearn
import sklearn.base
from harness import DATA, MODEL, FirstColumn, invoke, linear
from joblib import numpy_pickle
from sklearn.cluster import DBSCAN
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import LocalOutlierFactor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from xgboost import DMatrix, train

import prediction_handler as handler

BY_VALUE = Path(__file__).with_name("by_value")
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"


class Calls:
    """What is pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.fixture
def refusal(tmp_path):
    """Why a model is refused: bytes, or an object to dump."""

    def refusal(model, **options):
        path = tmp_path / "model.joblib"
        if isinstance(model, bytes):
            path.write_bytes(model)
        else:
            joblib.dump(model, path, **options)
        with pytest.raises(handler.ModelError) as refused:
            handler.load_model(path)
        return str(refused.value)

    return refusal


@pytest.fixture
def library(tmp_path, monkeypatch):
    """Write a module of a library into a folder of its own; returns what makes it importable, and gone again."""
    folder = tmp_path / "site"

    def library(name, source):
        path = folder / f"{name.replace('.', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(source))
        for parent in path.relative_to(folder).parents:
            (folder / parent / "__init__.py").touch()
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield library
    for name in set(sys.modules) - before:
        del sys.modules[name]


MODEL_CLASS = "class Model: pass"


def forgotten(name):
    for module in [module for module in sys.modules if module.partition(".")[0] == name]:
        del sys.modules[module]


def pickled(library_module, attribute="Model", **options):
    """Pickle an object of a class that is importable now."""
    buffer = io.BytesIO()
    joblib.dump([linear(), getattr(importlib.import_module(library_module), attribute)()], buffer, **options)
    return buffer.getvalue()


# --- code by value --------------------------------------------------------------------------------------------------------------


def loads(script_arguments, **variables):
    """Load models in a process of its own, which by-value code of another Python would end; returns what came of each."""
    script = """
import json, sys
sys.path.insert(0, sys.argv[1])
import prediction_handler as handler
for path in sys.argv[2:]:
    try:
        print(json.dumps(handler.load_model(path).predict([[2.0]])))
    except handler.ModelError as error:
        print(json.dumps(str(error)))
"""
    command = [sys.executable, "-c", script, str(Path(handler.__file__).parent), *map(str, script_arguments)]
    done = subprocess.run(command, env={**os.environ, **variables}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return [json.loads(line) for line in done.stdout.splitlines()]


def by_value_files():
    return {path.stem.removeprefix("python"): path for path in sorted(BY_VALUE.glob("*.pickle"))}


def refused_for(package, written):
    return (
        f"was pickled by value (cloudpickle) under Python {'3.10 or older' if written == '3.8' else written}, "
        f"and the prediction function runs Python {package}. Such code loads only under the same Python: "
        f"dump the model under Python {package}, or use what scikit-learn has in its place"
    )


def test_code_of_another_python_is_refused_with_both_versions_and_the_process_lives():
    files = by_value_files()
    assert len(files) >= 4
    for written, answer in zip(files, loads(files.values()), strict=True):
        if written == HERE:
            assert answer == [6.0]
        else:
            assert answer.startswith("cannot be loaded: its function '")
            assert answer.endswith(refused_for(HERE, written))


def test_code_is_refused_where_the_deployed_package_would_refuse_it():
    files = by_value_files()
    for package in ("3.11", "3.13"):
        answers = loads(files.values(), DEPLOYED_PACKAGE=json.dumps({"python": package}))
        for written, answer in zip(files, answers, strict=True):
            if written == package == HERE:
                assert answer == [6.0]
            elif written == package:
                assert answer.endswith(f"as the deployed package runs; this is Python {HERE}: use Python {package} here")
            else:
                assert answer.endswith(refused_for(package, written))


def test_code_of_this_python_is_told_from_that_of_every_other():
    """All functions that are loaded here, and hundreds of them in a form that only one Python has."""
    codes = [function.__code__ for function in gc.get_objects() if isinstance(function, FunctionType)]
    told = [handler._pythons_of(cloudpickle.cloudpickle._code_reduce(code)[1]) for code in codes]
    assert len(told) > 1000
    assert {HERE in pythons for pythons in told} == {True}
    assert sum(pythons == (HERE,) for pythons in told) > 0.6 * len(told)


def code_of(number):
    """The arguments of a code object that begins with another Python's RESUME."""
    arguments = cloudpickle.cloudpickle._code_reduce(FirstColumn.predict.__code__)[1]
    return tuple(bytes([number, 0]) + value[2:] if value == FirstColumn.predict.__code__.co_code else value for value in arguments)


@pytest.mark.parametrize(("number", "python"), [(128, "3.14"), (149, "3.13"), (200, "of another version")])
def test_a_python_that_is_not_at_hand_is_told_by_its_first_instruction(monkeypatch, refusal, number, python):
    monkeypatch.setattr(handler, "_python", lambda: "3.12")
    made = (
        b"\x80\x04ccloudpickle.cloudpickle\n_builtin_type\n\x8c\x08CodeType\x85R" + pickle.dumps(code_of(number), 4)[2:-1] + b"R."
    )
    message = refusal(made)
    assert f"its function 'FirstColumn.predict' was pickled by value (cloudpickle) under Python {python}, and" in message


def test_a_pickle_in_a_pickle_is_looked_at_as_well(refusal):
    """As joblib.wrap_non_picklable_objects writes it."""
    (other,) = [path for written, path in by_value_files().items() if written == ("3.12" if HERE == "3.13" else "3.13")]
    assert "was pickled by value (cloudpickle) under Python 3.1" in refusal(Calls(pickle.loads, other.read_bytes()))
    assert "__main__" in refusal(Calls(pickle.loads, b"c__main__\nclean\n."))


def test_dills_code_is_looked_at_as_well(refusal, library, monkeypatch):
    library("dill._dill", "def _create_code(*arguments): raise SystemExit('built')\ndef _load_type(name): raise SystemExit(name)")
    create = importlib.import_module("dill._dill")._create_code
    message = refusal(Calls(create, b"lines", *code_of(200)))
    assert "its function 'FirstColumn.predict' was pickled by value (dill) under Python of another version" in message


# --- what a pickle names --------------------------------------------------------------------------------------------------------


def test_a_name_of_the_script_is_said_with_the_way_out(refusal):
    assert refusal(b"c__main__\nclean\n.") == (
        "needs 'clean' of the script or notebook that fitted it (__main__), which is not in the file: move it into a file of its "
        "own, such as steps.py, import it from there (from steps import clean), fit and dump the model again, and make a bundle "
        "of it with batch-predict bundle; or use what scikit-learn has in its place"
    )


def test_all_that_is_moved_is_imported(refusal):
    assert "(from steps import clean, Scale), fit" in refusal(b"(c__main__\nclean\nc__main__\nScale.fit\nc__main__\nScale\nt.")


@pytest.mark.parametrize("options", [{}, {"compress": 3}])
def test_all_names_of_the_script_are_said_before_anything_is_done(tmp_path, options):
    called = b"c__main__\nclean\nc__main__\nScale.fit\nc__main__\nclean\n" + pickle.dumps(Calls(pytest.fail, "called"))[2:-1]
    content = b"\x80\x04" + called + b"t."
    (tmp_path / "model.joblib").write_bytes(zlib.compress(content) if options else content)
    with pytest.raises(
        handler.ModelError, match=r"^needs 'clean' and 'Scale.fit' of the script .* which are not in the file: move them"
    ):
        handler.load_model(tmp_path / "model.joblib")


def test_a_module_that_is_not_there_is_said_with_what_is_of_it(refusal, library):
    library("imbalanced.pipeline", MODEL_CLASS)
    model = pickled("imbalanced.pipeline")
    forgotten("imbalanced")
    sys.path.pop(0)
    assert refusal(model) == (
        "needs the Python module 'imbalanced' (for its imbalanced.pipeline.Model), which the prediction function does not have: "
        "make a bundle of it with batch-predict bundle, which brings the library, or your own file of that name; or add that to "
        "the function's container image (docs/package.md)"
    )


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("class Model", "own_steps.Model, and its module fails when it is imported: SyntaxError: "),
        (
            "from sklearn import gone",
            "own_steps.Model, and its module fails when it is imported: ImportError: cannot import name 'gone'",
        ),
        (
            "import numpy\nnumpy.float_",
            "own_steps.Model, and its module fails when it is imported: AttributeError: `np.float_` was",
        ),
        ("open('/no.csv')", "own_steps.Model, and its module fails when it is imported: FileNotFoundError: [Errno 2] No such file"),
        (
            "raise SystemExit(2)",
            "own_steps.Model, and its module ends the process when it is imported: put what it runs as a script",
        ),
        ("import absent_library", "the Python module 'absent_library' (for its own_steps.Model), which the prediction function"),
        (
            "class Renamed: pass",
            "own_steps.Model, which own_steps does not have: it was probably saved with another version of own_steps:",
        ),
    ],
)
@pytest.mark.parametrize("options", [{}, {"compress": 3}])
def test_a_module_that_is_no_longer_what_it_was_is_said_with_what_it_lacks(refusal, library, source, says, options):
    library("own_steps", MODEL_CLASS)
    model = pickled("own_steps", **options)
    forgotten("own_steps")
    library("own_steps", source)
    assert refusal(model).startswith(f"needs {says}")


def test_a_library_that_cannot_read_what_it_wrote_is_to_be_compared(refusal, library):
    library("boosted", MODEL_CLASS)
    model = pickled("boosted")
    forgotten("boosted")
    library("boosted", "__version__ = '3.2'\nclass Model:\n  def __new__(cls): raise ValueError('unknown format')")
    assert refusal(model) == (
        "cannot be loaded (ValueError at its boosted.Model): compare the boosted that wrote it with 3.2, which is here; "
        "with another, fit it again"
    )


def test_what_the_package_has_and_this_environment_lacks_is_to_be_installed_here(refusal, monkeypatch):
    monkeypatch.setenv("DEPLOYED_PACKAGE", json.dumps({"modules": ["absent_library"]}))
    expected = "which the deployed package has and this environment lacks: install it here"
    assert refusal(b"cabsent_library\nModel\n.").endswith(expected)


@pytest.mark.parametrize("name", ["sklearn.tree.GoneTree", "sklearn.gone.Tree", "_gone_loss.CyHalfLoss"])
@pytest.mark.parametrize("saved", ["1.2.2", None])
def test_what_a_library_no_longer_has_is_its_version(refusal, monkeypatch, name, saved):
    module, _, attribute = name.rpartition(".")
    if saved:
        monkeypatch.setattr(sklearn.base, "__version__", saved)
    model = pickle.dumps([sklearn.base.BaseEstimator(), linear()] if saved else [str], protocol=4)
    of_sklearn = b"csklearn.base\nBaseEstimator\n0"  # states no version
    message = refusal(b"\x80\x04" + of_sklearn + model[2:-1] + f"c{module}\n{attribute}\n.".encode())
    here = sklearn.__version__
    said = (
        f"it was saved with scikit-learn {saved}, and here is {here}: fit it again with scikit-learn {here}, "
        "or make a bundle of it with batch-predict bundle"
        if saved
        else f"it was probably saved with another version of scikit-learn: fit it again with scikit-learn {here}"
    )
    assert message == f"needs {name}, which scikit-learn {here} does not have: {said}"


@pytest.mark.parametrize("options", [{}, {"compress": 3}, {"protocol": 2}])
def test_a_model_that_fails_while_it_is_built_says_the_version_that_the_pickle_states_later(refusal, monkeypatch, options):
    estimator = linear()
    estimator.coef_ = [estimator.coef_, Calls(float, "a value")]
    monkeypatch.setattr(sklearn.base, "__version__", "1.3.0")
    here = sklearn.__version__
    named = "__builtin__.float" if options == {"protocol": 2} else "builtins.float"
    assert refusal(estimator, **options) == (
        f"cannot be loaded (ValueError at its {named}): it was saved with scikit-learn 1.3.0, and here is {here}: "
        f"fit it again with scikit-learn {here}, or make a bundle of it with batch-predict bundle"
    )


def test_a_model_of_this_version_that_fails_while_it_is_built_says_at_what(refusal):
    expected = "cannot be loaded (ValueError at its builtins.float): load it where it was written, and look for that class there"
    assert refusal([linear(), Calls(float, "a value")]) == expected


def test_a_carried_library_is_made_importable_before_it_is_imported(library, tmp_path, monkeypatch):
    library("carried_library.models", "class Model:\n    def predict(self, features): return features")
    folder = sys.path.pop(0)
    sys.path.insert(0, folder)
    path = tmp_path / "model.joblib"
    joblib.dump(importlib.import_module("carried_library.models").Model(), path)
    forgotten("carried_library")
    sys.path.remove(folder)
    asked = []
    monkeypatch.setattr(handler, "_make_importable", lambda module: asked.append(module) or sys.path.insert(0, folder))

    assert type(handler.load_model(path)).__name__ == "Model"
    assert asked[0] == "carried_library.models"


def test_an_error_of_the_carried_library_stays_what_it_is(tmp_path, monkeypatch):
    def full(_module):
        raise handler.InvalidRequestError("ephemeral storage is full")

    monkeypatch.setattr(handler, "_make_importable", full)
    joblib.dump(linear(), tmp_path / "model.joblib")
    with pytest.raises(handler.InvalidRequestError, match="ephemeral storage is full"):
        handler.load_model(tmp_path / "model.joblib")


def test_joblib_is_as_before_after_a_model(tmp_path):
    unpickler = numpy_pickle.NumpyUnpickler
    joblib.dump(linear(), tmp_path / "model.joblib")
    handler.load_model(tmp_path / "model.joblib")
    with pytest.raises(handler.ModelError):
        handler.load_model(tmp_path / "absent.joblib")
    assert numpy_pickle.NumpyUnpickler is unpickler


def test_a_joblib_without_its_private_name_still_loads(tmp_path, monkeypatch):
    monkeypatch.setattr(joblib, "load", lambda _: FirstColumn())
    monkeypatch.delattr(numpy_pickle, "NumpyUnpickler")
    assert isinstance(handler.load_model(tmp_path / "model.joblib"), FirstColumn)


# --- files that are something else ----------------------------------------------------------------------------------------------


def tar(kind=tarfile.PAX_FORMAT, name="model.joblib"):
    """Return an archive as `tar -C folder .` writes it: the folder first, and headers for what a name alone cannot hold."""
    buffer, folder = io.BytesIO(), tarfile.TarInfo("./")
    folder.type, folder.mtime = tarfile.DIRTYPE, 1.5
    with tarfile.open(fileobj=buffer, mode="w:gz", format=kind) as archive:
        archive.addfile(folder)
        archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    return buffer.getvalue()


def zipped(*names):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return buffer.getvalue()


UNPACK = "unpack it, and give the model that is in it"
DUMP = "write the fitted estimator with joblib.dump"
UNKNOWN = (
    "is not a model that joblib can load: its first bytes are of no known format, and it may be encrypted: "
    "write the fitted estimator with joblib.dump"
)
ANOTHER = "this function scores scikit-learn's estimators: dump one with joblib.dump"
BUNDLE = "make a bundle of it with batch-predict bundle, and give that"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty: write the model again with joblib.dump"),
        (zipped("schema.json"), f"is a model of skops: {BUNDLE}"),
        (zipped("config.json", "model.weights.h5"), f"is a model of Keras (.keras): {ANOTHER}"),
        (zipped("archive/data.pkl"), f"is PyTorch's (torch.save): {ANOTHER}"),
        (zipped("out/model.joblib"), f"is a zip archive with a model in it: {UNPACK}"),
        (
            zipped("bundle.json", "model/model.joblib"),
            "is a bundle under another name: give it one that ends in .bundle.zip",
        ),
        (
            zipped("model/MLmodel", "model/model.pkl"),
            "is a zip archive of an MLflow model: unpack it, make a bundle of the folder with batch-predict bundle, and give that",
        ),
        (zipped("notes.md"), "is a zip archive: write the fitted estimator with joblib.dump"),
        (
            tar(),
            f"is a tar archive, as SageMaker's model.tar.gz is, and begins with 'model.joblib': {BUNDLE}",
        ),
        (
            tar(tarfile.GNU_FORMAT, "m" * 120),
            f"is a tar archive, as SageMaker's model.tar.gz is, and begins with '{'m' * 100}': {BUNDLE}",
        ),
        (gzip.decompress(tar())[:512], f"is a tar archive, as SageMaker's model.tar.gz is: {BUNDLE}"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a pointer of Git LFS and not the model: have git-lfs fetch it"),
        (b"<!DOCTYPE html>", "is HTML or XML, perhaps the page of a failed download: get the model again"),
        (b'{"learner": 1}', f"is a model of XGBoost's own (save_model): {BUNDLE}"),
        (b"{L\0\0\0\0\0\0\0\7learner", f"is a model of XGBoost's own (save_model): {BUNDLE}"),
        (
            b"CBM1\0\1",
            f"is a model of CatBoost's own (save_model): {BUNDLE}",
        ),
        (
            b"tree\nversion=v4\n",
            f"is a model of LightGBM's own (save_model): {BUNDLE}",
        ),
        (b'<?xml version="1.0"?>\n<PMML version="4.4">', "is PMML: write the fitted estimator with joblib.dump"),
        (b"<Error><Code>AccessDenied", "is an error message of S3 in XML: get the model again, with permission to read it"),
        (b"\x08\x08\x12\x08skl2onnx", f"is ONNX: {BUNDLE}"),
        (b"\x08\x08\x12\x07pytorch\x1a\x032.1:\xff\x01", f"is ONNX: {BUNDLE}"),
        (b"\x08\x0a:\xff\x01", f"is ONNX: {BUNDLE}"),
        (
            b"<\0\0\0\0\0\0\0" + b'{"w":{}}',
            "is safetensors, which hold arrays and no estimator: write the fitted estimator with joblib.dump",
        ),
        (b"\x89HDF\r\n\x1a\n", f"is HDF5, as Keras writes models (.h5): {ANOTHER}"),
        (gzip.compress(b"X\n\0\0\0\3\0\4"), f"is an object of R (saveRDS or save): {ANOTHER}"),
        (b"PAR1\x15", "is Parquet: data, and no model: give the model; perhaps model and data are swapped"),
        (b"ORC\x08", "is ORC: data, and no model: give the model; perhaps model and data are swapped"),
        (bytes(500), "begins with zeros, as a file does that was not copied to its end: copy it again"),
        (b"PK\5\6" + bytes(18), "is a zip archive: write the fitted estimator with joblib.dump"),
        (zipped("schema.json")[:60], f"is a model of skops: {BUNDLE}"),
        (b"Salted__\1\2", "is encrypted: decrypt it first; S3 can encrypt what it keeps by itself"),
        (b"SQLite format 3\0", "is an SQLite database: write the fitted estimator with joblib.dump"),
        (b"%PDF-1.7\n\xff", "is a program, a document or a picture, and no model: give the file that joblib.dump has written"),
        (
            b"flavors:\n  sklearn:\n",
            "is the description of an MLflow model (MLmodel): make a bundle of its folder with batch-predict bundle, and give that",
        ),
        (
            b'"""Fit the model."""\n\nimport pandas\n',
            "is source code and not the model: run it, write the fitted estimator with joblib.dump, and give that file",
        ),
        (
            b"import pandas\nimport sklearn\n",
            "is source code and not the model: run it, write the fitted estimator with joblib.dump, and give that file",
        ),
        (b"a,b\n1,2\n", "is text, perhaps CSV, and no model: give the model; perhaps model and data are swapped"),
        (
            b"city,age\nx,2\n",
            "is text, perhaps CSV, and no model: give the model; perhaps model and data are swapped",
        ),  # c names a class
        (b"id,age\n1,2\n", "is text, perhaps CSV, and no model: give the model; perhaps model and data are swapped"),  # i, too
        pytest.param(
            b"c" + b"0,c" * 30_000 + b"\n" + b"SECRET," * 10_000 + b"\n",
            "is text, perhaps CSV, and no model: give the model; perhaps model and data are swapped",
            id="a header longer than what is kept of a line",
        ),
        (bytes(range(128, 256)), UNKNOWN),
    ],
    ids=lambda value: "" if isinstance(value, bytes) else value[:30],  # gzip writes the time: two workers would not agree
)
def test_another_file_is_said_by_its_kind(refusal, content, said):
    assert refusal(content) == said


@pytest.mark.parametrize(
    ("dumped", "said"),
    [
        (
            {"scaler": StandardScaler(), "clf": linear()},
            "holds a dict, which has no predict method, with an estimator in it, at ['clf']: dump",
        ),
        (("x", linear()), "holds a tuple, which has no predict method, with an estimator in it, at [1]: dump that one"),
        ([1], "holds a list, which has no predict method: dump the fitted estimator itself"),
        (StandardScaler(), "holds a StandardScaler, which has no predict method: it transforms data: dump the fitted estimator"),
        (DBSCAN(), "holds a DBSCAN, which predicts only the rows that it is fitted on: dump an estimator that has"),
        (
            LocalOutlierFactor(),
            "holds a LocalOutlierFactor, which has no predict method, because of novelty=False: fit it",
        ),
        (
            train({}, DMatrix(pd.DataFrame({"a": [1, 2]}), [1, 2]), 1),
            "holds XGBoost's Booster, which predicts no table, but its own DMatrix: load it into an XGBClassifier",
        ),
        (Ridge, "holds the class Ridge and no fitted estimator of it: fit one, Ridge().fit(X, y), and dump that"),
        (pd.DataFrame({"a": [1]}), "holds a DataFrame: data, and no model: give the model"),
        (pd.DataFrame({"steps": [1]}), "holds a DataFrame: data, and no model: give the model"),
        (
            make_pipeline(StandardScaler()),
            "holds a Pipeline, which has no predict method, because its last step is a StandardScaler: dump",
        ),
        (
            GridSearchCV(Ridge(), {}, refit=False),
            "holds a GridSearchCV, which has no predict method, because of refit=False: fit",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_was_dumped_in_place_of_an_estimator_is_said(refusal, dumped, said):
    assert refusal(dumped).startswith(said)


@pytest.mark.parametrize(
    "copied", [lambda whole: whole.replace(b"\n", b"\r\n"), lambda whole: whole.decode("utf-8", "replace").encode()]
)
@pytest.mark.parametrize("dump", [joblib.dump, pickle.dump])
def test_a_model_that_was_copied_as_text_says_so(refusal, copied, dump):
    buffer = io.BytesIO()
    dump([linear(), "\n\n"], buffer)
    assert refusal(copied(buffer.getvalue())).startswith("was copied as text, which destroys it: copy it again as binary")


def test_arrays_out_of_band_are_missed(refusal):
    buffers = []
    content = pickle.dumps(linear(), protocol=5, buffer_callback=buffers.append)
    assert buffers
    assert refusal(content).startswith(
        "was pickled with its arrays out of band (buffer_callback), and they are not in the file: dump"
    )


# --- read without being run -----------------------------------------------------------------------------------------------------


DAMAGED_TYPE = "is damaged: the type of one of its arrays is not as NumPy writes it: copy it again"


def pipeline():
    columns = pd.DataFrame({"a": [1.0, 2.0, 3.0], "c": ["x", "y", "z"]})
    steps = ColumnTransformer([("c", OneHotEncoder(), ["c"])], remainder=StandardScaler())
    return make_pipeline(steps, RandomForestRegressor(5)).fit(columns, [1, 2, 3])


@pytest.mark.parametrize(
    "options",
    [*({"compress": (kind, 3)} for kind in ("zlib", "gzip", "bz2", "lzma", "xz")), *({"protocol": number} for number in range(6))],
    ids=str,
)
def test_joblibs_files_are_read_to_their_end_without_being_run(tmp_path, options):
    joblib.dump(pipeline(), tmp_path / "model.joblib", **options)
    contents = handler._contents_of(tmp_path / "model.joblib")
    assert contents.is_whole
    assert list(contents.sklearn_versions) == [sklearn.__version__]
    assert {
        "sklearn.pipeline.Pipeline",
        "sklearn.tree._tree.Tree",
        "joblib.numpy_pickle.NumpyArrayWrapper",
    } <= contents.names.keys()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "kind", ["?", "<i4", ">f8", "c16", "O", "U3", "S3", "M8[ns]", "m8[s]", "V4", [("a", "f8"), ("b", "O")]], ids=str
)
def test_a_numpy_type_with_other_flags_is_damaged(tmp_path, refusal, kind, protocol):
    """NumPy crashes on some of them, and the process with it."""
    content = pickle.dumps(np.dtype(kind), protocol)
    (tmp_path / "type.pkl").write_bytes(content)
    assert not handler._contents_of(tmp_path / "type.pkl").has_damaged_type
    if protocol >= 2 and kind == "O":
        assert content.count(b"K?t") == 1
        for damaged in (b"K>t", b"t"):
            assert refusal(content.replace(b"K?t", damaged)) == DAMAGED_TYPE


@pytest.mark.parametrize("protocol", range(6))
def test_plain_pickles_are_read_to_their_end_without_being_run(tmp_path, protocol):
    large = bytearray(2**17)  # in the first protocol a line of text, which is longer than what is kept
    content = pickle.dumps([pipeline(), Calls(exec, "raise SystemExit"), {1: {2}}, frozenset([1]), large], protocol)
    (tmp_path / "model.pkl").write_bytes(content)
    contents = handler._contents_of(tmp_path / "model.pkl")
    assert contents.is_whole is True
    assert list(contents.sklearn_versions) == [sklearn.__version__]


def test_reading_has_bounds(tmp_path, monkeypatch):
    """Whatever lengths a pickle states: reading it ends, and takes no memory."""
    path = tmp_path / "model.pkl"
    for content in (
        b"\x80\x04\x8e" + b"\xff" * 7 + b"\x7f",
        b"\x80\x05\x96" + b"\xff" * 7 + b"\x7f",
        b"\x80\x04" + b"N" * 10**6,
    ):
        path.write_bytes(content)
        assert not handler._contents_of(path).is_whole
    monkeypatch.setattr(handler, "SCANNED_BYTES", 10**6)
    path.write_bytes(zlib.compress(b"\x80\x04\x8e" + (10**8).to_bytes(8, "little") + bytes(10**8)))
    assert handler._contents_of(path).is_whole is None


def test_nothing_of_a_pickle_is_done_where_it_names_what_is_not_there(refusal):
    called = pickle.dumps(Calls(pytest.fail, "called"))[2:-1]
    assert refusal(b"\x80\x04(" + called + b"csklearn.tree\nGone\nt.").startswith("needs sklearn.tree.Gone, which scikit-learn")


@pytest.mark.parametrize("written", [b"\x80\x04", b"\x80\x04\x95\x10\0\0\0\0\0\0\0"])
@pytest.mark.parametrize("compress", [bytes, zlib.compress, gzip.compress])
def test_what_a_failed_dump_leaves_ends_too_early(refusal, written, compress):
    assert refusal(compress(written)) == "ends too early: it was not written or copied to its end: copy it again"


@pytest.mark.parametrize("options", [{}, {"compress": 3}, {"compress": ("gzip", 3)}])
def test_a_model_that_breaks_off_says_so(refusal, options):
    buffer = io.BytesIO()
    joblib.dump(linear(), buffer, **options)
    whole = buffer.getvalue()
    for end in (len(whole) // 2, len(whole) - 20):
        assert refusal(whole[:end]) == "ends too early: it was not written or copied to its end: copy it again"


def cut_gzip(content):
    return gzip.compress(content)[:-9]


def test_a_model_that_breaks_off_anywhere_amid_its_arrays_ends_too_early(refusal):
    """Its reader may take an array's bytes for the pickle's, and stumble over anything."""
    buffer = io.BytesIO()
    columns = pd.DataFrame({"a": [1.0, 2.0, 3.0], "c": ["x", "y", "z"]})
    steps = ColumnTransformer([("c", OneHotEncoder(), ["c"])], remainder=StandardScaler())
    joblib.dump(make_pipeline(steps, Ridge()).fit(columns, [1, 2, 3]), buffer)
    whole = buffer.getvalue()
    said = {refusal(whole[:end]) for end in range(100, len(whole), 41)}
    said |= {refusal(compress(whole[:end])) for end in range(100, len(whole), 201) for compress in (zlib.compress, cut_gzip)}
    assert said == {"ends too early: it was not written or copied to its end: copy it again"}


# --- local runs -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("library_name", "deployed", "differs"),
    [
        ("scikit-learn", "1.0.2", True),
        ("pandas", "2.2.0", True),
        ("numpy", "1.26.4", True),
        ("numpy", "2.0.0", False),
        ("joblib", "0.1", False),
    ],
)
def test_a_local_run_says_where_its_libraries_can_answer_otherwise(put, monkeypatch, library_name, deployed, differs):
    put(MODEL, linear())
    put(DATA, "x1,x2\n1,2\n")
    assert invoke()[1]["model"]["warnings"] == []
    handler._model_cache.clear()
    monkeypatch.setenv("DEPLOYED_PACKAGE", json.dumps({"versions": {library_name: deployed}}))

    here = importlib.metadata.version(library_name)
    expected = [f"it was scored here with {library_name} {here}, and the deployed package has {deployed}"] if differs else []
    assert invoke()[1]["model"]["warnings"] == expected
    assert invoke(strict=True)[0] == (400 if differs else 200)


def test_nothing_is_resolved_before_the_pin_is_checked(put, monkeypatch):
    put(MODEL, b"c__main__\nclean\n.")
    put(DATA, "x1,x2\n1,2\n")
    monkeypatch.setattr(handler, "_make_importable", lambda module: pytest.fail(f"{module} was asked for"))
    assert "is not the pinned model" in invoke(model_sha256="0" * 64)[1]["message"]
    pinned = hashlib.sha256(b"c__main__\nclean\n.").hexdigest()
    assert "needs 'clean' of the script" in invoke(model_sha256=pinned)[1]["message"]


class CopiesItsState(FirstColumn):
    """As scikit-learn's trees do, while the unpickler holds what it has read until its end."""

    def __setstate__(self, state):
        self.arrays = [array.copy() for array in state["arrays"]]


def resident_bytes():
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(not Path("/proc/self/statm").exists() or platform.libc_ver()[0] != "glibc", reason="needs Linux with glibc")
def test_a_loaded_model_leaves_no_gaps_in_the_memory(tmp_path):
    model = FirstColumn()
    model.parts = [CopiesItsState() for _ in range(40)]
    for part in model.parts:
        part.arrays = [np.ones(12_500) for _ in range(10)]  # 100 kB each: glibc takes them from its heap in any case
    joblib.dump(model, tmp_path / "model.joblib")
    del model, part
    gc.collect()
    handler._return_freed_memory()
    before = resident_bytes()
    loaded = handler.load_model(tmp_path / "model.joblib")
    assert len(loaded.parts) == 40
    assert resident_bytes() - before < 60e6  # the arrays are 40 MB
