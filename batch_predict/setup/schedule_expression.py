"""Expressions of EventBridge Scheduler: https://docs.aws.amazon.com/scheduler/latest/UserGuide/schedule-types.html."""

import re
from datetime import datetime
from typing import NamedTuple


class _CronField(NamedTuple):
    """One of the six fields."""

    name: str
    low: int
    high: int
    names: tuple[str, ...] = ()
    """Names of the numbers from `low` on."""
    special: str = "(?!)"
    """A pattern of what only this field takes."""


_MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_CRON = (
    _CronField("minutes", 0, 59),
    _CronField("hours", 0, 23),
    _CronField("day of month", 1, 31, special=r"\?|L|LW|([1-9]|[12]\d|3[01])W"),
    _CronField("month", 1, 12, _MONTHS),
    _CronField("day of week", 1, 7, _DAYS, special=rf"\?|L|([1-7]|{'|'.join(_DAYS)})(L|#[1-5])"),
    _CronField("year", 1970, 2199),
)


def schedule_problem(value: str) -> str | None:
    """Say what is wrong with an expression of EventBridge Scheduler."""
    if not value:
        return None
    kind, _, inner = value.removesuffix(")").partition("(")
    if not value.endswith(")") or kind not in ("rate", "cron", "at"):
        return "must be rate(1 day), cron(30 0 * * ? *), at(2030-01-31T00:30:00), or empty"
    return {"rate": _rate, "cron": _cron, "at": _at}[kind](inner)


def _rate(inner: str) -> str | None:
    is_rate = re.fullmatch("[1-9][0-9]* (minute|hour|day)s?", inner)
    return None if is_rate else "must be rate(NUMBER UNIT), of minutes, hours or days"


def _at(inner: str) -> str | None:
    try:
        is_whole = datetime.fromisoformat(inner).isoformat() == inner  # no zone: it is in the schedule's own
    except ValueError:
        is_whole = False
    return None if is_whole and "+" not in inner else "must be at(YYYY-MM-DDThh:mm:ss)"


def _cron(inner: str) -> str | None:
    fields = inner.split(" ")
    if len(fields) != len(_CRON):
        return f"must have six fields ({', '.join(rule.name for rule in _CRON)}), not {len(fields)}"
    for rule, text in zip(_CRON, fields, strict=True):
        if not all(_in_cron_field(rule, part) for part in text.upper().split(",")):
            return f"has {text!r} for {rule.name}: {rule.low} to {rule.high}"
    if [fields[2], fields[4]].count("?") != 1:
        return "must have ? for either the day of month or the day of week, and not for both"
    return None


def _in_cron_field(rule: _CronField, part: str) -> bool:
    if part == "*" or re.fullmatch(rule.special, part):
        return True
    span, slash, step = part.partition("/")
    if slash and not re.fullmatch("[1-9][0-9]{0,3}", step):
        return False
    if span == "*":
        return True
    values = [
        rule.low + rule.names.index(end) if end in rule.names else int(end) if re.fullmatch("[0-9]{1,4}", end) else -1
        for end in span.split("-")
    ]
    return len(values) <= 2 and all(rule.low <= value <= rule.high for value in values)
