"""Settings of a stack: what is asked, and what is right. `samconfig.py` writes them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from dateutil.zoneinfo import get_zonefile_instance  # type: ignore[import-untyped]
from samtranslator.yaml_helper import yaml_parse  # type: ignore[import-untyped]

from batch_predict.deployed import request_problems, stack_directory
from batch_predict.errors import BatchPredictError
from batch_predict.setup.schedule_expression import schedule_problem

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


class Question(NamedTuple):
    """One setting, as it is asked for."""

    name: str
    """Of the template's parameter, or of the option of `sam deploy`."""
    text: str
    needs: str | None = None
    """Asked only where this setting is not empty."""
    is_asked: bool = True
    """What few accounts demand is not asked, but may be given, and is then among the answers."""


QUESTIONS = (
    Question(STACK_NAME, "Name of the stack"),
    Question(REGION, "Region (none: the AWS profile's)"),
    Question("ModelBucket", "Bucket of the models"),
    Question("ModelPrefix", "Prefix of the models, ending in / (none: all)"),
    Question("DataBucket", "Bucket of the data"),
    Question("DataPrefix", "Prefix of the data, ending in / (none: all)"),
    Question("OutputBucket", "Bucket of the outputs"),
    Question("OutputPrefix", "Prefix of the outputs, ending in / (none: all)"),
    Question("CreateOutputBucket", "Shall the stack make the output bucket (y, n)"),
    Question("PredictMemorySize", "Memory for a chunk, in MB (new account: up to 3008)"),
    Question("ScheduleExpression", "Schedule, as cron(30 0 * * ? *) (none: never)"),
    Question("ScheduleTimezone", "Time zone of the schedule", needs="ScheduleExpression"),
    Question("ScheduleRequest", "File with the request that the schedule starts with", needs="ScheduleExpression"),
    Question("NotificationEmail", "Mail address for alarms and ends (none: nobody)"),
    Question("NotifyOfSuccess", "Tell also of what succeeded (y, n)", is_asked=False),
    Question("PredictReservedConcurrency", "Concurrent executions to keep (none: common ones)", is_asked=False),
    Question("Architecture", "Processor (arm64, x86_64)", is_asked=False),
    Question("PermissionsBoundary", "ARN of a permissions boundary (none: none)", is_asked=False),
    Question("VpcSubnetIds", "Subnets, separated by commas (none: no VPC)", is_asked=False),
    Question("VpcSecurityGroupIds", "Security groups, separated by commas (none: no VPC)", is_asked=False),
)
MAY_BE_EMPTY = {
    *(REGION, "ModelPrefix", "DataPrefix", "OutputPrefix", "ScheduleExpression", "NotificationEmail"),
    *("PredictReservedConcurrency", "PermissionsBoundary", "VpcSubnetIds", "VpcSecurityGroupIds"),
}
NONE, AS_NOW = "none", "as now"
"""Answers: an empty setting; the request that is there already."""
SWITCH = {"y": "true", "yes": "true", "true": "true", "n": "false", "no": "false", "false": "false"}
"""Answers to a question of yes or no, in any case, and what the template takes for them."""
SHOWN = 34
"""Characters of an answer that are shown when all of them are."""


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
    for name, value in list(settings.items()):
        if said := problem(name, value):
            say(f"  {said}")
            del settings[name]
    return _complete(settings, current, ask, say)


def _complete(settings: dict[str, str], current: Mapping[str, str], ask: Ask, say: Say) -> dict[str, str]:
    """Return the settings with answers to all that is missing, in the order of the questions."""
    for question in QUESTIONS:
        if question.name not in settings and not (question.needs and not settings[question.needs]):
            now = current.get(question.name, default_of(question.name))
            settings[question.name] = _ask_until_right(question, now, ask, say) if question.is_asked else now
    return settings


