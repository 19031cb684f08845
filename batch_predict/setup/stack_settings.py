"""The settings of a stack: which there are, and what is wrong with one. `samconfig.py` writes them."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

from dateutil.zoneinfo import get_zonefile_instance  # type: ignore[import-untyped]

from batch_predict import deployed
from batch_predict.deployed import request_schema, template_parameters
from batch_predict.errors import InvalidRequestError
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


class Setting(NamedTuple):
    """One setting of a stack: how it is asked for, and its option of `batch-predict init`."""

    name: str
    """The name of the template's parameter, or of the option of `sam deploy`."""
    question: str
    option: str
    metavar: str
    help: str = ""
    """What the help says in place of the template's description of the parameter."""
    needs: str | None = None
    """The setting without which this one has no meaning."""
    is_asked: bool = True
    """Whether `init` asks for it: what few accounts demand is not asked for, but may be given, and is then among the answers."""


SETTINGS = (
    Setting(
        STACK_NAME,
        "Name of the stack",
        "--stack-name",
        "NAME",
        "Name of the stack, and of its state machine. [default: batch-predict]",
    ),
    Setting(REGION, "Region (none: the AWS profile's)", "--region", "REGION", "Region; by default that of the AWS profile."),
    Setting("ModelBucket", "Bucket of the models", "--model-bucket", "BUCKET"),
    Setting("ModelPrefix", "Prefix of the models, ending in / (none: all)", "--model-prefix", "PREFIX"),
    Setting("DataBucket", "Bucket of the data", "--data-bucket", "BUCKET"),
    Setting("DataPrefix", "Prefix of the data, ending in / (none: all)", "--data-prefix", "PREFIX"),
    Setting("OutputBucket", "Bucket of the outputs", "--output-bucket", "BUCKET"),
    Setting("OutputPrefix", "Prefix of the outputs, ending in / (none: all)", "--output-prefix", "PREFIX"),
    Setting("CreateOutputBucket", "Create the output bucket (y, n)", "--create-output-bucket", "yes|no"),
    Setting("PredictMemorySize", "Memory for a chunk, in MB (new account: up to 3008)", "--memory", "MB"),
    Setting("ScheduleExpression", "Schedule, as cron(30 0 * * ? *) (none: never)", "--schedule", "EXPRESSION"),
    Setting("ScheduleTimezone", "Time zone of the schedule", "--time-zone", "ZONE", needs="ScheduleExpression"),
    Setting(
        "ScheduleRequest",
        "File with the request that the schedule starts with",
        "--schedule-request",
        "FILE",
        "The request (JSON) that the schedule starts with.",
        needs="ScheduleExpression",
    ),
    Setting("NotificationEmail", "Mail address for alarms and results (none: nobody)", "--notification-email", "MAIL"),
    Setting("NotifyOfSuccess", "Mail about successes, too (y, n)", "--notify-of-success", "yes|no", is_asked=False),
    Setting(
        "PredictReservedConcurrency",
        "Reserved concurrency (none: the account's pool)",
        "--reserved-concurrency",
        "N",
        is_asked=False,
    ),
    Setting("Architecture", "Processor (arm64, x86_64)", "--architecture", "arm64|x86_64", is_asked=False),
    Setting(
        "PermissionsBoundary", "ARN of a permissions boundary (none: no boundary)", "--permissions-boundary", "ARN", is_asked=False
    ),
    Setting("VpcSubnetIds", "Subnets, separated by commas (none: no VPC)", "--subnets", "ID,ID", is_asked=False),
    Setting(
        "VpcSecurityGroupIds", "Security groups, separated by commas (none: no VPC)", "--security-groups", "ID,ID", is_asked=False
    ),
)
MAY_BE_EMPTY = {
    *(REGION, "ModelPrefix", "DataPrefix", "OutputPrefix", "ScheduleExpression", "NotificationEmail"),
    *("PredictReservedConcurrency", "PermissionsBoundary", "VpcSubnetIds", "VpcSecurityGroupIds"),
}
NONE = "none"
"""The answer that means an empty setting."""
SWITCH = {"y": "true", "yes": "true", "true": "true", "n": "false", "no": "false", "false": "false"}
"""Answers to a question of yes or no, in any case, and what the template takes for them."""


def default_of(name: str) -> str:
    """Return what a setting is unless somebody says otherwise."""
    if name in (STACK_NAME, REGION):
        return "batch-predict" if name == STACK_NAME else ""
    return "" if name == "ScheduleRequest" else str(template_parameters()[name].get("Default", ""))


def without_asking(given: Mapping[str, str], current: Mapping[str, str]) -> dict[str, str]:
    """Return every setting: what is given, else what is there now, else the template's default."""
    settings = {setting.name: current.get(setting.name, default_of(setting.name)) for setting in SETTINGS}
    settings |= {name: read_answer(name, value) for name, value in given.items()}
    for setting in SETTINGS:
        if setting.needs and not settings[setting.needs] and setting.name not in given:
            del settings[setting.name]
    return settings


def read_answer(name: str, answer: str) -> str:
    """Return an answer as a setting: `none` as an empty one; of the schedule's request, the JSON in its file, on one line."""
    value = answer.strip()
    if is_switch(name):
        return SWITCH.get(value.lower(), value)
    if value == NONE and name in MAY_BE_EMPTY:
        return ""
    if name != "ScheduleRequest" or not value or value.startswith("{"):
        return value
    return json.dumps(request_in(Path(value)), separators=(",", ":"))


def request_in(file: Path) -> Any:
    """Return what a file holds as JSON; InvalidRequestError if it cannot be read."""
    try:
        return json.loads(file.read_bytes())
    except OSError as error:
        raise InvalidRequestError(f"request {file} cannot be read: {error.strerror}") from error
    except ValueError as error:  # also if it is not text
        raise InvalidRequestError(f"request {file} is not JSON: {error}") from error


def is_switch(name: str) -> bool:
    """Return whether a setting is a yes or a no."""
    return set(template_parameters().get(name, {}).get("AllowedValues", ())) == {"true", "false"}


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
    """Say which places lie within each other: whoever may write to one could write to the other by a run."""
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
    """Say what is wrong with a setting; None if nothing is."""
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
    if not said and name in template_parameters():
        said = _breaks_template(name, value)
    return f"{name} {value[:80]!r} {said}" if said else None


def _breaks_template(name: str, value: str) -> str | None:
    rule = template_parameters()[name]
    if "AllowedPattern" in rule and not re.fullmatch(rule["AllowedPattern"], value):
        return str(rule["ConstraintDescription"])
    if is_switch(name) and value not in rule["AllowedValues"]:
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
    """Name the characters that a name must not have: spaces and underscores by their names."""
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
    if found := list(deployed.schema.problems(request, request_schema())):
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
