"""Finds the versions of a bundle's libraries that there are wheels of, for one platform, and gets these wheels."""

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from batch_predict.bundle import pip_download
from batch_predict.bundle.libraries import normalized
from batch_predict.bundle.pip_download import ConflictError, NoVersionError
from batch_predict.bundle.plan import HANDLERS_OWN, BundleError, Contents
from batch_predict.bundle.platforms import Platform
from batch_predict.bundle.versions import is_in, nearest_of_all, nearest_version, same
from batch_predict.bundle.wheel_files import Wheel, forget_unused, read_wheel, wheel_in, wheel_of_installed
from batch_predict.setup.package import Say

CPU_ONLY = {"xgboost": "xgboost-cpu"}
"""Distributions with the same modules for Linux, without 200 MB and more for graphics cards."""
WORK_WITHOUT_NVIDIA = frozenset({"xgboost", "xgboost-cpu", "lightgbm", "catboost"})
_NO_GRAPHICS = [f"nvidia-{library}{cuda}<0" for library in ("cublas", "cuda-runtime") for cuda in ("", "-cu11", "-cu12", "-cu13")]
"""Constraints that let pip fail before it downloads gigabytes that no function can use."""
MAX_ROUNDS = 60


@dataclass(frozen=True)
class Resolved:
    """The libraries of a bundle for one platform."""

    wheels: Mapping[str, Wheel]
    """By name, in its order: what the bundle brings, and what it takes from the function."""
    from_function: frozenset[str]
    fitted_with: Mapping[str, str]
    """Versions where the model was fitted, as far as known."""
    notes: tuple[str, ...]


def resolve(
    contents: Contents, platform: Platform, preferred: Mapping[str, str], *, cache: Path, scratch: Path, say: Say
) -> Resolved:
    """Get the wheels for a platform, in the ``preferred`` versions (of the bundle's other platform) where these have one.

    Wheels are kept in ``cache``, those that no index has in ``scratch``, a folder of the caller's. Raises BundleError, which names
    what has no wheel, and says what to do.
    """
    pip_download.require_pip()
    resolution = _Resolution(contents, platform, preferred, cache, scratch / platform.name, say)
    resolution.get_pinned()
    resolution.agree()
    resolution.get_requirements()
    return resolution.result()


