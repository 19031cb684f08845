"""One picture of a run: megabytes a second, by case and contestant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib.figure import Figure

from benchmarks.cases import CONTESTANTS

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.results import Results

COLOURS = {"ours": "#0b6e4f", "pandas": "#b0b7bf", "polars": "#5b8db8", "floor": "#e3c567"}


def draw(results: Results, path: Path) -> None:
    """Draw a bar for each contestant, on a logarithmic axis."""
    mpl.rcParams["svg.hashsalt"] = "benchmarks"  # the same figures give the same file
    cases = list(results.rounds)[::-1]
    names = [name for name in CONTESTANTS if any(results.values(case, name, "work_seconds") for case in cases)]
    figure = Figure(figsize=(8, 1 + 0.75 * len(cases)), layout="constrained")
    axes = figure.subplots()
    height = 0.8 / len(names)
    for position, name in enumerate(names):
        speeds = [
            results.data_bytes[case.data] / 1e6 / (results.median(case, name, "work_seconds") or float("nan")) for case in cases
        ]
        places = [place + 0.4 - (position + 0.5) * height for place in range(len(cases))]
        bars = axes.barh(places, speeds, height, color=COLOURS[name], label=f"{name}: {CONTESTANTS[name]}")
        axes.bar_label(bars, fmt="%.3g", padding=2, fontsize=7)
    axes.set_yticks(range(len(cases)), [str(case) for case in cases])
    axes.set_xscale("log")
    axes.set_xlabel("MB of input a second of work (more is better)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=2, fontsize=8, frameon=False)
    figure.savefig(path, metadata={"Date": None})
