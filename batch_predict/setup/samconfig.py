"""The parameters of a stack in `samconfig.toml`, which the SAM CLI deploys by.

text = configured(text, {"ModelBucket": "models-of-ours", "ScheduleExpression": "cron(30 0 * * ? *)"})
"""

import difflib
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import Array, String

from batch_predict.deployed import stack_directory
from batch_predict.errors import BatchPredictError
from batch_predict.setup.stack_settings import PLACEHOLDERS, REGION, SETTINGS, STACK_NAME, default_of


def start_text() -> str:
    """Return the project's own samconfig.toml, to begin with if there is none."""
    try:
        return (stack_directory() / "samconfig.toml").read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BatchPredictError("there is no samconfig.toml to begin with: install batch-predict again") from error


def read_config(path: Path) -> str | None:
    """Return the text of a samconfig.toml; None if there is none. Raises BatchPredictError if it cannot be read."""
    try:
        return path.read_bytes().decode()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BatchPredictError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BatchPredictError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from error


class DeployOptions(NamedTuple):
    """What a samconfig.toml says of a deployment, for who deploys without the SAM CLI."""

    stack_name: str
    region: str
    """Empty: that of the AWS profile."""
    tags: list[str]
    """As "Project=batch-predict"."""
    parameters: dict[str, str]
    """All that it sets, also what `init` does not ask for."""


def deploy_options(text: str) -> DeployOptions:
    """Return what a samconfig.toml says of a deployment. Raises BatchPredictError for what the AWS CLI would take for an option."""
    deploy = _deploy_table(_parsed(text))
    tags = deploy.get("tags", [])
    words = shlex.split(tags) if isinstance(tags, str) else [str(tag) for tag in tags]
    name, region = str(deploy.get(STACK_NAME, default_of(STACK_NAME))), str(deploy.get(REGION, ""))
    parameters = _overrides(deploy)
    for word in [*words, *(f"{name}=" for name in parameters)]:
        if not re.match("[^-=][^=]*=", word):
            raise BatchPredictError(f"samconfig.toml: {word!r} is no tag and no parameter: write each as Name=value")
    return DeployOptions(name, region, words, parameters)


def current_settings(text: str) -> dict[str, str]:
    """Return the settings that a samconfig.toml holds; placeholders do not count."""
    deploy = _deploy_table(_parsed(text))
    found = {name: str(deploy[name]) for name in (STACK_NAME, REGION) if name in deploy}
    found |= _overrides(deploy)
    asked = {setting.name for setting in SETTINGS}
    return {name: value for name, value in found.items() if name in asked and PLACEHOLDERS.get(name) != value}


def configured(text: str, settings: Mapping[str, str]) -> str:
    """Return a samconfig.toml with these settings, and all else as it is; empty ones but prefixes, and defaults, are left out."""
    document = _parsed(text)
    deploy = _deploy_table(document)
    for name in (STACK_NAME, REGION):
        if settings.get(name):
            deploy[name] = settings[name]
        elif name in settings:
            deploy.pop(name, None)
    before = _overrides(deploy)
    entries = deploy.get("parameter_overrides")
    if not isinstance(entries, Array):  # a string, as `sam deploy --guided` writes it, or nothing
        entries = tomlkit.array().multiline(multiline=True)
        entries.extend(_override(name, value) for name, value in before.items())
        deploy["parameter_overrides"] = entries
    for name, value in settings.items():
        if name in (STACK_NAME, REGION) or before.get(name) == value:
            continue
        place = next((index for index, entry in enumerate(entries) if name in _split(str(entry))), None)
        if place is None:
            if value != default_of(name):
                entries.append(_override(name, value))
        elif value or name.endswith("Prefix"):
            entries[place] = _override(name, value)
        else:
            del entries[place]
    return tomlkit.dumps(document)


def difference(before: str, after: str, path: Path) -> str:
    """Return what changes, as a unified diff; empty if nothing does."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), str(path), lineterm="", n=1)
    return "\n".join(lines)


def _parsed(text: str) -> tomlkit.TOMLDocument:
    try:
        return tomlkit.parse(text)
    except TOMLKitError as error:
        raise BatchPredictError(f"samconfig.toml cannot be read as TOML: {error}") from error


def _deploy_table(document: tomlkit.TOMLDocument) -> Any:
    """Return `[default.deploy.parameters]`, made if it is missing."""
    table: Any = document
    for name in ("default", "deploy", "parameters"):
        table = table.setdefault(name, tomlkit.table())
        if not isinstance(table, Mapping):
            raise BatchPredictError(f"samconfig.toml: {name} of [default.deploy.parameters] is no table: correct it first")
    return table


def _overrides(deploy: Mapping[str, Any]) -> dict[str, str]:
    entries = deploy.get("parameter_overrides", [])
    if isinstance(entries, str):
        return _split(entries)
    if not isinstance(entries, list) or not all(isinstance(entry, str) for entry in entries):
        raise BatchPredictError('samconfig.toml: parameter_overrides must be a list of "Name=value": write it so, and start again')
    found: dict[str, str] = {}
    for entry in entries:
        if len(parts := _split(entry)) > 1:
            raise BatchPredictError(f"samconfig.toml: parameter_overrides has {', '.join(parts)} in one entry: give each its own")
        found |= parts
    return found


def _split(entry: str) -> dict[str, str]:
    """Return {name: value} of "A=1 B="two words""."""
    try:
        words = shlex.split(entry)
    except ValueError as error:
        raise BatchPredictError(f"samconfig.toml: parameter_overrides has {entry!r}: {error}") from error
    return dict(word.split("=", 1) for word in words if "=" in word)


def _override(name: str, value: str) -> String | str:
    r"""Return an entry of `parameter_overrides` as the SAM CLI reads it: it ends a value outside quotes at its first space.

    In quotes it knows no backslash but that of `\"`; JSON can spell each character without either.
    https://github.com/aws/aws-sam-cli/blob/develop/samcli/cli/types.py
    """
    if re.fullmatch(r"[^\s\"'\\,]+", value):
        return f"{name}={value}"
    plain = value.replace("\\\\", r"\u005c").replace(r"\"", r"\u0022").replace("'", r"\u0027").replace('"', r"\"")
    return tomlkit.string(f'{name}="{plain}"', literal=True)
