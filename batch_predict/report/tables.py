"""The tables and sentences of a report's page, as its template takes them."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batch_predict.figures import COST_ITEMS, plural
from batch_predict.report.distribution import Values
from batch_predict.report.input import ReportInput
from batch_predict.report.timeline import ChunkTimeline


@dataclass(frozen=True)
class Bar:
    """A line of a table of bars."""

    label: str
    text: str
    """The figure, with its unit."""
    percent: float
    """Length of the bar."""
    tone: str = "main"
    """Its colour: a CSS variable."""


@dataclass(frozen=True)
class Fact:
    """A figure of the headline."""

    label: str
    figure: str
    note: str = ""
    tone: str = ""


def facts(record: ReportInput, timeline: ChunkTimeline | None) -> Iterator[Fact]:
    """Yield the figures of the headline, as far as they are known."""
    seconds = (record.stopped - record.started).total_seconds() if record.stopped else None
    known = record.known
    done = known.get("chunks", {}).get("predicted", 0)
    if done:
        yield from _row_facts(known, is_published=record.report is not None)
    if seconds is not None:
        scoring = sum(state.seconds or 0.0 for state in record.states if state.kind == "Map")
        says_something = done and scoring > seconds - scoring  # a run shorter than its overhead has no speed of its own
        speed = ""
        if says_something:
            rows = int(timeline.rows.sum()) if timeline is not None and timeline.reused else known["rows"]["read"]
            speed = f"{rows / seconds:,.0f} rows a second" if rows else ""
        yield Fact("Time", duration(seconds), speed)
    else:
        yield Fact("Time", "still running", f"since {record.started:%H:%M:%S %Z}".strip())
    if "chunks" in known and not done and record.status == "SUCCEEDED":  # a dry run
        yield Fact("Chunks planned", f"{known['chunks']['planned']:,}")
    elif "chunks" in known:
        yield _chunk_fact(known["chunks"], is_over=record.stopped is not None)
    elif record.failures:
        yield Fact("Chunks failed", f"{len(record.failures):,}", tone="bad")
    if done:
        yield _cost_fact(record)


def _row_facts(known: Mapping[str, Any], *, is_published: bool) -> Iterator[Fact]:
    rows = known["rows"]
    note = f"of {rows['read']:,} read"
    yield Fact("Rows predicted", f"{rows['predicted']:,}", note if is_published else f"{note}, not published")
    share = percent(rows["rejected"], rows["read"])
    yield Fact("Rows rejected", f"{rows['rejected']:,}", share if rows["rejected"] else "", "warm" if rows["rejected"] else "")


def _chunk_fact(chunks: Mapping[str, int], *, is_over: bool) -> Fact:
    left = chunks["planned"] - chunks["predicted"] - chunks["failed"]
    notes = [f"of {chunks['planned']:,}"] if left or chunks["failed"] else []
    notes += [f"{chunks['failed']:,} failed"] if chunks["failed"] else []
    notes += [f"{left:,} {'not done' if is_over else 'to go'}"] if left else []
    notes += [f"{chunks['reused']:,} from an earlier run"] if chunks["reused"] else []
    tone = "bad" if chunks["failed"] or (left and is_over) else ""
    return Fact("Chunks predicted", f"{chunks['predicted']:,}", ", ".join(notes), tone)


def _cost_fact(record: ReportInput) -> Fact:
    label = "Cost on AWS" if record.is_local else "Cost"
    cost = record.known.get("estimated_cost")
    if not cost:
        return Fact(label, "unknown", "the time of a chunk is missing")
    return Fact(label, dollars(cost["dollars"]["total"]), "estimated; free here" if record.is_local else "estimated")


def timeline_sentence(timeline: ChunkTimeline) -> str:
    """Return the sentence below the timeline: how long chunks took, how many began cold or were retried."""
    seconds = sorted(timeline.seconds)
    shortest, median, longest = (duration(seconds[place]) for place in (0, len(seconds) // 2, -1))
    times = longest if len(timeline) == 1 else f"{shortest} to {longest}, median {median}"
    parts = [f"{plural(len(timeline), 'chunk')} of {times}"]
    parts.append(f"{int(timeline.cold.sum()):,} began cold")
    retried = int((timeline.attempts > 1).sum())
    parts.append(f"{retried:,} retried" if retried else "none known to have been retried")
    reused = f" {plural(timeline.reused, 'chunk')} more were there from an earlier execution." if timeline.reused else ""
    return f"{'; '.join(parts)}.{reused}"


QUARTILES = (0.25, 0.5, 0.75)


def feature_figures(values: Mapping[str, Any]) -> Sequence[str]:
    """Return a feature's mean, deviation, smallest value, quartiles and largest value; seven empty texts if it has no numbers."""
    if values["kind"] != "number":
        return [""] * 7
    column = Values(values)
    smallest, largest = number(column.smallest), number(column.largest)
    return [number(column.mean), number(column.standard_deviation), smallest, *quartiles(column), largest]


