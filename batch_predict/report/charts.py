"""The pictures of a report's page, one function each. They draw what they are given, and decide nothing."""

from collections.abc import Mapping, Sequence

import matplotlib as mpl
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from batch_predict.report.distribution import Bins
from batch_predict.report.drift import LARGE, MODERATE, tone_of
from batch_predict.report.svg import BAD, BAND_DRIFT, BAND_WATCH, COLOURS, INK, MAIN, MUTED, SOFT, STYLE, WARM, WIDTH, blank, svg_of
from batch_predict.report.timeline import ChunkTimeline
from batch_predict.visible_text import visible

CHUNKS_APART = 300
"""Up to so many chunks have a bar each; for more, the picture shows how many are at work at once."""
INTERVALS = 80
"""Number of intervals that time is divided into."""
SMALL = 172
"""Width of one of two small pictures beside each other."""
UNITS = ((3600, "hours"), (60, "minutes"), (1, "seconds"))
"""Units of an axis of time: the largest that occurs eight times on it is used."""
LONGEST_DRIFT = 2.0
"""The longest bar: a larger index is only written, so that the others keep their length."""

Floats = NDArray[np.float64]


@mpl.rc_context(STYLE)
def chunk_bars(timeline: ChunkTimeline) -> Markup:
    """Draw a bar for each chunk, from its start to its end."""
    number = len(timeline)
    height = min(max(14 * number, 40), 220)
    figure, axes = blank(WIDTH, height + 74)
    for cold, colour in ((False, MAIN), (True, WARM)):
        bars = [
            Rectangle((timeline.started[place], place - 0.4), timeline.seconds[place], 0.8)
            for place in np.flatnonzero(timeline.cold == cold)
        ]
        axes.add_collection(PatchCollection(bars, facecolor=colour, edgecolor="none"))
    retried = np.flatnonzero(timeline.attempts > 1)
    size = min(max(height / number, 3), 7)
    axes.plot(timeline.stopped[retried], retried, linestyle="none", marker="D", markersize=size, color=BAD, clip_on=False)
    _seconds_axis(axes, 0.0, float(timeline.stopped.max()))
    axes.set_ylim(number - 0.5, -0.5)
    axes.yaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda place, _: _index_at(timeline, place)))
    axes.grid(visible=False, axis="y")
    axes.set_ylabel("chunk")
    _timeline_legend(axes, timeline, "a chunk")
    return svg_of(figure, "timeline", f"When each of {number:,} chunks ran, in seconds since the execution began")


@mpl.rc_context(STYLE)
def chunks_at_work(timeline: ChunkTimeline) -> Markup:
    """Draw how many chunks run at once, for executions with too many to tell them apart."""
    figure, axes = blank(WIDTH, 260)
    edges = timeline.edges(INTERVALS)
    axes.stairs(timeline.at_work(edges), edges, fill=True, color=MAIN)
    axes.stairs(timeline.at_work(edges, cold=True), edges, fill=True, color=WARM)
    retried = timeline.stopped[timeline.attempts > 1]
    axes.plot(retried, np.zeros(len(retried)), linestyle="none", marker="D", markersize=5, color=BAD, clip_on=False)
    _seconds_axis(axes, 0.0, float(edges[-1]))
    _counts_axis(axes, "chunks at work at once")
    _timeline_legend(axes, timeline, "chunks")
    return svg_of(figure, "timeline", f"How many of {len(timeline):,} chunks ran at once, by seconds since the execution began")


@mpl.rc_context(STYLE)
def throughput(timeline: ChunkTimeline) -> Markup:
    """Draw the rows predicted in a second, over time."""
    figure, axes = blank(WIDTH, 260)
    edges = timeline.edges(INTERVALS)
    speed = timeline.rows_per_second(edges)
    axes.stairs(speed, edges, fill=True, color=SOFT)
    axes.stairs(speed, edges, color=MAIN, linewidth=1.4)
    _seconds_axis(axes, 0.0, float(edges[-1]))
    _counts_axis(axes, "rows a second")
    return svg_of(figure, "throughput", f"Rows a second over time, {_compact(float(speed.max()))} at most")


@mpl.rc_context(STYLE)
def distribution(name: str, label: str, quartiles: Sequence[float], bins: Bins, reference: Bins | None = None) -> Markup:
    """Draw a column's values as bars of equal width, with its quartiles, and the reference as a line if there is one."""
    figure, axes = blank(WIDTH, 220)
    axes.stairs(100 * bins.shares, bins.edges, fill=True, color=MAIN)
    _values_axis(axes, bins, reference, 6)
    for quartile in quartiles:
        axes.axvline(quartile, color=INK, linewidth=1, linestyle=(0, (3, 2)))
    axes.set_xlabel(visible(label, 50))
    axes.set_ylabel("% of rows")
    return svg_of(figure, name, f"Distribution of {visible(label, 200)}")


