"""Every fault at every call site: which executions try them, and what came of each."""

from __future__ import annotations

from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

from call_sites import pattern_of, site_of
from expectations import REFUSALS, SITES, SURVIVED, Cell
from runs import RUNS

from support.s3_proxy import Rule

EXECUTIONS_AT_ONCE = 6
"""botocore sleeps before it repeats a request: meanwhile others work."""

SITES_TOGETHER = 12
"""Call sites of one function that meet a passing fault in one execution: functions survive most by themselves, and the state
machine repeats a state five times."""

NOTED_UPLOAD_STAYS = {"AbortMultipartUpload", "ListParts"}
"""Operations without which an upload cannot be ended or gone on with: the repeat finds it by its record."""

DELAY_SECONDS = 0.2


class Verdict(NamedTuple):
    """What came of a cell."""

    as_expected: bool
    survived: bool
    why: str
    """In full, where it is not as expected."""


def batches_of(cells, runs=RUNS):
    """Yield what is tried in one execution: refusals and what stays alone, passing trouble at several call sites at once."""
    together = defaultdict(list)
    for cell in sorted(cells, key=lambda cell: not cell.persistent):  # those that stay take longest
        run = runs[SITES[cell.site]]
        if cell.persistent or cell.fault in REFUSALS:
            yield run, [cell]
        else:
            together[run.name, cell.fault].append(cell)
    for (name, _), passing in together.items():
        batches = defaultdict(list)
        counts = Counter()
        for cell in passing:
            batches[counts[cell.site.function] // SITES_TOGETHER].append(cell)
            counts[cell.site.function] += 1
        yield from ((runs[name], batch) for batch in batches.values())


def rule_of(cell, case):
    """Return the rule that injects a cell's fault into a case."""
    return Rule(
        cell.fault,
        function=f"{cell.site.function}Function",
        operation=cell.site.operation,
        key=f"^(?=.*{case.pattern}){pattern_of(cell.site)}",
        times=None if cell.persistent else 1,
        seconds=DELAY_SECONDS,
    )


def try_cells(executor, cells, runs=RUNS):
    """Try cells, many at once; those of an execution that did not go as expected once more, each alone."""

    def try_batch(numbered):
        number, (run, batch) = numbered
        verdicts = verdicts_of(run, batch, executor.outcome(run, f"{number}", lambda case: [rule_of(cell, case) for cell in batch]))
        if len(batch) > 1 and not all(verdict.as_expected for verdict in verdicts.values()):
            for index, cell in enumerate(batch):
                outcome = executor.outcome(run, f"{number}-{index}", lambda case, cell=cell: [rule_of(cell, case)])
                verdicts |= verdicts_of(run, [cell], outcome)
        return verdicts

    with ThreadPoolExecutor(EXECUTIONS_AT_ONCE) as pool:
        found = list(pool.map(try_batch, enumerate(batches_of(cells, runs))))
    return {cell: verdict for verdicts in found for cell, verdict in verdicts.items()}


def fault_free_sites(executor):
    """Return the call sites that each run really has, by its name."""

    def sites(run):
        outcome = executor.outcome(run, f"free-{run.name.replace(' ', '-')}", lambda _: [])
        wrong = list(problems(run, SURVIVED, outcome, aborts=run.name != "not sent"))
        assert not wrong, f"{run.name} without faults: {wrong}"
        return {site_of(request) for request in outcome.requests}

    with ThreadPoolExecutor(EXECUTIONS_AT_ONCE) as pool:
        return dict(zip(RUNS, pool.map(sites, RUNS.values()), strict=True))


def verdicts_of(run, batch, outcome):
    """Judge what one execution says of its cells."""
    verdicts = {}
    for cell, injected in zip(batch, outcome.injected, strict=True):
        explained = not (cell.persistent and cell.site.function == "ExplainFailure")
        aborts = cell.site.operation not in NOTED_UPLOAD_STAYS
        wrong = list(problems(run, cell.expected, outcome, aborts=aborts, explained=explained))
        if not injected:
            wrong.append("the fault was not injected: the call site is not in this run")
        survived = outcome.first.error == run.error
        why = f"{cell} in {run.name!r}: {'; '.join(wrong)}; it ended with {brief(outcome.first)}" if wrong else ""
        verdicts[cell] = Verdict(not wrong, survived, why)
    return verdicts


def problems(run, expected, outcome, *, aborts, explained=True):
    """Say what a run and its repeat must not come to.

    `aborts` is whether its uploads could be aborted, `explained` whether Explain Failure could work: the engine's cause is JSON.
    """
    first, repeat = outcome.first, outcome.repeat
    error = run.error if expected == SURVIVED else expected
    if first.error != error:
        yield f"expected {error or 'success'}, not {first.error or 'success'}"
    if first.error and not (first.cause or "").strip():
        yield "no cause"
    if explained and any(word in (first.cause or "") for word in ("Traceback", "stackTrace")):
        yield f"the cause is no sentence: {first.cause}"
    if first.output not in {run.old, outcome.expected}:
        yield "a partial or wrong output is visible"
    if first.error and explained and first.output != run.old and "is published" not in (first.cause or ""):
        yield f"something is published, and the cause does not say so: {first.cause}"
    if first.status == "SUCCEEDED" and first.output is None:
        yield "success without an output"
    if first.uploads and aborts:
        yield f"uploads were left: {first.uploads}"
    if repeat:
        if repeat.status != "SUCCEEDED" or repeat.output != outcome.expected_of_repeat:
            yield f"the repeat ended with {brief(repeat)}"
        if repeat.work or repeat.uploads:
            yield f"the repeat left {repeat.work} and uploads {repeat.uploads}"


def brief(ending):
    """Describe an ending in a line."""
    return f"{ending.status} {ending.error}: {ending.cause}" if ending.error else ending.status


def markdown(verdicts):
    """Return the table of docs/reliability.md: a line for each call site, and what each fault came to."""
    faults = list(dict.fromkeys(cell.fault for cell in verdicts if not cell.persistent))
    lines = [
        f"| call site | {' | '.join(f'`{fault}`' for fault in faults)} | stays |",
        f"|---|{'---|' * (len(faults) + 1)}",
    ]
    marks = {cell: mark(cell, verdict) for cell, verdict in verdicts.items()}
    for site in dict.fromkeys(cell.site for cell in verdicts):
        stays = next((f"`{cell.fault}` {marks[cell]}" for cell in marks if cell.site == site and cell.persistent), "")
        columns = [marks.get(Cell(site, fault), "") for fault in faults]
        lines.append(f"| {site} | {' | '.join(columns)} | {stays} |")
    survived = sum(verdict.survived for verdict in verdicts.values())
    failed = sum(verdict.as_expected and not verdict.survived for verdict in verdicts.values())
    wrong = sum(not verdict.as_expected for verdict in verdicts.values())
    summary = (
        f"{len(SITES)} call sites, {len(verdicts)} faults tried: {survived} survived, {failed} failed as documented, {wrong} wrong"
    )
    return "\n".join([*lines, "", summary, ""])


def mark(cell, verdict):
    """Return a cell of the table."""
    if not verdict.as_expected:
        return "**wrong**"
    return "survived" if verdict.survived else cell.expected