def quartiles(column: Values) -> Iterator[str]:
    """Yield the quartiles, each with as many digits as are known."""
    for share in QUARTILES:
        found = column.known_quantile(share)
        yield number(None) if found is None else rounded(*found)


def missing_bars(features: Mapping[str, Mapping[str, Any]]) -> list[Bar]:
    """Return a bar for each feature with missing values, the worst first."""
    shares = {name: values["missing"] / max(values["rows"], 1) for name, values in features.items() if values["missing"]}
    worst = sorted(shares, key=lambda name: -shares[name])
    texts = {
        name: f"{percent(features[name]['missing'], features[name]['rows'])} · {features[name]['missing']:,}" for name in worst
    }
    return [Bar(name, texts[name], 100 * shares[name], "warm" if shares[name] >= 0.5 else "main") for name in worst]


def count_bars(counts: Mapping[str, int], total: int | None = None, tone: str = "main") -> list[Bar]:
    """Return a bar for each label, the longest first and a whole line."""
    whole = sum(counts.values()) if total is None else total
    longest = max(counts.values(), default=0)
    ordered = sorted(counts.items(), key=lambda entry: -entry[1])
    return [Bar(label, f"{count:,} · {percent(count, whole)}", 100 * count / max(longest, 1), tone) for label, count in ordered]


def class_bars(values: Mapping[str, Any]) -> list[Bar]:
    """Return a bar for each class that was predicted."""
    counts = {str(label): int(count) for label, count in values["classes"].items()}
    others = {"other classes": int(values["other_classes"])} if values.get("other_classes") else {}
    return count_bars(counts | others, values["rows"])


def cost_bars(cost: Mapping[str, Any]) -> list[Bar]:
    """Return a bar for each item of the cost."""
    items = [(name, cost["dollars"][key]) for name, key in COST_ITEMS]
    total = cost["dollars"]["total"]
    return [Bar(name, dollars(amount), 100 * amount / total if total else 0.0) for name, amount in items]


def stage_bars(milliseconds: Mapping[str, float]) -> list[Bar]:
    """Return a bar for each stage of all chunks together; stages overlap, so they do not add up."""
    total = milliseconds.get("total") or max(milliseconds.values(), default=1) or 1
    stages = sorted(((name, spent) for name, spent in milliseconds.items() if name != "total"), key=lambda entry: -entry[1])
    return [Bar(name.replace("_", " "), duration(spent / 1000), min(100 * spent / total, 100)) for name, spent in stages]


def errors_counted(records: Sequence[Mapping[str, Any]]) -> str:
    """Return the number of failures by error: `3 ModelError, 1 TransientS3Error`."""
    counts = Counter(record.get("error") or "unknown" for record in records)
    return ", ".join(f"{count:,} {name}" for name, count in counts.most_common(10))


def types_shown(types: Mapping[str, str], shown: int = 12) -> str:
    """Return the first columns whose types were decided by the data, and how many more there are."""
    named = [f"{column} {kind.replace('_', ' ')}" for column, kind in list(types.items())[:shown]]
    return ", ".join(named + ([f"{len(types) - shown:,} more"] if len(types) > shown else []))


def duration(seconds: float) -> str:
    """Return a time with as many digits as say something: `320 ms`, `4.2 s`, `12 min 5 s`, `3 h 12 min`."""
    if seconds < 1:
        return f"{1000 * seconds:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60:,} h {minutes % 60} min"


def dollars(amount: float) -> str:
    """Return an amount in dollars: four decimals below $10, two above."""
    return f"${amount:,.2f}" if amount >= 10 else f"${amount:.4f}"


def percent(part: float, whole: float) -> str:
    """Return a share in percent; one that is not zero never reads as zero."""
    share = 100 * part / whole if whole else 0.0
    return "0 %" if not share else "< 0.1 %" if share < 0.1 else f"{share:.1f} %"


def rounded(value: float, width: float) -> str:
    """Return a value that is known up to `width`, with the digits that are certain."""
    if not width:
        return number(value)
    digits = -math.floor(math.log10(width) + 1e-9)
    found = round(value, digits) + 0.0  # no negative zero
    return f"{found:,.{max(digits, 0)}f}" if 1e-4 <= abs(found) < 1e9 or not found else number(found)


def number(value: float | None) -> str:
    """Return a value of a column with four digits."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e9 else f"{value:.4g}"