class _Resolution:
    def __init__(
        self, contents: Contents, platform: Platform, preferred: Mapping[str, str], cache: Path, scratch: Path, say: Say
    ) -> None:
        self.platform, self.preferred, self.say, self.scratch = platform, preferred, say, scratch
        self.cache = cache / platform.name / _index_key()
        forget_unused(self.cache, "*.whl")
        self.local = scratch / "local"
        self.local.mkdir(parents=True)
        self.requirements = [self._cpu_only(text) for text in contents.requirements]
        asked = {_name(text) for text in self.requirements} | {_name(text) for text in contents.requirements}
        self.distributions = {normalized(one.name): one for one in contents.distributions if normalized(one.name) not in asked}
        self.left_out = sorted(HANDLERS_OWN & self.distributions.keys())
        self.fitted = {name: one.version for name, one in self.distributions.items() if name not in HANDLERS_OWN}
        for pair in CPU_ONLY.items():
            name, instead = pair if platform.is_linux else reversed(pair)  # other systems have wheels of the first alone
            if name in self.fitted and instead not in self.fitted:
                self.fitted[instead] = self.fitted.pop(name)
        self._leave_out_nvidia()
        self.versions = {name: preferred.get(name, version) for name, version in self.fitted.items()}
        self.available: dict[str, list[str]] = {}
        self.replaced: set[str] = set()
        self.wheels: dict[str, Wheel] = {}
        self.rounds = 0

    # --- exact versions ---

    def get_pinned(self) -> None:
        """Get a wheel of each distribution, in its version or in what may take its place."""
        while missing := [name for name, version in self.versions.items() if not self._has(name, version)]:
            self._count_round()
            self.say(f"getting {len(missing)} libraries for {self.platform.name}")
            try:
                self._get([f"{name}=={self.versions[name]}" for name in missing])
            except NoVersionError as none:
                self._replace(none)

    def _has(self, name: str, version: str) -> bool:
        if name in self.wheels and same(self.wheels[name].version, version):
            return True
        wheel = wheel_in(self.cache, name, version)
        if wheel:
            os.utime(wheel.path)
            self.wheels[name] = wheel
        return wheel is not None

    def _get(self, requirements: list[str], constraints: Iterable[str] = (), *, with_needs: bool = False) -> list[Wheel]:
        """Download into a folder of this call, and move what came into the cache."""
        folder = Path(tempfile.mkdtemp(dir=self.scratch)) / "wheels"
        got = pip_download.download(
            requirements, folder, self.platform, constraints=constraints, with_needs=with_needs, find_links=self.local
        )
        self.cache.mkdir(parents=True, exist_ok=True)
        found = []
        for path in got:
            kept = path if (self.local / path.name).exists() else self._keep(path)
            found.append(read_wheel(kept))
            if not with_needs:
                self.wheels[found[-1].name] = found[-1]
        return found

    def _keep(self, path: Path) -> Path:
        partial = self.cache / f".{os.getpid()}-{path.name}"
        shutil.copyfile(path, partial)
        partial.replace(self.cache / path.name)
        return self.cache / path.name

    def _replace(self, none: NoVersionError) -> None:
        """Decide what takes the place of a version without a wheel. Raises BundleError if nothing may."""
        name = none.name
        self.available[name] = none.versions
        fitted = self.fitted[name]
        if self.versions[name] != fitted and name not in self.replaced:  # what the other platform has, this one need not have
            self.versions[name] = fitted
            return
        original = next((large for large, smaller in CPU_ONLY.items() if smaller == name), None)
        if original and original in self.distributions:
            self.fitted[original] = self.versions[original] = self.fitted.pop(name)
            del self.versions[name]
        elif made := self._of_no_index(name, fitted, has_wheels=bool(none.versions)):
            self.wheels[name] = made
        elif nearest := nearest_version(name, fitted, none.versions):
            self.versions[name] = nearest
            self.replaced.add(name)
        else:
            raise self._no_wheel(name, f" {fitted}", none.versions)

    def _of_no_index(self, name: str, version: str, *, has_wheels: bool) -> Wheel | None:
        """Return a wheel of what is installed where the model was fitted, or of sources, if that is Python alone."""
        distribution = self.distributions.get(name)
        path = wheel_of_installed(distribution, self.local) if distribution else None
        if path is None and not has_wheels:
            self.say(f"building {name} {version} from its sources: no index has a wheel of it")
            path = pip_download.build(f"{name}=={version}", Path(tempfile.mkdtemp(dir=self.scratch)) / "built", self.platform)
            path = self._keep(path) if path else None
        return read_wheel(path) if path else None

    def _no_wheel(self, name: str, wanted: str, versions: list[str]) -> BundleError:
        where = f"Python {self.platform.python_version} ({self.platform.name})"
        if not versions:
            return BundleError(
                f"no package index that pip knows has a wheel of {name}{wanted} for {where}, or sources that are Python alone: "
                f"add its modules with --code if they are yours, or --requires another version or distribution of it"
            )
        return BundleError(
            f"{name}{wanted} has no wheel for {where}; {_some(versions)} have one: fit the model with one of these, or take the "
            f"nearest, --requires {name}=={nearest_of_all(wanted.strip(' =<>!~'), versions)}, and see with --check whether the "
            "predictions stay the same"
        )

    def _count_round(self) -> None:
        self.rounds += 1
        if self.rounds > MAX_ROUNDS:
            raise BundleError(
                f"no versions were found for {self.platform.name} that agree with each other: say which, with --requires"
            )

    # --- versions that agree ---

    def agree(self) -> None:
        """Take newer versions of what a replaced distribution, or another, demands newer; find what only this platform needs."""
        while broken := next(self._broken(), None):
            self._count_round()
            name, specifiers = broken
            available = self.available.get(name) or pip_download.versions_with_wheel(name, self.platform)
            self.available[name] = available
            allowed = [one for one in available if all(is_in(one, specifier) for specifier in specifiers)]
            nearest = nearest_of_all(self.fitted.get(name, self.versions[name]), allowed)
            if nearest is None or nearest == self.versions[name]:
                wanted = " and ".join(specifiers)
                raise BundleError(
                    f"{name} must be {wanted} for the model's other libraries, and no version of it that is has a wheel for Python "
                    f"{self.platform.python_version} ({self.platform.name}): fit the model with newer versions of them"
                )
            self.versions[name] = nearest
            self.replaced.add(name)
            self.wheels.pop(name, None)
            self.get_pinned()

    def _broken(self) -> Iterator[tuple[str, list[str]]]:
        """Yield each distribution whose version another does not accept, if one of the two was replaced; with what all demand."""
        demands: dict[str, list[tuple[str, str]]] = {}
        for wheel in self.wheels.values():
            for name, specifier, _ in self._needs(wheel):
                demands.setdefault(name, []).append((wheel.name, specifier))
        for name, of in demands.items():
            demanded = self.wheels.get(name) or self.wheels.get(CPU_ONLY.get(name, ""))
            if demanded is None or demanded.name not in self.versions:
                continue
            involved = demanded.name in self.replaced or any(other in self.replaced for other, _ in of)
            if involved and not all(is_in(demanded.version, specifier) for _, specifier in of):
                yield demanded.name, [specifier for _, specifier in of if specifier]

    def _needs(self, wheel: Wheel) -> Iterator[tuple[str, str, bool]]:
        """Yield what a wheel requires on this platform: the name, the versions, and whether only some platforms need it."""
        from pip._vendor.packaging.requirements import Requirement  # noqa: PLC0415  # slow, and the bundle alone needs it

        for text in wheel.requires:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({**self.platform.markers, "extra": ""}):
                yield normalized(requirement.name), str(requirement.specifier), requirement.marker is not None

    def _lacking(self) -> list[str]:
        """Return requirements of what only this platform or a replaced version needs."""
        known = {*self.wheels, *HANDLERS_OWN, *(name for name, smaller in CPU_ONLY.items() if smaller in self.wheels)}
        found = {}
        for wheel in self.wheels.values():
            for name, specifier, by_platform in self._needs(wheel):
                if name not in known and (by_platform or wheel.name in self.replaced) and not name.startswith("nvidia-"):
                    found[name] = f"{name}{specifier}"
        return list(found.values())

    # --- requirements ---

    def get_requirements(self) -> None:
        """Let pip resolve the requirements, and what only this platform needs, with what these need in turn."""
        lines = [*self.requirements, *self._lacking()]
        if not lines:
            return
        exact = {name: version for name, version in map(_exact, lines) if version}
        self.fitted.update({name: version for name, version in exact.items() if name not in HANDLERS_OWN})
        soft = {
            name: [version for of in (self.preferred, self.platform.function) if (version := of.get(name))]
            for name in {**self.preferred, **self.platform.function}
            if name not in self.versions and name not in exact
        }
        for name in exact.keys() & self.preferred.keys():
            lines = [f"{name}=={self.preferred[name]}" if _name(line) == name else line for line in lines]
        self.say(f"resolving {', '.join(lines)} for {self.platform.name}")
        while True:
            self._count_round()
            pins = [f"{name}=={wheel.version}" for name, wheel in self.wheels.items()]
            pins += [f"{name}{of}" for wheel in self.wheels.values() for name, of, _ in self._needs(wheel) if of]
            try:
                got = self._get(
                    lines,
                    [*pins, *(f"{name}=={versions[0]}" for name, versions in soft.items()), *_NO_GRAPHICS],
                    with_needs=True,
                )
            except NoVersionError as none:
                lines = self._instead(lines, none, exact, soft)
            except ConflictError as conflict:
                lines = self._relaxed(lines, conflict, soft)
            else:
                break
        for wheel in got:
            self.wheels.setdefault(wheel.name, wheel)

    def _instead(self, lines: list[str], none: NoVersionError, exact: dict[str, str], soft: dict[str, list[str]]) -> list[str]:
        """Return the lines with what may take the place of a version without a wheel, or take a constraint away."""
        name = none.name
        self.available[name] = none.versions
        if name.startswith("nvidia-"):
            raise _needs_graphics("a library of this model")
        if name in soft:
            _try_next(soft, name)
            return lines
        asked = next((line for line in lines if _name(line) == name), None)
        if asked and name in CPU_ONLY.values():
            original = next(large for large, smaller in CPU_ONLY.items() if smaller == name)
            if name in exact:
                exact[original] = self.fitted[original] = self.fitted.pop(name)
            return [f"{original}{line[len(name) :]}" if line == asked else line for line in lines]
        version = exact.get(name, "")
        if asked and version and _exact(asked)[1] != version and name not in self.replaced:
            return [f"{name}=={version}" if line == asked else line for line in lines]  # not what the other platform has
        if not none.versions and self._of_no_index(name, version, has_wheels=False):
            return lines
        nearest = nearest_version(name, version, none.versions) if asked and version else None
        if nearest is None:
            raise self._no_wheel(name, none.wanted and f" {none.wanted.removeprefix('==')}", none.versions)
        self.replaced.add(name)
        return [f"{name}=={nearest}" if line == asked else line for line in lines]

    def _relaxed(self, lines: list[str], conflict: ConflictError, soft: dict[str, list[str]]) -> list[str]:
        """Return the lines with less that contradicts. Raises BundleError if they contradict as they were asked."""
        if any(name.startswith("nvidia-") for name in conflict.constraints):
            raise _needs_graphics(_name(lines[0]) if len(lines) == 1 else "a library of this model")
        blamed = [name for name in conflict.constraints if name in soft] or list(soft)
        for name in blamed:
            _try_next(soft, name)
        if blamed:
            return lines
        relaxed = [line.replace("==", ">=", 1) if _name(line) in self.replaced else line for line in lines]
        if relaxed == lines:
            raise BundleError(
                f"the requirements contradict each other for {self.platform.name} ({conflict}): change the versions with --requires"
            )
        return relaxed

    def _cpu_only(self, text: str) -> str:
        name = _name(text)
        if not self.platform.is_linux or name not in CPU_ONLY:
            return text
        return re.sub(r"^\s*[\w.-]+", CPU_ONLY[name], text)

    # --- what is not brought ---

    def _leave_out_nvidia(self) -> None:
        nvidia = [name for name in self.fitted if name.startswith("nvidia-")]
        if len(nvidia) > 1 or (nvidia and not WORK_WITHOUT_NVIDIA & self.fitted.keys()):
            raise _needs_graphics("torch" if "torch" in self.fitted else "a library of this model")
        for name in nvidia:
            del self.fitted[name]

    def result(self) -> Resolved:
        """Return what was got, without what the function always has itself and what no function can use."""
        nvidia = [name for name in self.wheels if name.startswith("nvidia-")]
        wheels = {name: wheel for name, wheel in sorted(self.wheels.items()) if name not in HANDLERS_OWN and name not in nvidia}
        notes = []
        if self.left_out:
            verb = "is" if len(self.left_out) == 1 else "are"
            notes.append(f"{', '.join(self.left_out)} {verb} left out: the function reads and writes with its own")
        fitted = {name: version for name, version in self.fitted.items() if name in wheels}
        return Resolved(wheels, self._from_function(wheels), fitted, tuple(notes))

    def _from_function(self, wheels: Mapping[str, Wheel]) -> frozenset[str]:
        """Return what the function has in that version itself, and what agrees there with all that the bundle brings."""
        taken = {name for name, wheel in wheels.items() if self.platform.function.get(name) == wheel.version}
        while True:
            contradicting = {
                name
                for name in taken
                for needed, specifier, _ in self._needs(wheels[name])
                if needed in wheels and needed not in taken and not is_in(wheels[needed].version, specifier)
            }
            if not contradicting:
                return frozenset(taken)
            taken -= contradicting


