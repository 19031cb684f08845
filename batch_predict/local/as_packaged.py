"""Makes a Python process lack the modules that the deployed prediction function lacks: it would have the user's own.

Lies beside the handler in the package that `deploy.py` zips, for `start_function.py`, and uses the standard library alone.
"""

import sys
from collections.abc import Collection, Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType


class _Lacking(MetaPathFinder):
    """Finds nothing, and says so for each top-level module that is not of the package."""

    def __init__(self, has: Collection[str]) -> None:
        self.has = has

    def find_spec(self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> None:  # noqa: ARG002
        if not _is_in(fullname, self.has):
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def _is_in(module: str, has: Collection[str]) -> bool:
    top = module.partition(".")[0]
    # The names of sysconfig's own modules end in the platform's, so that Python's list of its modules leaves them out.
    return top in has or top in sys.stdlib_module_names or top.startswith("_sysconfigdata") or top == "__main__"


def lack_other_modules(has: Collection[str]) -> None:
    """Let nothing be imported from now on, or again, but the standard library and the package's top-level modules."""
    sys.meta_path.insert(0, _Lacking(has))
    for name in [name for name in sys.modules if not _is_in(name, has)]:
        del sys.modules[name]
