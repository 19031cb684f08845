"""Replaces every source in the current folder by its byte-code; runs on its own, in an interpreter of the target's Python.

`package.py` starts it as `python -S -s -P byte_code.py PREFIX [--docstrings-only-in LIBRARY ...]`; it imports nothing of the
project. The same sources give the same bytes: they are compiled in order, with their hashes and without this machine's paths.

Docstrings are a third of the byte-code that each cold start reads. A source that mentions `__doc__` keeps its own, because it may
compute with them. The rest behaves as under `python -OO`, which these libraries support.
"""

import ast
import importlib.util
import sys
import warnings
from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[attr-defined]  # what py_compile writes by
from pathlib import Path


def compiled(source: bytes, name: str, *, docstrings: bool = True) -> bytes:
    """Return the contents of a .pyc, which is never compared with its source. Raises SyntaxError."""
    tree = ast.parse(source, name)
    if not docstrings and b"__doc__" not in source:
        _strip_docstrings(tree)
    code = compile(tree, name, "exec", dont_inherit=True)
    return bytes(_code_to_hash_pyc(code, importlib.util.source_hash(source), checked=False))


def _strip_docstrings(tree: ast.Module) -> None:
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            continue
        first = node.body[0] if node.body else None
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            node.body[:1] = [] if len(node.body) > 1 else [ast.copy_location(ast.Pass(), first)]


def main() -> None:
    """Compile everything; the arguments are the prefix of names in tracebacks, and the libraries that keep their docstrings."""
    prefix, *more = sys.argv[1:]
    warnings.simplefilter("ignore", SyntaxWarning)  # the libraries' own
    for path in sorted(Path().rglob("*.py")):
        docstrings = not more or path.parts[0] in more[1:]
        path.with_suffix(".pyc").write_bytes(compiled(path.read_bytes(), f"{prefix}/{path.as_posix()}", docstrings=docstrings))
        path.unlink()


if __name__ == "__main__":
    main()
