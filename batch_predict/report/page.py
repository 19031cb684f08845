"""A run as one HTML page: no script, no network, the same bytes for the same record.

Other people's texts (names of columns, messages, requests) reach the page only through jinja2's or matplotlib's escaping.
"""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from batch_predict.figures import megabytes, plural
from batch_predict.report import charts, tables
from batch_predict.report.distribution import Bins, Values, commonest_hashes, shared_edges
from batch_predict.report.drift import tone_of
from batch_predict.report.input import ReportInput
from batch_predict.report.state_graph import BOX_HEIGHT, BOX_WIDTH, state_graph
from batch_predict.report.timeline import ChunkTimeline, place_of, timeline_of
from batch_predict.visible_text import visible, visible_lines

TEMPLATES = Path(__file__).with_name("templates")

NAME_CHARACTERS = 120
TITLE_CHARACTERS = 1000
LONG_CHARACTERS = 4000
SHOWN_PREDICTIONS = 6
SHOWN_DRIFT = 12
SHOWN_FEATURES = 24
SLOWEST = 5
SHOWN_FAILURES = 100
BINS, SMALL_BINS = 40, 20
LONGEST_CHARACTERS = 20_000
"""The longest text on the page; longer ones are cut."""

TONES = {"SUCCEEDED": "good", "FAILED": "bad", "TIMED_OUT": "bad", "ABORTED": "bad"}


def render(record: ReportInput) -> str:
    """Return the page of a run; without a report, it shows what is known. A part with nothing to show is left out."""
    known = record.known
    statistics: Mapping[str, Any] = known.get("statistics") or {}
    timeline = timeline_of(record)
    ran = timeline if timeline is not None and len(timeline) else None
    features: Mapping[str, Any] = statistics.get("features") or {}
    predictions: Mapping[str, Any] = statistics.get("predictions") or {}
    return (
        _environment()
        .get_template("page.html.j2")
        .render(
            record=record,
            report=record.report,
            tone=TONES.get(record.status, "main"),
            when=_when(record),
            facts=list(tables.facts(record, timeline)),
            graph=state_graph(
                record.definition, record.states, is_over=record.stopped is not None, failed_chunks=len(record.failures)
            ),
            charts={**_time_charts(ran), **_drift_charts(record, features, predictions)},
            timeline_sentence=tables.timeline_sentence(ran) if ran else "",
            timeline=timeline,
            slowest=ran.slowest(SLOWEST) if ran and len(ran) > 1 else (),
            predictions=[
                _prediction(record, place, name, predictions[name]) for place, name in enumerate([*predictions][:SHOWN_PREDICTIONS])
            ],
            predictions_left_out=max(0, len(predictions) - SHOWN_PREDICTIONS),
            features=features,
            features_left_out=statistics.get("features_left_out", 0),
            missing=tables.missing_bars(features),
            drift_left_out=max(0, len(record.drift) - SHOWN_DRIFT),
            pictures=list(_feature_pictures(record, features)),
            pictures_left_out=max(0, len(features) - SHOWN_FEATURES),
            rejected=tables.count_bars(statistics.get("rejected_reasons") or {}, tone="warm"),
            failures=record.failures[:SHOWN_FAILURES],
            failures_counted=tables.errors_counted(record.failures),
            request=json.dumps(record.request, indent=2, ensure_ascii=False, default=str),
            known=known,
            cost=known.get("estimated_cost"),
            stages=known.get("milliseconds") or {},
            model=known.get("model"),
        )
    )


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        # Nothing that is written hides other text; it is escaped after that.
        finalize=lambda value: visible_lines(value, LONGEST_CHARACTERS) if type(value) is str else value,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    filters: dict[str, Callable[..., str]] = {
        "name": _name,
        "lines": lambda text, limit=LONG_CHARACTERS: visible_lines(str(text), limit),
        "duration": tables.duration,
        "place": place_of,
        "tone": tone_of,
    }
    environment.filters |= filters
    figures = (megabytes, plural, tables.dollars, tables.percent, tables.types_shown, tables.feature_figures)
    environment.globals |= {function.__name__: function for function in (*figures, tables.cost_bars, tables.stage_bars)}
    # The style is the project's own file: the only text that is not escaped.
    style = Markup((TEMPLATES / "style.css").read_text(encoding="utf-8").strip())  # noqa: S704
    environment.globals |= {"style": style, "box_width": BOX_WIDTH, "box_height": BOX_HEIGHT}
    return environment


def _name(text: object, limit: int = NAME_CHARACTERS) -> Markup:
    """Return a name in a direction of its own; a long one is cut, and shows the rest when a pointer rests on it."""
    shown = visible(text, limit)
    if len(str(text)) <= limit:
        return Markup("<bdi>{}</bdi>").format(shown)
    return Markup('<bdi title="{}">{}</bdi>').format(visible(text, TITLE_CHARACTERS), shown)