@mpl.rc_context(STYLE)
def drift_bars(picture: str, drift: Mapping[str, float]) -> Markup:
    """Draw the population stability index of columns, one below the other, on its customary bands."""
    number = len(drift)
    figure, axes = blank(WIDTH, 34 * number + 56)
    lengths = [min(index, LONGEST_DRIFT) for index in drift.values()]
    right = max(max(lengths) * 1.18, 0.35)
    axes.axvspan(MODERATE, LARGE, color=BAND_WATCH)
    axes.axvspan(LARGE, right, color=BAND_DRIFT)
    colours = [COLOURS[tone_of(index)] for index in drift.values()]
    axes.barh(np.arange(number) + 0.2, lengths, 0.4, color=colours)
    for place, (name, index) in enumerate(drift.items()):
        axes.text(right * 0.01, place - 0.06, visible(name, 44), va="bottom", color=INK)
        axes.text(min(index, LONGEST_DRIFT) + right * 0.01, place + 0.2, f"{index:.2f}", va="center", color=INK)
    axes.set_xlim(0, right)
    axes.set_ylim(number - 0.4, -0.65)
    axes.set_yticks([])
    axes.xaxis.set_major_locator(MaxNLocator(6))
    axes.set_xlabel(f"population stability index: stable below {MODERATE}, drifted from {LARGE}")
    return svg_of(figure, picture, f"Population stability index of {number} column{'' if number == 1 else 's'}")


@mpl.rc_context(STYLE)
def small_distribution(name: str, label: str, now: Bins, reference: Bins | None = None, *, axis: bool = True) -> Markup:
    """Draw a small picture of a feature in this run, and in the reference if there is one."""
    figure, axes = blank(SMALL, 118)
    if now.are_apart:
        step = np.diff(now.edges)
        axes.bar(now.edges[:-1] + step / 2, 100 * now.shares, 0.84 * step, color=MAIN)
    else:
        axes.stairs(100 * now.shares, now.edges, fill=True, color=MAIN)
    _values_axis(axes, now, reference, 3)
    if not axis:
        axes.xaxis.set_major_locator(NullLocator())
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}%"))
    axes.tick_params(labelsize=10)
    reference_too = "" if reference is None else ": the reference as a line, this run as bars"
    return svg_of(figure, name, f"Distribution of {visible(label, 200)}{reference_too}")


def _values_axis(axes: Axes, bins: Bins, reference: Bins | None, ticks: int) -> None:
    """Draw the reference as a line, and the axis of a column's values."""
    if reference is not None:
        axes.stairs(100 * reference.shares, reference.edges, color=INK, linewidth=1.2)
    axes.set_xlim(bins.edges[0], bins.edges[-1])
    axes.xaxis.set_major_locator(MaxNLocator(ticks, integer=bins.are_apart))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _compact(value)))
    axes.grid(visible=False, axis="x")


def _timeline_legend(axes: Axes, timeline: ChunkTimeline, what: str) -> None:
    shown = [Patch(color=MAIN, label=what)]
    if timeline.cold.any():
        shown.append(Patch(color=WARM, label="began cold"))
    handles: list[object] = list(shown)
    if (timeline.attempts > 1).any():
        handles += axes.plot([], [], linestyle="none", marker="D", markersize=6, color=BAD, label="was retried")
    axes.legend(
        handles=handles, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, borderaxespad=0, handlelength=1, columnspacing=1.2
    )


def _index_at(timeline: ChunkTimeline, place: float) -> str:
    whole = round(place)
    return f"{timeline.chunk_index[whole] + 1:,}" if 0 <= whole < len(timeline) and abs(place - whole) < 1e-6 else ""


def _seconds_axis(axes: Axes, left: float, right: float) -> None:
    seconds, unit = next(entry for entry in UNITS if right >= 8 * entry[0] or entry[0] == 1)
    axes.set_xlim(left, right)
    axes.set_xticks(
        [seconds * tick for tick in MaxNLocator(6).tick_values(left, right / seconds) if left <= seconds * tick <= right]
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda second, _: f"{second / seconds:g}"))
    axes.set_xlabel(f"{unit} since the execution began")


def _counts_axis(axes: Axes, label: str) -> None:
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, min_n_ticks=1))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _compact(value)))
    axes.grid(visible=False, axis="x")
    axes.set_ylabel(label, color=MUTED)


def _compact(value: float) -> str:
    """Return a number as an axis shows it: `12k`, `3.4M`, `1.2e-05`."""
    for size, letter in ((1e12, ""), (1e9, "G"), (1e6, "M"), (1e4, "k")):
        if abs(value) >= size:
            return f"{value:.2g}" if size == 1e12 else f"{value / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{value:.4g}"
