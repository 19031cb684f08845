"""What a model that was dumped by joblib, pickle, cloudpickle or dill needs, found without unpickling it."""

import io
import pickle
import re
import sys
from _compat_pickle import IMPORT_MAPPING
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from batch_predict.bundle.environment import Environment, look_at
from batch_predict.bundle.libraries import normalized
from batch_predict.bundle.plan import BundleError, Contents, Distribution
from batch_predict.deployed import prediction_handler

_BY_VALUE = ("CodeType", "_create_code", "_make_function", "_make_skeleton_class", "_create_type")
"""What makes functions and classes of what lies in the pickle, in cloudpickle and dill."""
_IMPORTS = ("subimport", "_import_module", "import_module", "__import__")
"""What a pickle calls to import a module whose name is given: cloudpickle's, dill's, and Python's own."""
_OF_SKLEARN = {"xgboost", "lightgbm", "catboost"}
"""Libraries whose wrappers inherit from scikit-learn's classes, which their metadata does not require."""
_PLAIN = {"sklearn", "numpy", "scipy", "joblib"}
_SAME_MODULE = {"xgboost": "xgboost-cpu", "xgboost-cpu": "xgboost"}
"""Libraries of one module."""
_NEWEST_UNKNOWN = 10
"""The newest Python 3 whose byte-code the handler does not tell from older ones'."""
_LARGEST_NESTED = 2**26
"""Bytes of the largest value that is kept to see whether it is a pickle itself."""
_DISTRIBUTIONS = {name: name for name in ("numpy", "scipy", "joblib", "pandas", "xgboost", "lightgbm", "catboost", "cloudpickle")}
_DISTRIBUTIONS |= {"sklearn": "scikit-learn", "imblearn": "imbalanced-learn", "cv2": "opencv-python-headless", "yaml": "pyyaml"}
"""Well-known modules, which are nobody's own, and the libraries that bring them."""


def contents_of(
    model: Path, python: Path | None = None, requires: Sequence[str] = (), code: Sequence[Path] = (), name: str | None = None
) -> Contents:
    """Return what a pickled model needs of the environment of `python`; None is the one that runs now.

    `requires` are requirements (PEP 508) that are added, or take the place of what is installed; `code` are own files, packages, or
    folders of such. `name` is how messages call the model. Raises BundleError if the file is no such model, if it needs what is
    found nowhere, or if it holds code of another Python.
    """
    shown = name or str(model)
    pickled = read_pickle(model, shown)
    environment = look_at(
        python,
        pickled.modules,
        distributions=pickled.also_needed(),
        functions=pickled.functions,
        code=code,
        folders=[model.resolve().parent],
    )
    _require_python(pickled, environment, shown)
    wanted = {_name_of(requirement): requirement for requirement in requires}
    _require_modules(pickled, environment, wanted, shown)
    distributions, notes = _as_fitted(pickled, environment, wanted)
    return Contents(
        model=model,
        python=environment.python,
        distributions=distributions,
        requirements=tuple(requires),
        code={place: file for place, file in environment.code.items() if normalized(Path(place).parts[0]) not in wanted},
        needs_python=pickled.is_by_value,
        notes=(*environment.notes, *notes),
    )


@dataclass
class Pickled:
    """What a pickle names and states; the first five are what the prediction handler's reader fills."""

    names: dict[str, Any] = field(default_factory=dict)
    sklearn_versions: dict[str, None] = field(default_factory=dict)
    is_whole: bool | None = False
    reached: str = ""
    has_damaged_type: bool = False
    modules: dict[str, str] = field(default_factory=dict)
    """The modules that are needed, each with what needs it first."""
    arguments: list[tuple[Any, ...]] = field(default_factory=list)
    """What `types.CodeType` is called with for each function that lies in it by value."""
    pythons: set[tuple[str, ...]] = field(default_factory=set)
    """For each such function, the Pythons that may have written it: 3.11."""
    is_by_value: bool = False
    is_of_frames: bool = False
    """Whether an estimator says that it was fitted on a DataFrame."""

    @property
    def functions(self) -> list[tuple[bytes, Sequence[str]]]:
        """Return the byte-code of each function, which follows a number, and its names, which follow the constants."""
        found: list[tuple[bytes, Sequence[str]]] = []
        for arguments in self.arguments:
            pairs = enumerate(pairwise(arguments), start=1)
            place = next((at for at, (one, code) in pairs if isinstance(one, int) and isinstance(code, bytes)), len(arguments))
            names = arguments[place + 2 : place + 3]
            if names and isinstance(names[0], tuple) and all(isinstance(name, str) for name in names[0]):
                found.append((arguments[place], names[0]))
        return found

    def also_needed(self) -> list[str]:
        """Return libraries that are needed without being named, if they are installed.

        The function loads each model by joblib. It gives a DataFrame to a model that was fitted on one, and to whatever is not
        scikit-learn's alone; such a model of XGBoost's does not say so in its pickle.
        """
        tops = {module.partition(".")[0] for module in self.modules}
        others = tops - _PLAIN - sys.stdlib_module_names
        return [
            "joblib",
            *(["numpy", "scipy", "scikit-learn"] if tops & (_OF_SKLEARN | {"sklearn"}) else []),
            *(["pandas"] if self.is_of_frames or others else []),
        ]