def _try_next(soft: dict[str, list[str]], name: str) -> None:
    soft[name].pop(0)
    if not soft[name]:
        del soft[name]


def _some(versions: list[str]) -> str:
    return ", ".join(versions if len(versions) <= 6 else [*versions[:3], "…", *versions[-2:]])


def _needs_graphics(what: str) -> BundleError:
    return BundleError(
        f"{what} needs NVIDIA's libraries, gigabytes that no Lambda function can use: fit the model with the distribution for "
        "processors alone, such as torch+cpu, or name that with --requires"
    )


def _name(requirement: str) -> str:
    """Return the normalized name of a requirement."""
    found = re.match(r"\s*([A-Za-z0-9][\w.-]*)", requirement)
    return normalized(found[1]) if found else requirement


def _exact(requirement: str) -> tuple[str, str]:
    """Return name and version of a requirement of one version; the version is empty for others."""
    found = re.fullmatch(r"\s*([A-Za-z0-9][\w.-]*)\s*==\s*([\w.+!-]+)\s*", requirement)
    return (normalized(found[1]), found[2]) if found else (_name(requirement), "")


def _index_key() -> str:
    """Return what tells wheels of other indexes apart."""
    told = sorted((name, value) for name, value in os.environ.items() if re.match(r"PIP_.*(INDEX|LINKS|CONFIG)", name))
    return hashlib.sha256(repr(told).encode()).hexdigest()[:16]
