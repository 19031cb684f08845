"""Which version takes the place of one that has no wheel for the function's Python."""
# ruff: noqa: PLC0415  # pip's own library is slow to import, and nothing but a bundle needs it

from collections.abc import Iterable

OTHER_FEATURE_RELEASES = frozenset({"numpy", "scipy", "pandas"})
"""What models are computed with, not made of: another feature release than the model's may take the place of one without a wheel,
of numpy also a newer major version."""


def nearest_version(name: str, version: str, available: Iterable[str]) -> str | None:
    """Return the oldest version above one, of the same feature release if models are made of the library.

    For a Python that is older than the model's, of what models are computed with alone, the newest below.
    """
    from pip._vendor.packaging.version import InvalidVersion, Version

    try:
        wanted = Version(version)
    except InvalidVersion:
        return None
    ordered = sorted(map(Version, available))
    newer = [one for one in ordered if one > wanted]
    fitting = [one for one in newer if one.release[:2] == wanted.release[:2]]
    if not fitting and name in OTHER_FEATURE_RELEASES:
        fitting = [one for one in newer if name == "numpy" or one.major == wanted.major]
        fitting = fitting or [one for one in reversed(ordered) if one < wanted and one.major == wanted.major]
    return str(fitting[0]) if fitting else None


def nearest_of_all(version: str, available: list[str]) -> str | None:
    """Return the oldest version above one, else the newest below; None if there is none."""
    from pip._vendor.packaging.version import InvalidVersion, Version

    ordered = sorted(map(Version, available))
    try:
        newer = [one for one in ordered if one > Version(version)]
    except InvalidVersion:
        newer = []
    return str((newer or ordered[-1:])[0]) if ordered else None


def is_in(version: str, specifier: str) -> bool:
    """Return whether a version is one of those that a requirement takes."""
    from pip._vendor.packaging.specifiers import SpecifierSet

    return SpecifierSet(specifier).contains(version, prereleases=True)


def same(version: str, other: str) -> bool:
    """Return whether two spellings are one version: 1.0 and 1.0.0."""
    from pip._vendor.packaging.utils import canonicalize_version

    return canonicalize_version(version) == canonicalize_version(other)