def read_pickle(model: Path, shown: str) -> Pickled:
    """Read all that a pickle names; BundleError in the prediction handler's words if the file is none, or a damaged one."""
    handler = _handler()
    pickled = Pickled()
    if not model.is_file():
        raise BundleError(f"{shown} is no file: give the file that joblib.dump has written")
    if other := handler._other_file(model):  # noqa: SLF001  # the handler's own reading, which its messages are about
        raise BundleError(f"{shown} {other[0]}: {other[1]}")
    try:
        with handler._decompressed(model) as file:  # noqa: SLF001  # as above
            _reader(handler)(_whole(handler)(file), pickled).load()
    except Exception as error:
        if text := handler._text_of(model):  # noqa: SLF001  # as above
            raise next(
                BundleError(f"{shown} {what}: {advice}")
                for pattern, what, advice in handler._TEXTS  # noqa: SLF001  # as above
                if re.match(pattern, text)
            ) from error
        told = str(handler._stopped(model, error, pickled))  # noqa: SLF001  # as above
        if pickled.modules and told.startswith("is not a model"):
            last = list(pickled.modules.values())[-1].removeprefix("its ")
            told = f"is damaged behind its {last} ({type(error).__name__}): copy it again, or dump the model again"
        raise BundleError(f"{shown} {told}") from error
    if pickled.has_damaged_type:
        raise BundleError(f"{shown} is damaged: the type of one of its arrays is not as NumPy writes it: copy it again")
    if scripts := [name.removeprefix("__main__.") for name in pickled.names if name.startswith("__main__.")]:
        raise _of_a_script(scripts, shown)
    return pickled


@cache
def _handler() -> Any:
    """Return the prediction handler, which is loaded anew for whoever asks: here only its reader of pickles is used."""
    return prediction_handler()


def _of_a_script(names: list[str], shown: str) -> BundleError:
    listed = _listed([repr(name) for name in names])
    are, them = ("is", "it") if len(names) == 1 else ("are", "them")
    return BundleError(
        f"{shown} needs {listed} of the script or notebook that fitted it, which {are} not in the file: dump the model there by "
        f"cloudpickle, which takes {them} along (cloudpickle.dump(model, open('model.pkl', 'wb'))), or move {them} into a file of "
        f"its own, import {them} from there, and fit and dump the model again"
    )


def _whole(handler: Any) -> Any:
    """Return a class that reads a file for the handler's reader to its end, not only as far as a function has time for."""

    class Whole(handler._Scanned):  # type: ignore[misc]  # noqa: SLF001  # as above
        def read(self, size: int) -> bytes:
            if size > _LARGEST_NESTED:
                self.skip(size)
                return b""
            return self._file.read(size)  # type: ignore[no-any-return]

        def _count(self, size: int) -> None:
            pass

    return Whole


def _reader(handler: Any) -> Any:
    """Return a class that follows a pickle as the handler does, and notes in a `Pickled` what else a bundle must know."""
    base: Any = handler._PickleReader  # noqa: SLF001  # as above

    class Reader(base):  # type: ignore[misc]
        def find_class(self, module: str, name: str) -> Any:
            module = IMPORT_MAPPING.get(module, module)  # as Python 2 called it, in the first protocols
            noted = self._contents
            noted.modules.setdefault(module, f"its {module}.{name}")
            noted.is_by_value |= name in _BY_VALUE
            return super().find_class(module, name)

        def load_reduce(self) -> None:
            called, arguments = self.stack[-2:]
            name = called.named.rpartition(".")[2]
            if name in _IMPORTS and arguments and isinstance(arguments[0], str):
                self._contents.modules.setdefault(arguments[0], f"its module {arguments[0]}")
            if name in {"CodeType", "_create_code"} or "CodeType" in called.arguments:
                self._contents.is_by_value = True
                self._contents.arguments.append(arguments)
                self._contents.pythons.add(handler._pythons_of(arguments))  # noqa: SLF001  # as above
            self._read_nested(arguments)
            base.load_reduce(self)

        def load_build(self) -> None:
            state = self.stack[-1]
            if isinstance(state, dict):
                self._contents.is_of_frames |= "feature_names_in_" in state or bool(state.get("pandas_categorical"))
                self._read_nested(state.values())
            base.load_build(self)

        def _read_nested(self, values: Iterable[Any]) -> None:
            """Read values that are pickles themselves, as joblib.wrap_non_picklable_objects makes them."""
            for value in values:
                if isinstance(value, bytes) and re.match(rb"\x80[\x02-\x05]", value) and value.endswith(pickle.STOP):
                    with suppress(Exception):  # bytes that only look like a pickle
                        type(self)(type(self._scanned)(io.BytesIO(value)), self._contents).load()

        dispatch: ClassVar[dict[int, Any]] = base.dispatch | {pickle.REDUCE[0]: load_reduce, pickle.BUILD[0]: load_build}

    return Reader


