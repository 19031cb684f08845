"""The result as tables, in Markdown."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from benchmarks import machine
from benchmarks.cases import CONTESTANTS, Case
from benchmarks.targets import Target, targets

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from benchmarks.results import Results


def as_text(results: Results) -> str:
    """Write all tables of a run."""
    parts = [machine.in_words(results.machine)]
    if results.scale != 1:
        parts.append(
            f"Reduced to {results.scale:g} of the full size: fixed costs weigh more, and the targets are for the full size."
        )
    if results.rounds:
        n_rounds = max(map(len, results.rounds.values()))
        parts += [
            f"Medians of {n_rounds} interleaved rounds. Work leaves out imports and loading the model; 1 MB = 10^6 bytes.",
            table(("data, model", "contestant", "work s", "MB/s", "CPU s", "peak MB", "process s"), _figures(results)),
            "Ratios: medians of the rounds' own ratios. The floor is the model on an array in memory and a copy of the bytes.",
            table(
                ("data, model", "pandas / ours", "pandas / ours, process", "ours / polars", "… CPU", "… memory", "floor / ours"),
                _ratios(results),
            ),
        ]
    if results.memory:
        parts += [
            "Peak memory of the handler with ridge, by size of the file.",
            table(("file MB", "peak MB", "largest"), _memory(results)),
        ]
    parts.append(table(("target", "bound", "measured", "met"), target_rows(targets(results))))
    parts += [f"PROBLEM: {problem}" for problem in results.problems]
    return "\n\n".join(parts)


def table(heads: Sequence[str], rows: list[list[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    rule = [("-" * width if position < 1 else "-" * (width - 1) + ":") for position, width in enumerate(widths)]
    lines = [_line(heads, widths), f"| {' | '.join(rule)} |", *(_line(row, widths) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: list[int]) -> str:
    first, *others = cells
    padded = [first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True))]
    return f"| {' | '.join(padded)} |"


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _figures(results: Results) -> list[list[str]]:
    rows = []
    for case in results.rounds:
        for name in CONTESTANTS:
            work = results.median(case, name, "work_seconds")
            if work is None:
                continue
            peak = (
                None if name == "floor" else results.median(case, name, "peak_bytes")
            )  # it holds the features in memory on purpose
            rows.append(
                [
                    str(case),
                    name,
                    _number(work),
                    _number(results.data_bytes[case.data] / 1e6 / work, 0),
                    _number(results.median(case, name, "work_cpu_seconds")),
                    _number(peak and peak / 1e6, 0),
                    _number(results.median(case, name, "process_seconds")),
                ]
            )
    return rows


def _ratios(results: Results) -> list[list[str]]:
    def row(case: Case) -> list[str]:
        return [
            str(case),
            _number(results.ratio(case, "pandas", "ours", "work_seconds"), 1),
            _number(results.ratio(case, "pandas", "ours", "process_seconds"), 1),
            _number(results.ratio(case, "ours", "polars", "work_seconds")),
            _number(results.ratio(case, "ours", "polars", "work_cpu_seconds")),
            _number(results.ratio(case, "ours", "polars", "peak_bytes")),
            _number(results.ratio(case, "floor", "ours", "work_seconds")),
        ]

    return [row(case) for case in results.rounds]


def _memory(results: Results) -> list[list[str]]:
    return [
        [f"{size / 1e6:.3g}", _number(median(peaks) / 1e6, 0), _number(max(peaks) / 1e6, 0)]
        for size, peaks in results.memory.items()
    ]


def target_rows(found: Iterable[Target]) -> list[list[str]]:
    words = {True: "yes", False: "NO", None: "-"}
    return [
        [target.measure, f"{target.sign} {target.bound:g} {target.unit}".strip(), _number(target.value), words[target.is_met]]
        for target in found
    ]
