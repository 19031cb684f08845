"""Builds what is deployed: the prediction function with its libraries, and the workflow's functions.

    python3 -m batch_predict.setup.package                               both processors, as zips in dist/
    python3 -m batch_predict.setup.package --architecture x86_64         one of them
    python3 -m batch_predict.setup.package --artifact PredictChunkFunction DIRECTORY   what `sam build` calls, through the Makefile

Needs Python 3.11 with pip, and nothing of the project's environment. What costs time is kept under build/, named by a hash of
all that it is made from.
"""

import argparse
import ast
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

from . import amazon_linux, elf, kernel, slimming, target, wheels
from .target import ROOT, Interpreter, PackageError, Target

BUILD, DIST = target.build_folder(), ROOT / "dist"
PREDICT = ROOT / "functions/predict"
PREDICT_FUNCTION = "PredictChunkFunction"

MAX_BYTES, MAX_SOURCE_BYTES = 258_000_000, 261_500_000
"""Unzipped, with byte-code and with sources, which have docstrings; Lambda's limit is 262,144,000:
https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html"""
DIRECT_UPLOAD_BYTES = 50_000_000
"""The largest zip that can be sent to Lambda itself; a larger one must go through S3 (the same page)."""
LARGEST_SHOWN = 15

SOURCES = ("amazon_linux.py", "byte_code.py", "elf.py", "kernel.py", "package.py", "slimming.py", "target.py", "wheels.py")
"""The builder's own files, on which the package depends."""
CODE = (".py", ".json")
"""What of a function's folder is deployed; beside it lie the files that a package or an image is made by."""
MODEL_LIBRARIES = ("scipy", "sklearn")
"""What models are made of; unpickling imports it, not the handler."""
CARRIED = {"pandas": (), "lightgbm": ("pandas",), "xgboost": ()}
"""Libraries that lie in the package compressed, each with the carried ones that must be importable before it: LightGBM looks for
pandas once, when it is imported. The handler unpacks what a model needs (`_make_importable`)."""
BUNDLED = {"lib/libgomp.so.1": "scikit_learn.libs/libgomp-*.so.*"}
"""Shared libraries under the name by which a carried library looks for them, and what they are copies of: LightGBM's wheel does not
bring its OpenMP, as scikit-learn's and XGBoost's do under names of their own."""
WITH_DOCSTRINGS = ("numpy",)
"""Libraries that put docstrings together when they are imported, and fail if there are none."""

Say = Callable[[str], None]


class Package(NamedTuple):
    """The prediction function's package, before it is zipped."""

    libraries: Path
    """A folder; kept for the next build, so not to be changed."""
    own: dict[str, bytes]
    """The function's own files."""
    report: dict[str, Any]
    """What was done to the libraries."""


def build_predict(
    built_for: Target, *, with_byte_code: bool = True, build: Path = BUILD, limit: int | None = None, say: Say = print
) -> Package:
    """Return the prediction function's package; its libraries are made anew only if something changed.

    Raises PackageError if it would be too large, incomplete or for another processor.
    """
    lines = wheels.locked([*wheels.required_names(), *wheels.required_names(wheels.CARRIED_REQUIREMENTS)], built_for.python)
    interpreter = target.find_interpreter(built_for.python) if with_byte_code else None
    key = _key(*lines, built_for.name, interpreter.version if interpreter else "sources")
    kind = f"{built_for.name}-{'code' if interpreter else 'sources'}"
    folder = build / "package" / f"{kind}-{key}"
    with _only_one(build / "package.lock"):
        if not (folder / "report.json").exists():
            for old in folder.parent.glob(f"{kind}-*"):
                shutil.rmtree(old)
            folder.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".") as partial:
                report = _make(Path(partial) / "new", lines, built_for, interpreter, build)
                (Path(partial) / "new").rename(folder)
        else:
            os.utime(folder)
            report = json.loads((folder / "report.json").read_text())
    own = function_files(PREDICT, "prediction_handler.lambda_handler")
    own[kernel.LIBRARY] = kernel.lambda_kernel(built_for.architecture, build / "kernel")
    own["deployment.json"] = deployment(report["distributions"], built_for, own)
    if interpreter:
        for name in [name for name in own if name.endswith(".py")]:
            own.update(compiled(PREDICT / name, interpreter))
    print_report(report, say)
    limit = limit or (MAX_BYTES if interpreter else MAX_SOURCE_BYTES)
    total = check_size(folder / "libraries", report["owners"], limit, more=sum(map(len, own.values())))
    say(f"  {total:,} bytes in {report['files'] + len(own):,} files, with the handler; limit {limit:,}, Lambda's own 262,144,000")
    return Package(folder / "libraries", own, report)


