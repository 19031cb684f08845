"""Pages of runs as their tests take them apart: all kinds of runs, and runs whose names want to be markup."""

import pickle
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cache, wraps
from html.parser import HTMLParser

from batch_predict.report import charts
from batch_predict.report.page import render
from support.report_records import (
    BEFORE_CHUNKS,
    STARTED,
    class_values,
    failed_run,
    flights_features,
    flights_run,
    number_values,
    report,
    states,
)

SECTIONS = {
    "states",
    "timeline",
    "throughput",
    "slowest",
    "predictions",
    "missing",
    "drift",
    "features",
    "distributions",
    "rejected",
    "cost",
    "stages",
    "model",
    "request",
}
"""Of a whole run: one that has failed chunks has `failures`, too."""
OF_VALUES = {"predictions", "missing", "drift", "features", "distributions", "rejected"}
OF_TIMES = {"timeline", "throughput", "slowest"}


@dataclass
class Page(HTMLParser):
    """A page as its elements say it; raises where they do not close."""

    source: str
    tags: Counter = field(default_factory=Counter)
    attributes: list = field(default_factory=list)
    sections: dict = field(default_factory=dict)
    texts: list = field(default_factory=list)
    headline: str = ""

    def __post_init__(self):
        super().__init__()
        self._open = []
        self._section = None
        self.feed(self.source)
        self.close()
        assert not self._open

    def handle_starttag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag not in {"meta", "br"}:
            self._open.append(tag)
        if tag == "section":
            self._section = dict(attributes)["id"]
            self.sections[self._section] = ""

    def handle_startendtag(self, tag, attributes):
        self.tags[tag] += 1
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self._open.pop() == tag
        if tag == "section":
            self._section = None

    def handle_data(self, text):
        self.texts.append(text)
        if self._section:
            self.sections[self._section] += text
        elif "header" in self._open:
            self.headline += text


def drawn_once(draw):
    """Return a function that draws a picture once: these pages have mostly the same ones, and drawing is what takes time."""
    drawn = {}

    @wraps(draw)
    def picture(*given, **options):
        key = pickle.dumps((given, options))
        if key not in drawn:
            drawn[key] = draw(*given, **options)
        return drawn[key]

    return picture


for name in ("chunk_bars", "chunks_at_work", "throughput", "distribution", "drift_bars", "small_distribution"):
    setattr(charts, name, drawn_once(getattr(charts, name)))


@cache
def rendered(name):
    return render(RECORDS[name])


@cache
def hostile_source(kind):
    return render(hostile_run(HOSTILE[kind]))


def page_of(record):
    """Return the page of a record, or of that which is so called."""
    return Page(rendered(record) if isinstance(record, str) else render(record))


def with_report(**fields):
    return flights_run(report=report(**fields))


def with_statistics(**fields):
    return with_report(statistics={**report()["statistics"], **fields})


RUNNING = flights_run(status="RUNNING", stopped=None, report=None, states=states(*BEFORE_CHUNKS, ("Predict Chunks", "Map", None)))
BARE = flights_run(
    status="ABORTED",
    report=None,
    states=(),
    definition={},
    request={},
    reference=None,
    drift={},
    prediction_drift={},
    attempts={},
    reference_name=None,
)
SO_FAR = {
    name: value
    for name, value in report(39, chunks={"planned": 44, "predicted": 39, "reused": 2, "failed": 5}).items()
    if name in {"rows", "chunks", "model", "warnings", "column_types", "milliseconds", "estimated_cost", "statistics", "timeline"}
}
OLD_FUNCTION = {name: value for name, value in report().items() if name not in {"statistics", "timeline"}}
RECORDS = {
    "whole": flights_run(),
    "one chunk": flights_run(1),
    "nine chunks": flights_run(9),
    "ten thousand chunks": flights_run(10_000),
    "failed": failed_run(),
    "failed, chunks done": failed_run(so_far=SO_FAR),
    "aborted, chunks done": flights_run(
        status="ABORTED", report=None, so_far=SO_FAR | {"chunks": {"planned": 44, "predicted": 39, "reused": 0, "failed": 0}}
    ),
    "running": RUNNING,
    "bare": BARE,
    "without statistics": flights_run(report=OLD_FUNCTION),
    "all chunks reused": flights_run(started=STARTED + timedelta(hours=1), stopped=STARTED + timedelta(hours=1, seconds=4)),
    "no model, no cost": with_report(model=None, estimated_cost=None, milliseconds={}),
    "nothing in statistics": with_statistics(predictions={}, features={}, rejected_reasons={}),
    "rejected, not counted": with_statistics(rejected_reasons={}),
    "no values": with_statistics(predictions={"p": number_values([], missing=4)}, features={"f": number_values([], missing=4)}),
}


HOSTILE = {
    "markup": (
        "\"'><img src=x onerror=alert(1)>&amp;</style></title><script>alert(1)</script><b onload=x>"
        "]]></text></svg><svg onload=alert(1)>{{ 7 * 7 }}{% raw %}${x}$\\alpha$"
    ),
    "long": "x" * 10_000,
    "right to left": "\u0627\u0644\u0631\u062d\u0644\u0629 \u05e9\u05dc\u05d5\u05dd",
    "override": "abc\u202egpj.exe\u2066\u200f\u0000\u001b[31m\ud800\nline",
}


MONTH = {**flights_features()["month"], "missing": 5}


def hostile_run(text):
    """Return a run that has `text` wherever a name, a message or a value of others can be."""
    features = {f"{text}{number}": MONTH for number in range(2)}
    statistics = {
        "predictions": {text: number_values([1.0, 2.0]), f"{text}2": class_values({text: 3, "b": 1}, other=2)},
        "features": features,
        "features_left_out": 3,
        "rejected_reasons": {text: 4},
    }
    chunk = {"chunk_index": 1, "data_s3_uri": text, "byte_range": [0, 1], "error": text, "message": text}
    timeline = {**report(9)["timeline"], "data_s3_uri": [text] * 9}
    model = {**report()["model"], "s3_uri": text, "estimator": text, "versions": {text: text}, "warnings": [text]}
    output = {**report()["output"], "output_s3_uri": text, "report_s3_uri": text, "rejected_s3_uri": text}
    fields = {
        "statistics": statistics,
        "timeline": timeline,
        "model": model,
        "output": output,
        "milliseconds": {text: 3, "total": 4},
    }
    definition = {"StartAt": text, "States": {text: {"Type": "Task", "Next": f"{text}2"}, f"{text}2": {"Type": text}}}
    return flights_run(
        name=text,
        execution_arn=text,
        status=text,
        request={text: text},
        states=states((text, "Task", 1.0, text, 2)),
        definition=definition,
        report=report(9, **fields),
        failures=[chunk],
        error=text,
        cause=text,
        advice=text,
        reference=features,
        reference_name=text,
        drift=dict.fromkeys(features, 0.3),
        reference_predictions=statistics["predictions"],
        prediction_drift={text: 0.2},
    )


RECORDS["harmless"] = hostile_run("abc")

LACKING = {
    "one chunk": {"throughput", "slowest"},
    "failed": SECTIONS - {"states", "request"},
    "running": SECTIONS - {"states", "request"},
    "bare": SECTIONS - {"states", "request"},
    "without statistics": OF_VALUES | OF_TIMES,
    "all chunks reused": OF_TIMES,
    "no model, no cost": {"model", "cost", "stages"},
    "nothing in statistics": OF_VALUES,
    "rejected, not counted": {"rejected"},
    "no values": {"drift", "distributions"},
}
"""What the pages of records leave out, because there is nothing to show."""
