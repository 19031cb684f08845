"""Settings of a stack: what is asked, and what is right. `samconfig.py` writes them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from ipaddress import ip_address
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from dateutil.zoneinfo import get_zonefile_instance  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from batch_predict.deploy import stack_directory
from batch_predict.schedule_expression import schedule_problem
from batch_predict.workflow_contract import request_problems

STACK_NAME, REGION = "stack_name", "region"
"""Settings that are options of `sam deploy`; all others are parameters of the template."""

PLACEHOLDERS = {"ModelBucket": "my-models", "DataBucket": "my-data", "OutputBucket": "my-output"}
"""What samconfig.toml holds before somebody has set it."""

MAX_STACK_NAME = 80
"""Characters. The state machine has the stack's name:
https://docs.aws.amazon.com/step-functions/latest/apireference/API_CreateStateMachine.html"""
MAX_PARAMETER_BYTES = 4096
"""https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/cloudformation-limits.html"""

Ask = Callable[..., Any]
"""`typer.prompt`, or what takes its arguments `text` and `default`."""
Say = Callable[[str], Any]
"""`typer.echo`, or what takes one text."""


class InitError(Exception):
    """The settings cannot be written; the message says why, and what to do."""


class Question(NamedTuple):
    """One setting, as it is asked for."""

    name: str
    """Of the template's parameter, or of the option of `sam deploy`."""
    text: str
    needs: str | None = None
    """Asked only where this setting is not empty."""


QUESTIONS = (
    Question(STACK_NAME, "Name of the stack"),
    Question(REGION, "Region (none: the AWS profile's)"),
    Question("ModelBucket", "Bucket of the models"),
    Question("ModelPrefix", "Prefix of the models, ending in / (none: the whole bucket)"),
    Question("DataBucket", "Bucket of the data"),
    Question("DataPrefix", "Prefix of the data, ending in / (none: the whole bucket)"),
    Question("OutputBucket", "Bucket of the outputs"),
    Question("OutputPrefix", "Prefix of the outputs, ending in / (none: the whole bucket)"),
    Question("CreateOutputBucket", "Shall the stack make the bucket of the outputs (true, false)"),
    Question("PredictMemorySize", "Memory of the prediction function, in MB (a new account: 3008 at most)"),
    Question("ScheduleExpression", "Start by itself: cron(30 0 * * ? *), rate(1 day) (none: never)"),
    Question("ScheduleTimezone", "Time zone of the schedule", needs="ScheduleExpression"),
    Question("ScheduleRequest", "File with the request that the schedule starts with", needs="ScheduleExpression"),
    Question("NotificationEmail", "Mail address that is told of failures and ends (none: nobody)"),
)
MAY_BE_EMPTY = {REGION, "ModelPrefix", "DataPrefix", "OutputPrefix", "ScheduleExpression", "NotificationEmail"}
NONE, AS_NOW = "none", "as now"
"""Answers: an empty setting; the request that is there already."""


@cache
def parameters() -> dict[str, dict[str, Any]]:
    """Return the template's parameters: their descriptions, patterns, bounds and defaults."""
    text = (stack_directory() / "template.yaml").read_text(encoding="utf-8")
    section = re.search(r"^Parameters:\n(?: .*\n|\n)+", text, re.MULTILINE)  # reading all of it takes every command 0.1 s
    assert section
    found: dict[str, dict[str, Any]] = yaml_parse(section[0])["Parameters"]
    return found


def default_of(name: str) -> str:
    """Return what a setting is where nobody says it."""
    if name in (STACK_NAME, REGION):
        return "batch-predict" if name == STACK_NAME else ""
    return "" if name == "ScheduleRequest" else str(parameters()[name].get("Default", ""))


# --- asking -----------------------------------------------------------------------------------------------------------------------


def ask_settings(given: Mapping[str, str], current: Mapping[str, str], ask: Ask, say: Say) -> dict[str, str]:
    """Ask for every setting that is not given, until each answer is a right one; what is there now is the default."""
    settings = {name: read_answer(name, value) for name, value in given.items()}
    for question in QUESTIONS:
        if question.name in settings or (question.needs and not settings[question.needs]):
            continue
        now = current.get(question.name, default_of(question.name))
        while (answer := _answer_to(question, now, ask, say)) is None:
            pass
        settings[question.name] = answer
    return settings


def _answer_to(question: Question, now: str, ask: Ask, say: Say) -> str | None:
    """Ask once; None where the answer was wrong, and what is wrong was said."""
    name = question.name
    # Without a default, a prompt goes on until it is answered.
    default: str | None = now or (NONE if name in MAY_BE_EMPTY else None)
    if name == "ScheduleRequest" and now:
        default = AS_NOW
    answer = str(ask(question.text, default=default)).strip()
    if answer == default:
        answer = now
    try:
        answer = read_answer(name, answer)
    except InitError as error:
        say(f"  {error}")
        return None
    if said := problem(name, answer):
        say(f"  {said}")
        return None
    return answer


