"""Load a model as the prediction function does, with the modules that it has, and print what it is as one JSON object.

    DEPLOYED_PACKAGE=... python -P -m batch_predict.local.model_inspection PATH

A process of its own: unpickling runs the model's code, and the memory that it takes can only be measured from a clean start. The
path is a model file, or the folder that a bundle was unpacked into, whose modules come before all others.
"""

import importlib.metadata
import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

from batch_predict.deployed import prediction_handler
from batch_predict.local.as_packaged import lack_other_modules
from batch_predict.local.deployed_package import VARIABLE

METHODS = ("predict", "predict_proba", "decision_function")


def inspect(path: Path) -> dict[str, Any]:
    """Return the facts about a model, or `error` if the prediction function would refuse it."""
    handler = prediction_handler()
    import sklearn.base  # noqa: F401, PLC0415  # so that only the model's own memory is measured

    named = _named_modules()
    lack_what_the_function_lacks()
    before = _peak_bytes()
    started = time.perf_counter()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            estimator = load(handler, path)
        except handler.ModelError as error:
            return {"error": f"{path} {error}"}
    seconds = time.perf_counter() - started
    # Another scikit-learn than this one, if it was fitted with one.
    fitted_with = sorted(
        {one.message.original_sklearn_version for one in caught if hasattr(one.message, "original_sklearn_version")}
    )
    classes, n_features = getattr(estimator, "classes_", None), getattr(estimator, "n_features_in_", None)
    return {
        "estimator": type(estimator).__name__,
        "sklearn_version": ", ".join(fitted_with) or importlib.metadata.version("scikit-learn"),
        "feature_columns": handler.fitted_columns(estimator),
        "n_features": None if n_features is None else int(n_features),
        "classes": None if classes is None or isinstance(classes, list) else [str(label) for label in classes],
        "methods": [method for method in METHODS if callable(getattr(estimator, method, None))],
        "libraries": _libraries(named),
        "modules": sorted({name.partition(".")[0] for name in named}),
        # What receipts of a local run hold as warnings; a bundle has its own libraries.
        "differences": [] if path.is_dir() else handler._package_differences(),  # noqa: SLF001
        "load_seconds": round(seconds, 3),
        "memory_bytes": _peak_bytes() - before,
    }


def lack_what_the_function_lacks() -> None:
    """Let nothing be imported from now on but what the function has, with a bundle's modules if it is a bundle."""
    lack_other_modules(json.loads(os.environ[VARIABLE])["modules"])


def load(handler: ModuleType, path: Path) -> Any:
    """Load a model as the function does: a file by joblib, and a bundle that was unpacked as its bundle.json says."""
    return handler._load_of_bundle(handler._bundle_in(path)) if path.is_dir() else handler.load_model(path)  # noqa: SLF001


def _named_modules() -> set[str]:
    """Return a set that will hold the modules whose classes a pickle names; what these import by themselves says nothing."""
    from joblib.numpy_pickle import NumpyUnpickler  # noqa: PLC0415  # what joblib.load() makes

    named: set[str] = set()
    find_class = NumpyUnpickler.find_class

    def noting(self: Any, module: str, name: str) -> Any:
        named.add(module)
        return find_class(self, module, name)

    NumpyUnpickler.find_class = noting  # this process does nothing else
    return named


def _libraries(modules: set[str]) -> list[str]:
    """Return the distributions of modules, and the names of those that belong to none: files of one's own."""
    of = importlib.metadata.packages_distributions()
    names = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    return sorted({distribution for name in names for distribution in of.get(name, [name])})


def _peak_bytes() -> int:
    """Return the most memory that this process has held; Linux counts what its parent held into ru_maxrss."""
    status = Path("/proc/self/status")
    if status.exists():
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    print(json.dumps(inspect(Path(sys.argv[1]))))