def _key(*parts: str) -> str:
    sources = [Path(__file__).with_name(name).read_bytes() for name in SOURCES]
    return hashlib.sha256(b"\0".join([*(part.encode() for part in parts), *sources])).hexdigest()[:16]


@contextmanager
def _only_one(path: Path) -> Iterator[None]:
    """Hold a lock: `sam build` and tests build side by side."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _make(folder: Path, lines: list[str], built_for: Target, interpreter: Interpreter | None, build: Path) -> dict[str, Any]:
    runtimes = {name.replace("-", "_") for name in wheels.RUNTIME}
    files = [path for path in wheels.download(lines, built_for, build / "wheels") if wheels.library_name(path) not in runtimes]
    owners = wheels.owners(files)
    libraries, trees = folder / "libraries", folder / "carried"
    libraries.mkdir(parents=True)
    before = wheels.unpack(files, libraries)
    omitted = slimming.slim(libraries)
    symbols = sum(elf.trim_file(path) for path in amazon_linux.shared_libraries(libraries))
    add_bundled(libraries)
    elf_files = check_elf(libraries, built_for)
    carried = {module: _move(libraries, trees / module, owners[module], owners) for module in CARRIED}
    amazon_linux.check_links(libraries, carried.values())
    if interpreter:
        compile_all(libraries, interpreter, with_docstrings=WITH_DOCSTRINGS)
        for module, tree in carried.items():
            compile_all(tree, interpreter, prefix=f"/var/task/carried/{module}.zip", with_docstrings=WITH_DOCSTRINGS)
    checked = check_imports(libraries, required_modules())
    for module, tree in carried.items():
        check_imports(tree, [module])
    index = pack_carried(carried, libraries / "carried")
    shutil.rmtree(trees)
    report = {
        "target": built_for.name,
        "wheels": len(files),
        "wheel_bytes": sum(path.stat().st_size for path in files),
        "distributions": sorted("-".join(path.name.split("-")[:2]) for path in files),
        "before": before,
        "omitted": omitted,
        "symbols": symbols,
        "byte_code": interpreter.version if interpreter else None,
        "after": sizes(libraries, owners),
        "carried": {owners[module]: library["bytes"] for module, library in index.items()},
        "elf_files": elf_files,
        "libraries": checked,
        "files": sum(path.is_file() for path in libraries.rglob("*")),
        "owners": owners,
    }
    (folder / "report.json").write_text(json.dumps(report))
    return report


def add_bundled(libraries: Path) -> None:
    """Copy what `BUNDLED` lists. Raises PackageError unless there is exactly one file to copy."""
    for name, pattern in BUNDLED.items():
        found = sorted(libraries.glob(pattern))
        if len(found) != 1:
            raise PackageError(f"{name} must be a copy of one file, and {pattern} is {len(found)}: change BUNDLED in package.py")
        (libraries / name).parent.mkdir(exist_ok=True)
        shutil.copyfile(found[0], libraries / name)


def _move(libraries: Path, tree: Path, library: str, owners: dict[str, str]) -> Path:
    """Move all that came with a library into a folder of its own, and return that."""
    tree.mkdir(parents=True)
    for path in sorted(libraries.iterdir()):
        if owners.get(path.name) == library:
            path.rename(tree / path.name)
    return tree


def pack_carried(carried: dict[str, Path], directory: Path) -> dict[str, dict[str, Any]]:
    """Zip the carried libraries' folders, and write what the handler knows of them beside the zips; returns that."""
    index = {}
    for module, tree in carried.items():
        path = directory / f"{module}.zip"
        write_zip(path, tree, {})
        index[module] = {"needs": CARRIED[module], "bytes": slimming.size_of(tree), "sha256": _sha256(path)}
    (directory / "index.json").write_text(json.dumps(index, indent=1))
    return index