def without_asking(given: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
    """Return every setting: what is given, else what is there now, else the template's default."""
    settings = {question.name: current.get(question.name, default_of(question.name)) for question in QUESTIONS}
    settings |= {name: read_answer(name, value) for name, value in given.items()}
    for question in QUESTIONS:
        if question.needs and not settings[question.needs] and question.name not in given:
            del settings[question.name]
    return settings


def read_answer(name: str, answer: str) -> str:
    """Return an answer as a setting: `none` as an empty one; of the schedule's request, the JSON in its file, on one line."""
    value = answer.strip()
    if value == NONE and name in MAY_BE_EMPTY:
        return ""
    if name != "ScheduleRequest" or not value or value.startswith("{"):
        return value
    try:
        return json.dumps(json.loads(Path(value).read_bytes()), separators=(",", ":"))
    except OSError as error:
        raise InitError(f"request {value} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InitError(f"request {value} is not JSON: {error}") from error


# --- checking ---------------------------------------------------------------------------------------------------------------------


def problems(settings: Mapping[str, str]) -> list[str]:
    """Say everything that is wrong with the settings, each by itself and together."""
    found = [said for name, value in settings.items() if (said := problem(name, value))]
    found.extend(overlaps(settings))
    if settings.get("ScheduleExpression") and not settings.get("ScheduleRequest"):
        found.append("a schedule needs the request that it starts with: give its file")
    elif settings.get("ScheduleRequest") and not problem("ScheduleRequest", settings["ScheduleRequest"]):
        found.extend(_outside(settings))
    return found


def overlaps(settings: Mapping[str, str]) -> Iterator[str]:
    """Say which places lie within each other: who may write to one could write to the other by a run."""
    places = {kind: f"{settings[f'{kind}Bucket']}/{settings[f'{kind}Prefix']}" for kind in ("Model", "Data", "Output")}
    for (one, here), (other, there) in combinations(places.items(), 2):
        if settings[f"{one}Bucket"] and (here.startswith(there) or there.startswith(here)):
            yield (
                f"{one}Prefix and {other}Prefix overlap (s3://{here} and s3://{there}): {_OVERLAPS[one, other]}; give each a place "
                "of its own"
            )


_OVERLAPS = {
    ("Model", "Data"): "who may write data could write a model, and a model runs code",
    ("Model", "Output"): "an output could be read as a model, and a model runs code",
    ("Data", "Output"): "an output could be read as data",
}


def problem(name: str, value: str) -> str | None:
    """Say what is wrong with a setting; None where it is right."""
    if name in PLACEHOLDERS and value in ("", PLACEHOLDERS[name]):
        return f"{name} is missing: name a bucket of yours"
    checks = {
        STACK_NAME: _stack_name,
        REGION: _region,
        "ScheduleExpression": schedule_problem,
        "ScheduleTimezone": _time_zone,
        "ScheduleRequest": _request,
        "NotificationEmail": _mail,
    }
    said = checks[name](value) if name in checks else _breaks_template(name, value)
    if not said and name in PLACEHOLDERS:
        said = _bucket(value)
    return f"{name} {value[:80]!r} {said}" if said else None


def _breaks_template(name: str, value: str) -> str | None:
    rule = parameters()[name]
    if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], value):
        return str(rule["ConstraintDescription"])
    if "AllowedValues" in rule and value not in rule["AllowedValues"]:
        return f"must be one of {', '.join(rule['AllowedValues'])}"
    if rule["Type"] == "Number" and not (re.fullmatch("[0-9]{1,9}", value) and rule["MinValue"] <= int(value) <= rule["MaxValue"]):
        return f"must be a whole number from {rule['MinValue']} to {rule['MaxValue']}"
    return None


def _bucket(value: str) -> str | None:
    """Say what the template's pattern cannot: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html."""
    if ".." in value:
        return "must not have two dots in a row"
    try:
        ip_address(value)
    except ValueError:
        return None
    return "must not be an IP address"


def _stack_name(value: str) -> str | None:
    if re.fullmatch(rf"[A-Za-z][A-Za-z0-9-]{{0,{MAX_STACK_NAME - 1}}}", value):
        return None
    return f"must begin with a letter, and be letters, digits and hyphens, at most {MAX_STACK_NAME}"


def _region(value: str) -> str | None:
    return None if re.fullmatch(r"([a-z]{2,4}(-[a-z]+)+-[0-9]{1,2})?", value) else "must be a region such as eu-central-1, or empty"


def _time_zone(value: str) -> str | None:
    known = value == "UTC" or get_zonefile_instance().get(value) is not None  # the names that a request's `time_zone` may have
    return None if known else "must be the name of a time zone such as Europe/Berlin"


def _mail(value: str) -> str | None:
    return None if re.fullmatch(r"([^@\s\"'\\]+@[^@\s\"'\\]+\.[^@\s\"'\\.]+)?", value) else "must be one mail address, or empty"


def _request(value: str) -> str | None:
    try:
        request = json.loads(value or "null")
    except ValueError as error:
        return f"is not JSON: {error}"
    if found := request_problems(request):
        return f"is no request: {'; '.join(found)}"
    if (n_bytes := len(value.encode())) > MAX_PARAMETER_BYTES:
        return f"has {n_bytes} bytes, and a parameter takes {MAX_PARAMETER_BYTES}: name its data by a prefix or a manifest"
    return None


def _outside(settings: Mapping[str, str]) -> Iterator[str]:
    """Say which URIs of the schedule's request are not where the stack will allow them."""
    request = json.loads(settings["ScheduleRequest"])
    data = request["data_s3_uri"]
    for field, kind in (("model_s3_uri", "Model"), ("data_s3_uri", "Data"), ("output_s3_uri", "Output")):
        allowed = f"s3://{settings[f'{kind}Bucket']}/{settings[f'{kind}Prefix']}"
        for uri in data if field == "data_s3_uri" and isinstance(data, list) else [request[field]]:
            if not uri.startswith(allowed):
                yield f"ScheduleRequest: {field} {uri} is not under {allowed}, the only place where the stack will allow it"