def _require_python(pickled: Pickled, environment: Environment, shown: str) -> None:
    """Refuse byte-code of another Python than the environment's: it was not fitted there."""
    here = ".".join(environment.python.split(".")[:2])
    is_old = int(here.partition(".")[2]) <= _NEWEST_UNKNOWN
    for written in pickled.pythons:
        if written and here not in written and not (is_old and "older" in written[0]):
            raise BundleError(
                f"{shown} holds functions by value, which were pickled under Python {' or '.join(written)}, and "
                f"{environment.interpreter} is Python {here}: give by --python the environment where it was fitted"
            )


def _require_modules(pickled: Pickled, environment: Environment, wanted: Mapping[str, str], shown: str) -> None:
    """Refuse what needs modules that were found nowhere, unless a requirement may bring them."""
    if set(wanted) - set(environment.installed):  # what such a library brings is known to nobody yet
        return
    tops: dict[str, str] = {}
    for module, by in environment.missing.items():
        tops.setdefault(module.partition(".")[0], by)
    if not tops:
        return
    listed = _listed([f"{top!r} (for {by})" for top, by in tops.items()])
    modules = "module" if len(tops) == 1 else "modules"
    own = next((top for top in tops if top not in _DISTRIBUTIONS), None)
    top = own or next(iter(tops))
    version = f"=={_newest(pickled.sklearn_versions)}" if top == "sklearn" and pickled.sklearn_versions else ""
    advice = [
        "by --python the environment where it was fitted",
        *([f"your own file by --code {own}.py"] if own else []),
        f"a library by --requires {_DISTRIBUTIONS.get(top, top)}{version}",
    ]
    raise BundleError(
        f"{shown} needs the {modules} {listed}, found neither in the environment of {environment.interpreter} nor beside the model "
        f"or in the current folder: give {', or '.join(advice)}"
    )


def _as_fitted(
    pickled: Pickled, environment: Environment, wanted: Mapping[str, str]
) -> tuple[tuple[Distribution, ...], tuple[str, ...]]:
    """Return the libraries with the scikit-learn that saved the model, without those that requirements replace; and notes."""
    replaced = set(wanted) | {other for name, other in _SAME_MODULE.items() if name in wanted}
    fitted = _newest(pickled.sklearn_versions)
    installed = environment.installed.get("scikit-learn")
    notes = []
    if "scikit-learn" in wanted and fitted:
        notes.append(f"the model was saved with scikit-learn {fitted}, and the bundle takes {wanted['scikit-learn']}")
    elif installed and fitted and installed not in pickled.sklearn_versions:
        notes.append(
            f"the model was saved with scikit-learn {fitted}, and the environment of {environment.interpreter} has {installed}: "
            f"the bundle takes {fitted}, and the other libraries as they are there; better give by --python the environment where "
            "it was fitted"
        )
    else:
        fitted = ""
    distributions = [one for one in environment.distributions if one.name not in replaced]
    if fitted:
        distributions = [
            replace(one, version=fitted, installed=None, files=()) if one.name == "scikit-learn" else one for one in distributions
        ]
    return tuple(distributions), tuple(notes)


def _newest(versions: Iterable[str]) -> str:
    return max(versions, key=lambda version: [int(number) for number in re.findall(r"\d+", version)], default="")


def _name_of(requirement: str) -> str:
    """Return the normalized name of a requirement; pip reads the rest."""
    found = re.match(r"\s*([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)\s*(?:\[[^\]]*\])?\s*(?:$|[=<>!~@;(])", requirement)
    if not found:
        raise BundleError(f"--requires {requirement!r} is no requirement: write it as for pip, xgboost-cpu==3.4.1")
    return normalized(found[1])


def _listed(items: Sequence[str]) -> str:
    shown = [*items[:5], *([f"{len(items) - 5} more"] if len(items) > 5 else [])]
    return " and ".join([", ".join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)