def compile_all(
    directory: Path, interpreter: Interpreter, *, prefix: str = "/var/task", with_docstrings: tuple[str, ...] | None = None
) -> None:
    """Replace every source by its byte-code, with docstrings only in the libraries of ``with_docstrings``; None means in all."""
    words = [] if with_docstrings is None else ["--docstrings-only-in", *with_docstrings]
    done = subprocess.run(
        [interpreter.path, "-S", "-s", "-P", str(Path(__file__).with_name("byte_code.py")), prefix, *words],
        cwd=directory,
        env=_compiler_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise PackageError(f"{interpreter.path} could not compile the libraries:\n{done.stdout}{done.stderr}")


def _compiler_environment() -> dict[str, str]:
    """Return this environment without what changes byte-code."""
    return {**{name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}, "PYTHONHASHSEED": "0"}


def required_modules(handler: Path = PREDICT / "prediction_handler.py") -> list[str]:
    """Return the modules that must be in the package: what the handler imports, and what models are made of."""
    tree = ast.parse(handler.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    beside = {path.stem for path in handler.parent.glob("*.py")}
    return sorted((names | set(MODEL_LIBRARIES)) - sys.stdlib_module_names - beside - {*wheels.RUNTIME, *CARRIED})


def check_imports(directory: Path, modules: list[str]) -> list[str]:
    """Return ``modules`` if all are there. Raises PackageError otherwise."""
    places = {name: [directory / f"{name}{end}" for end in ("/__init__.pyc", "/__init__.py", ".pyc", ".py")] for name in modules}
    if missing := [name for name, paths in places.items() if not any(path.is_file() for path in paths)]:
        raise PackageError(f"the package lacks {', '.join(missing)}: add it to {wheels.REQUIREMENTS.relative_to(ROOT)}")
    return modules


def check_elf(directory: Path, built_for: Target) -> int:
    """Return the number of shared libraries. Raises PackageError if one is broken, or for another Python or processor."""
    count = 0
    for path in amazon_linux.shared_libraries(directory):
        content = path.read_bytes()
        try:
            elf.segments(content)
            machine = elf.machine(content)
        except elf.ElfError as error:
            raise PackageError(f"{path.name} would not load: {error}") from error
        tag = f"cpython-{built_for.python[0]}{built_for.python[1]}-"
        if machine != built_for.architecture or (".cpython-" in path.name and tag not in path.name):
            raise PackageError(f"{path.name} is for another Python or processor ({machine}) than {built_for.name}")
        count += 1
    return count


def sizes(directory: Path, owners: dict[str, str]) -> dict[str, int]:
    """Return the bytes of each library, as it lies in the package."""
    found: dict[str, int] = {}
    for path in sorted([*directory.iterdir(), *(directory / "carried").glob("*.zip")]):
        if path.name != "carried":
            name = owners.get(path.name) or owners.get(path.stem) or owners.get(path.with_suffix(".py").name, path.name)
            found[name] = found.get(name, 0) + slimming.size_of(path)
    return found


def check_size(directory: Path, owners: dict[str, str], limit: int = MAX_BYTES, *, more: int = 0) -> int:
    """Return the bytes of a folder and ``more``. Raises PackageError above the limit, which names what is large."""
    total = slimming.size_of(directory) + more
    if total <= limit:
        return total
    libraries = sorted(sizes(directory, owners).items(), key=lambda entry: -entry[1])
    files = sorted(((path.stat().st_size, path) for path in directory.rglob("*") if path.is_file()), reverse=True)
    lines = [
        f"the package has {total:,} bytes, and may have {limit:,}; leave more out in slimming.py, or deploy an image.",
        "libraries: " + ", ".join(f"{name} {size:,}" for name, size in libraries),
        "files:",
        *(f"{size:>12,} {path.relative_to(directory)}" for size, path in files[:LARGEST_SHOWN]),
    ]
    raise PackageError("\n".join(lines))


def print_report(report: dict[str, Any], say: Say) -> None:
    """Print what was done, and the result."""
    before, after = report["before"], report["after"]
    say(f"prediction function for {report['target']}: {report['wheels']} wheels, {_mb(report['wheel_bytes'])}")
    say(f"  {'library':<16}{'in the wheel':>16}{'in the package':>16}")
    for name in sorted(before, key=lambda name: -before[name]):
        unpacked = f"  compressed; {_mb(report['carried'][name])} when a model needs it" if name in report["carried"] else ""
        say(f"  {name:<16}{_mb(before[name]):>16}{_mb(after[name]):>16}{unpacked}")
    say(f"  {'together':<16}{_mb(sum(before.values())):>16}{_mb(sum(after.values())):>16}")
    for name, gained in report["omitted"].items():
        say(f"  left out: {name}, {_mb(gained)}")
    say(f"  left out: symbols of {report['elf_files']} shared libraries, {_mb(report['symbols'])}")
    say("  all of these are whole, are for this processor, and find what they need in the package or in Amazon Linux 2023")
    if report["byte_code"]:
        say(f"  byte-code of Python {report['byte_code']} instead of sources")
    else:
        say("  WARNING: sources without byte-code: each cold start compiles them anew, and takes twice to four times as long.")
        say("  That Python was not found here: install it (pyenv, uv python install, your system's), and build again.")
    say(f"  required libraries that are inside: {', '.join(report['libraries'])}")


def _mb(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def function_files(code: Path, handler: str) -> dict[str, bytes]:
    """Return a function's own files, those beside the module of its ``handler`` in ``code``, by their paths in its package."""
    directory = code.joinpath(*handler.split(".")[:-2])
    own = (path for path in sorted(directory.rglob("*")) if path.suffix in CODE)
    return {path.relative_to(code).as_posix(): path.read_bytes() for path in own}


def deployment(distributions: list[str], built_for: Target, own: dict[str, bytes]) -> bytes:
    """Return what the package is made of, and a digest of it, as the handler computes it from this list (`_deployment`)."""
    facts = {
        "distributions": sorted(distributions),
        "machine": target.ARCHITECTURES[built_for.architecture],
        "own": {name: hashlib.sha256(content).hexdigest() for name, content in own.items()},
        "python": built_for.python_version,
    }
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return json.dumps({"digest": digest, **facts}, indent=1).encode()


def compiled(source: Path, interpreter: Interpreter) -> dict[str, bytes]:
    """Return a source's byte-code, as it lies beside it; it knows the source's hash, so that an edit is not overlooked."""
    words = ["-m", "compileall", "-q", "--invalidation-mode", "checked-hash", "-p", "/var/task"]
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(source, folder)
        command = [interpreter.path, "-S", "-s", "-P", *words, "-s", folder, folder]
        subprocess.run(command, env=_compiler_environment(), check=True)
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in Path(folder).glob("__pycache__/*.pyc")}


def zip_files(file: Path | IO[bytes], files: Mapping[str, Path | bytes]) -> None:
    """Write a zip: the same bytes for the same files (and the same zlib)."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in sorted(files.items()):
            entry = zipfile.ZipInfo(name)  # dated 1980-01-01
            entry.external_attr = (0o755 if ".so" in name or name == "bootstrap" else 0o644) << 16
            archive.writestr(entry, content if isinstance(content, bytes) else content.read_bytes(), zipfile.ZIP_DEFLATED)


def write_zip(path: Path, directory: Path | None, extra: dict[str, bytes]) -> None:
    """Zip a folder's files and some more into a file that is there when it is whole."""
    files: dict[str, Path | bytes] = {**extra}
    if directory:
        files.update({file.relative_to(directory).as_posix(): file for file in directory.rglob("*") if file.is_file()})
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    zip_files(partial, files)
    partial.replace(path)


def zip_predict(
    built_for: Target, *, with_byte_code: bool = True, dist: Path = DIST, build: Path = BUILD, say: Say = print
) -> Path:
    """Return the prediction function's zip; written anew only if something changed."""
    libraries, own, _ = build_predict(built_for, with_byte_code=with_byte_code, build=build, say=say)
    path = dist / f"predict-{built_for.name}{'' if with_byte_code else '-sources'}.zip"
    key = _key(libraries.parent.name, *(f"{name} {hashlib.sha256(content).hexdigest()}" for name, content in own.items()))
    note = build / "package" / f"{path.name}.json"
    with _only_one(build / "package.lock"):
        known = json.loads(note.read_text()) if note.exists() else {}
        if not (path.exists() and known == {"key": key, "sha256": _sha256(path)}):
            write_zip(path, libraries, own)
            note.write_text(json.dumps({"key": key, "sha256": _sha256(path)}))
    size = path.stat().st_size
    way = "through S3 alone (above 50 MB)" if size > DIRECT_UPLOAD_BYTES else "directly"
    say(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: {_mb(size)}; reaches Lambda {way}")
    return path


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def workflow_files() -> dict[str, bytes]:
    """Return the files of the package `workflow`, which all functions but the prediction function share."""
    return function_files(ROOT / "functions", "workflow.plan_chunks.lambda_handler")


def zip_workflow(dist: Path = DIST, say: Say = print) -> Path:
    """Return the zip of the workflow's functions; they need nothing beside the runtime's boto3."""
    path, files = dist / "workflow.zip", workflow_files()
    write_zip(path, None, files)
    say(f"workflow functions: {len(files)} files, {sum(map(len, files.values())):,} bytes")
    say(f"{path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}: {_mb(path.stat().st_size)}; reaches Lambda directly")
    return path


def write_artifact(function: str, directory: Path, say: Say = print) -> None:
    """Fill the folder that `sam build` makes for a function of the template. Raises PackageError for any other."""
    if function not in target.template_functions():
        raise PackageError(f"template.yaml has no {function}; it has {', '.join(target.template_functions())}")
    directory.mkdir(parents=True, exist_ok=True)
    if function == PREDICT_FUNCTION:
        libraries, files, _ = build_predict(target.template_target(), say=say)
        shutil.copytree(libraries, directory, dirs_exist_ok=True)
    else:
        files = workflow_files()
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def main() -> None:
    """Build what the command line asks for."""
    parser = argparse.ArgumentParser(prog="batch_predict.setup.package", description="Build what is deployed.")
    parser.add_argument("--architecture", choices=target.ARCHITECTURES, action="append", help="both unless given")
    parser.add_argument("--artifact", nargs=2, metavar=("FUNCTION", "DIRECTORY"), help="fill a folder for `sam build` instead")
    arguments = parser.parse_args()
    if arguments.artifact:
        write_artifact(arguments.artifact[0], Path(arguments.artifact[1]))
        return
    python = target.template_target().python
    for architecture in arguments.architecture or target.ARCHITECTURES:
        zip_predict(Target(architecture, python))
    zip_workflow()


if __name__ == "__main__":
    try:
        main()
    except PackageError as error:
        sys.exit(f"error: {error}")
