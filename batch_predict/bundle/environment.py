"""Asks the environment where a model was fitted what the model needs there: starts `look.py` under its Python."""

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from batch_predict.bundle.plan import BundleError, Distribution

OLDEST = (3, 8)
"""The oldest Python that the scripts run under."""
LOOK_SECONDS = 300
_VERSION = "import sys; sys.stdout.write('%d.%d' % sys.version_info[:2])"
_LOOK = """
import sys
sys.path[:] = [folder for folder in sys.path if folder]  # the current folder comes by the request, behind the standard library
import types
package = sys.modules["looking"] = types.ModuleType("looking")
package.__path__ = [sys.argv[1]]
from looking.look import main
main()
"""
"""Starts the script as part of a package, so that its folder is not on sys.path, where its files could be taken for own modules."""


@dataclass(frozen=True)
class Environment:
    """What the modules that were asked for need, and where it is."""

    interpreter: Path
    python: str
    """3.11.7"""
    platform: str
    """linux-x86_64"""
    distributions: tuple[Distribution, ...]
    """Those that are needed, with all that these need; sorted by name."""
    code: Mapping[str, Path]
    """Own modules: the path in code.zip, and the file."""
    missing: Mapping[str, str]
    """Modules that were found nowhere, and what needs each."""
    installed: Mapping[str, str]
    """The version of each distribution there, by its normalized name."""
    notes: tuple[str, ...]


def look_at(
    python: Path | None,
    modules: Mapping[str, str],
    *,
    distributions: Iterable[str] = (),
    functions: Iterable[tuple[bytes, Sequence[str]]] = (),
    code: Sequence[Path] = (),
    folders: Sequence[Path] = (),
) -> Environment:
    """Return what modules need in the environment of an interpreter; None is the one that runs now.

    `modules` are a.b.c, each with what needs it. Own modules are looked for in `folders` and the current one before sys.path;
    `code` are own files, packages, or folders of such. `distributions` are taken, too, if they are installed; and what `functions`
    import, which are byte-code of that Python with their names. Raises BundleError if the interpreter is none, or does not answer.
    """
    interpreter = interpreter_at(python)
    for path in code:
        if not path.exists():
            raise BundleError(f"--code {path} does not exist: give a file.py, or the folder of a package")
        if path.is_file() and path.suffix != ".py":
            raise BundleError(f"--code {path} is no module of Python: give a file.py, or the folder of a package")
    answer = _answer_of(
        interpreter,
        {
            "modules": dict(modules),
            "distributions": list(distributions),
            "functions": [[code.hex(), list(names)] for code, names in functions],
            "code": [str(path.resolve()) for path in code],
            "folders": [str(folder.resolve()) for folder in (*folders, Path.cwd())],
        },
    )
    return Environment(
        interpreter=interpreter,
        python=answer["python"],
        platform=answer["platform"],
        distributions=tuple(
            Distribution(one["name"], one["version"], Path(one["folder"]), tuple(one["files"])) for one in answer["distributions"]
        ),
        code={place: Path(file) for place, file in answer["code"].items()},
        missing=answer["missing"],
        installed=answer["installed"],
        notes=tuple(answer["notes"]),
    )


def interpreter_at(python: Path | None) -> Path:
    """Return the interpreter at a path, which may also be the folder of a virtual environment; BundleError if there is none.

    The path stays as it is, a link too: an interpreter finds its environment by the path by which it is started.
    """
    if python is None:
        return Path(sys.executable)
    found = python
    if python.is_dir():
        inside = [python / name for name in ("bin/python", "bin/python3", "Scripts/python.exe", "python.exe")]
        found = next((path for path in inside if path.is_file()), python)
    advice = "give the Python of the environment where the model was fitted, such as .venv/bin/python"
    if not found.is_file():
        raise BundleError(f"--python {python} is no interpreter of Python: {advice}")
    try:
        ran = _run(found, _VERSION)
        version = tuple(int(number) for number in ran.stdout.splitlines()[-1].split("."))
    except (OSError, ValueError, IndexError, subprocess.SubprocessError) as error:
        raise BundleError(f"--python {python} is no interpreter of Python: {advice}") from error
    if ran.returncode or len(version) != 2:
        raise BundleError(f"--python {python} does not run{_last_line(ran.stderr)}: {advice}")
    if version < OLDEST:
        here, oldest = (".".join(map(str, one)) for one in (version, OLDEST))
        raise BundleError(
            f"--python {python} is Python {here}, which bundles are not made from: fit the model again under Python {oldest} or "
            "newer, and give that one"
        )
    return found.absolute()


def _answer_of(interpreter: Path, request: Mapping[str, Any]) -> Any:
    try:
        ran = _run(interpreter, _LOOK, str(Path(__file__).parent), given=json.dumps(request))
        return json.loads(ran.stdout.splitlines()[-1])  # a sitecustomize may have printed before
    except subprocess.TimeoutExpired as error:
        raise BundleError(
            f"{interpreter} has not said in {LOOK_SECONDS} s what is installed there: see whether its folders are on a slow disk"
        ) from error
    except (OSError, ValueError, IndexError) as error:
        told = f" ({error.strerror})" if isinstance(error, OSError) else _last_line(ran.stderr)
        raise BundleError(
            f"{interpreter} cannot say what is installed there{told}: run `{interpreter} -m pip check`, and repair that environment"
        ) from error


def _run(interpreter: Path, program: str, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program of Python's there, where no library of this one's is found."""
    kept = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONSAFEPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__")
    }
    command = [str(interpreter.absolute()), "-c", program, *arguments]
    settings = {"PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(  # noqa: S603  # the user names it
        command, input=given, capture_output=True, encoding="utf-8", env=kept | settings, timeout=LOOK_SECONDS, check=False
    )


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return f" ({lines[-1].strip()})" if lines else ""
