"""Run the soak: `make soak MINUTES=20`, or `python -m soak --help` with PYTHONPATH=tests:."""

import argparse
import math
import sys
import time
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from batch_predict.local.aws import local_aws
from batch_predict.local.deploy import usable_cores
from soak.estimators import fitted_estimators
from soak.figures import Figures
from soak.leaks import Watch
from soak.scenarios import Run
from soak.stack import Stack
from soak.workloads import random_workload
from support.s3_proxy import behind, s3_proxy

PROGRESS_SECONDS = 30
MOST_TWINS = 3


def main(arguments=None):
    """Return 0 where nothing was lost, wrong or left behind."""
    options = parsed(arguments)
    figures = soak(options)
    print(figures.table())
    return 0 if figures.is_clean else 1


def parsed(arguments):
    parser = argparse.ArgumentParser(prog="soak", description="Random requests under random faults, held against an oracle.")
    parser.add_argument("--minutes", type=float, default=5.0, help="how long to start new runs (5)")
    parser.add_argument("--runs", type=int, help="how many runs, in place of minutes")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of everything; the time unless given")
    parser.add_argument("--only", type=int, nargs="+", help="numbers of runs of that seed, to look at them again")
    parser.add_argument("--at-once", type=int, default=4, help="runs at the same time (4)")
    parser.add_argument("--log", type=Path, help="where to write the emulator's and the functions' log")
    return parser.parse_args(arguments)


def soak(options):
    """Start the embedded AWS, run until the time or the runs are over, and count."""
    figures = Figures()
    print(f"seed {options.seed}: `--seed {options.seed} --only N` repeats run-{options.seed}-N", flush=True)
    estimators = fitted_estimators()
    with local_aws(enforce_iam=True, wait_scale=0, log_file=options.log) as aws:
        watch = Watch(aws, options.at_once * MOST_TWINS * usable_cores())
        stack = Stack(aws)
        for estimator in estimators:
            stack.put(f"s3://{aws.bucket}/models/{estimator.name}.joblib", estimator.content)
        with s3_proxy(aws.endpoint_url) as proxy, behind(proxy, aws):
            run_all(options, stack, proxy, estimators, figures, watch)
            look_back(stack, watch, figures)
    return figures


def run_all(options, stack, proxy, estimators, figures, watch):
    """Start runs, some at once, until there are enough or the time is over; watch them from here."""
    numbers = iter(options.only or range(options.runs or sys.maxsize))
    deadline = math.inf if options.only or options.runs else time.monotonic() + 60 * options.minutes

    def work():
        while time.monotonic() < deadline and (number := next(numbers, None)) is not None:
            run_one(f"{options.seed}-{number}", stack, proxy, estimators, figures)

    with ThreadPoolExecutor(options.at_once) as pool:
        workers = [pool.submit(work) for _ in range(options.at_once)]
        said = time.monotonic()
        while not all(worker.done() for worker in workers):
            time.sleep(0.2)
            watch.sample()
            if time.monotonic() - said >= PROGRESS_SECONDS:
                said = time.monotonic()
                print(figures.line(), flush=True)
        for worker in workers:
            worker.result()


def run_one(seed, stack, proxy, estimators, figures):
    """Run one workload; whatever breaks in it counts as a mismatch."""
    workload = random_workload(seed, stack.aws.bucket, estimators)
    run = Run(stack, proxy, workload)
    try:
        run()
    except Exception:  # noqa: BLE001 - an execution that never ends, an output that is not CSV: all to be explained
        run.outcome.problems.append(traceback.format_exc())
    for problem in run.outcome.problems:
        print(f"MISMATCH run-{seed}: {problem}", flush=True)
    figures.add(workload, run.outcome)


def look_back(stack, watch, figures):
    """Count what the runs have left behind, now that none is going on."""
    figures.leaks += watch.found()
    figures.leaks += [f"an upload of {key} is open at the end" for key in stack.uploads().values()]
    figures.leaks += [f"{key} is there at the end" for prefix in ("data/", "output/") for key in stack.keys(prefix)]


if __name__ == "__main__":
    sys.exit(main())