def _when(record: ReportInput) -> str:
    """Return the run's beginning and end: `24 November 2026, 02:00:00 to 02:00:19 UTC`."""
    begin, end = record.started, record.stopped
    last = "" if end is None else f" to {'' if end.date() == begin.date() else f'{end.day} {end:%B %Y}, '}{end:%H:%M:%S}"
    return f"{begin.day} {begin:%B %Y, %H:%M:%S}{last} {begin.tzname() or ''}".strip()


def _time_charts(timeline: ChunkTimeline | None) -> dict[str, Markup]:
    if timeline is None:
        return {}
    draw = charts.chunk_bars if len(timeline) <= charts.CHUNKS_APART else charts.chunks_at_work
    pictures = {"timeline": draw(timeline)}
    return pictures | {"throughput": charts.throughput(timeline)} if len(timeline) > 1 else pictures


@dataclass(frozen=True)
class ColumnFigure:
    """How a column is distributed, beside the reference if there is one: a chart, bars of classes, or neither."""

    name: str
    note: str
    chart: Markup | None = None
    bars: list[tables.Bar] | None = None


def _prediction(record: ReportInput, place: int, name: str, values: Mapping[str, Any]) -> ColumnFigure:
    before = record.reference_predictions.get(name)
    if before is not None and before["kind"] != values["kind"]:
        before = None
    missing = f" {values['missing']:,} are missing." if values["missing"] else ""
    rows = f"{values['rows']:,} rows.{missing}"
    if values["kind"] == "class":
        return ColumnFigure(name, rows, bars=tables.class_bars(values))
    if values["kind"] != "number":
        return ColumnFigure(name, f"{rows} Text without known classes is not shown.")
    column = Values(values)
    both = [column] if before is None else [column, Values(before)]
    edges = shared_edges(both, BINS)
    if edges is None:
        return ColumnFigure(name, f"{rows} None of the predictions is a finite number.")
    lines = [quartile for share in tables.QUARTILES if (quartile := column.quantile(share)) is not None]
    mean, deviation = (tables.number(figure) for figure in (column.mean, column.standard_deviation))
    quartiles = " · ".join(tables.quartiles(column))
    extremes = [tables.number(value) for value in (column.smallest, column.largest) if value is not None]
    between = f" From {extremes[0]} to {extremes[1]}, mean" if extremes else " Mean"
    infinite = f" {column.infinite:,} are infinite." if column.infinite else ""
    line = "" if before is None else " The line is the reference."
    sentence = f"{rows}{infinite}{between} {mean}, standard deviation {deviation}; quartiles (dashed) {quartiles}."
    bins = [side.bins(edges) for side in both]
    chart = charts.distribution(f"prediction{place}", name, lines, *bins)
    return ColumnFigure(name, f"{sentence} {_counted_by(column)}{line}", chart=chart)


def _counted_by(column: Values) -> str:
    """Say how exact the picture and its quartiles are."""
    if column.is_exact:
        return "Each whole number is counted by itself."
    if column.is_probability:
        return "Probabilities are counted by whole percents."
    return f"The middle 99 % are shown, from buckets {column.bucket_percent:.0f} % wide."


def _drift_charts(record: ReportInput, *groups: Mapping[str, Any]) -> dict[str, Markup]:
    """Draw the drift of features and predictions, if it is known."""
    drifts = {"drift": record.drift, "prediction_drift": record.prediction_drift}
    shown = {
        chart: {name: drift[name] for name in _by_drift(drift) if name in columns}
        for (chart, drift), columns in zip(drifts.items(), groups, strict=True)
    }
    return {chart: charts.drift_bars(chart, dict([*drift.items()][:SHOWN_DRIFT])) for chart, drift in shown.items() if drift}


def _by_drift(drift: Mapping[str, float]) -> list[str]:
    """Return the columns whose index is known, those that moved most first."""
    known = [name for name, index in drift.items() if not math.isnan(index)]
    return sorted(known, key=lambda name: -drift[name])


def _feature_pictures(record: ReportInput, features: Mapping[str, Any]) -> Iterator[ColumnFigure]:
    """Yield the pictures of features: those that moved most, then the others in their order."""
    moved = [name for name in _by_drift(record.drift) if name in features]
    for place, name in enumerate([*dict.fromkeys([*moved, *features])][:SHOWN_FEATURES]):
        now, before = features[name], (record.reference or {}).get(name)
        if before is not None and before["kind"] != now["kind"]:
            before = None
        sides = [values for values in (now, before) if values is not None]
        notes = [f"drift {record.drift[name]:.2f}"] if before is not None and name in moved else []
        if now["kind"] == "text":
            notes.append("by hash")
            shares: list[Bins] | None = commonest_hashes(sides, SMALL_BINS)
        else:
            columns = [Values(values) for values in sides]
            edges = shared_edges(columns, SMALL_BINS)
            shares = None if edges is None else [column.bins(edges) for column in columns]
        if shares:
            chart = charts.small_distribution(f"feature{place}", name, *shares, axis=now["kind"] == "number")
            yield ColumnFigure(name, ", ".join(notes), chart)