def revise(settings: Mapping[str, str], ask: Ask, say: Say) -> dict[str, str]:
    """Show all answers, and ask again for those that somebody wants to change, until they are right together."""
    revised = dict(settings)
    while True:
        questions = [
            question
            for question in QUESTIONS
            if question.name in revised and (question.is_asked or revised[question.name] != default_of(question.name))
        ]
        width = max(len(question.name) for question in questions)
        say("\nThe answers:")
        for number, each in enumerate(questions, 1):
            say(f"  {number:>2}  {each.name:<{width}}  {_shown(each.name, revised[each.name])}")
        answer = str(ask("Number of an answer to change (none: go on)", default=NONE)).strip()
        if answer.lower() in (NONE, ""):
            if not (found := problems(revised)):
                return revised
            say("\n".join(f"  {said}" for said in found))
        elif question := _chosen(questions, answer):
            revised[question.name] = _ask_until_right(question, revised[question.name], ask, say)
            for other in QUESTIONS:
                if other.needs and not revised[other.needs]:
                    revised.pop(other.name, None)
            _complete(revised, {}, ask, say)
        else:
            say(f"  {answer[:SHOWN]!r} is none of the numbers 1 to {len(questions)}")


def _chosen(questions: list[Question], answer: str) -> Question | None:
    """Return the question that an answer means by its number or its name."""
    wanted = answer.lower()
    return next((each for number, each in enumerate(questions, 1) if wanted in (str(number), each.name.lower())), None)


def _shown(name: str, value: str) -> str:
    if _is_switch(name):
        return "yes" if value == "true" else "no"
    return f"{value[: SHOWN - 1]}…" if len(value) > SHOWN else value or NONE


def _ask_until_right(question: Question, now: str, ask: Ask, say: Say) -> str:
    while (answer := _answer_to(question, now, ask, say)) is None:
        pass
    return answer


def _answer_to(question: Question, now: str, ask: Ask, say: Say) -> str | None:
    """Ask once; None where the answer was wrong, and what is wrong was said."""
    name = question.name
    # Without a default, a prompt goes on until it is answered.
    default: str | None = now or (NONE if name in MAY_BE_EMPTY else None)
    if name == "ScheduleRequest" and now:
        default = AS_NOW
    if _is_switch(name):
        default = "y" if now == "true" else "n"
    answer = str(ask(question.text, default=default)).strip()
    if answer == default:
        answer = now
    try:
        answer = read_answer(name, answer)
    except BatchPredictError as error:
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
    if _is_switch(name):
        return SWITCH.get(value.lower(), value)
    if value == NONE and name in MAY_BE_EMPTY:
        return ""
    if name != "ScheduleRequest" or not value or value.startswith("{"):
        return value
    try:
        return json.dumps(json.loads(Path(value).read_bytes()), separators=(",", ":"))
    except OSError as error:
        raise BatchPredictError(f"request {value} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BatchPredictError(f"request {value} is not JSON: {error}") from error


def _is_switch(name: str) -> bool:
    return set(parameters().get(name, {}).get("AllowedValues", ())) == {"true", "false"}


# --- checking ---------------------------------------------------------------------------------------------------------------------


def problems(settings: Mapping[str, str]) -> list[str]:
    """Say everything that is wrong with the settings, each by itself and together."""
    found = [said for name, value in settings.items() if (said := problem(name, value))]
    if bool(settings.get("VpcSubnetIds")) != bool(settings.get("VpcSecurityGroupIds")):
        found.append("VpcSubnetIds and VpcSecurityGroupIds go together: give both, or neither")
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
    if name in PLACEHOLDERS and not value:
        return f"{name} is missing: name a bucket of yours"
    checks: dict[str, Callable[[str], str | None]] = {
        **dict.fromkeys(("ModelBucket", "DataBucket", "OutputBucket"), _bucket),
        **dict.fromkeys(("ModelPrefix", "DataPrefix", "OutputPrefix"), _prefix),
        STACK_NAME: _stack_name,
        REGION: _region,
        "ScheduleExpression": schedule_problem,
        "ScheduleTimezone": _time_zone,
        "ScheduleRequest": _request,
        "NotificationEmail": _mail,
    }
    said = checks[name](value) if name in checks else None
    if not said and name in parameters():
        said = _breaks_template(name, value)
    return f"{name} {value[:80]!r} {said}" if said else None


def _breaks_template(name: str, value: str) -> str | None:
    rule = parameters()[name]
    if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], value):
        return str(rule["ConstraintDescription"])
    if _is_switch(name) and value not in rule["AllowedValues"]:
        return "must be yes or no"
    if "AllowedValues" in rule and value not in rule["AllowedValues"]:
        return f"must be one of {', '.join(rule['AllowedValues'])}"
    if rule["Type"] == "Number" and not (re.fullmatch("[0-9]{1,9}", value) and rule["MinValue"] <= int(value) <= rule["MaxValue"]):
        return f"must be a whole number from {rule['MinValue']} to {rule['MaxValue']}"
    return None


_BUCKET_RULE = "a bucket's name is 3 to 63 lower-case letters, digits, hyphens and dots, and begins and ends with a letter or digit"
_KEPT_BEGINNINGS = ("xn--", "sthree-", "amzn-s3-demo-")
_KEPT_ENDINGS = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3")


def _bucket(value: str) -> str | None:
    """Say all that is wrong: https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html."""
    if value in PLACEHOLDERS.values():
        return "is only the example of samconfig.toml: name a bucket of yours"
    if "/" in value:
        bare = re.sub("^s3://", "", value, flags=re.IGNORECASE).strip("/").partition("/")[0]
        return f"must be the bare name of a bucket{f', such as {bare!r}' if bare else ''}; a prefix is a setting of its own"
    wrong = [
        *_wrong_length(value, 3, 63),
        *(["has upper-case letters"] if re.search("[A-Z]", value) else []),
        *_wrong_characters(value, "A-Za-z0-9.-"),
        *(f"begins with {value[0]!r}" for _ in value[:1] if value[0] in ".-"),
        *(f"ends with {value[-1]!r}" for _ in value[1:2] if value[-1] in ".-"),
        *(["has two dots in a row"] if ".." in value else []),
        *(f"begins with {kept!r}, which S3 keeps for itself" for kept in _KEPT_BEGINNINGS if value.startswith(kept)),
        *(f"ends with {kept!r}, which S3 keeps for other kinds of buckets" for kept in _KEPT_ENDINGS if value.endswith(kept)),
    ]
    if re.fullmatch(r"[0-9]+(\.[0-9]+){3}", value):
        wrong.append("is formed as an IP address")
    return f"{_listed(wrong)}: {_BUCKET_RULE}" if wrong else None


def _prefix(value: str) -> str | None:
    """Say all that is wrong with a prefix: also what the template's pattern cannot, as no request could name a key under it."""
    if re.match("s3://", value, re.IGNORECASE):
        after = value[5:].partition("/")[2].strip("/")
        return f"must be what follows the bucket, {f'{after}/' if after else 'data/'}, without s3:// and the bucket itself"
    wrong = [
        *(["begins with '/', and keys do not"] if value.startswith("/") else []),
        *(["has an empty part ('//')"] if "//" in value else []),
        *(f"has the part {part!r}, and keys with it are refused" for part in (".", "..") if part in value.split("/")),
        *(f"has {each!r}: permissions would take it for more than itself" for each in "*?$" if each in value),
        *(["has a control character"] if re.search(r"[\x00-\x1f\x7f]", value) else []),
        *(["is longer than a key may be (1,024 bytes)"] if len(value.encode()) > 1024 else []),
    ]
    if value and not value.endswith("/"):
        wrong.append(f"does not end in '/': permissions on {value[:20]!r} would cover {f'{value[:20]}-of-others/'!r}, too")
    return _listed(wrong) if wrong else None


def _stack_name(value: str) -> str | None:
    wrong = [
        *_wrong_length(value, 1, MAX_STACK_NAME),
        *_wrong_characters(value, "A-Za-z0-9-"),
        *(f"begins with {value[0]!r}" for _ in value[:1] if not re.match("[A-Za-z]", value)),
    ]
    return f"{_listed(wrong)}: a stack's name is letters, digits and hyphens, and begins with a letter" if wrong else None


def _wrong_length(value: str, low: int, high: int) -> Iterator[str]:
    if len(value) < low:
        yield f"is too short ({len(value)} of at least {low} characters)"
    if len(value) > high:
        yield f"is too long ({len(value)} of at most {high} characters)"


def _wrong_characters(value: str, allowed: str) -> Iterator[str]:
    """Name what stands in a name and may not: spaces and underscores by their names."""
    names = {" ": "a space", "_": "an underscore"}
    if found := sorted(set(re.findall(f"[^{allowed}]", value))):
        yield f"has {_listed([names.get(each, repr(each)) for each in found])}"


def _listed(parts: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _region(value: str) -> str | None:
    if not value or re.fullmatch(_REGION, value):
        return None
    plain = re.sub("[ _]", "-", value.lower())
    return f"must be a region such as {plain if re.fullmatch(_REGION, plain) else 'eu-central-1'}, or empty"


_REGION = r"[a-z]{2,4}(-[a-z]+)+-[0-9]{1,2}"


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
