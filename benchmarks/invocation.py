"""Invoke the prediction function with one event after the other, in this fresh process, as a new container of Lambda does.

Takes JSON: `group` (a control group to enter, or null), `cores`, `environment`, `started` (when the process was started, by the
monotonic clock) and `events`. Prints what each invocation took, the first one with the start of the process, as a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.memory import peak_bytes


def main() -> None:
    asked = json.loads(sys.argv[1])
    if asked["group"]:
        Path(asked["group"], "cgroup.procs").write_text(str(os.getpid()))
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: asked["cores"]])
    os.environ.update(asked["environment"])
    import prediction_handler  # noqa: PLC0415  # its import is a part of the cold start

    started, processor, found = asked["started"], 0.0, []
    for event in asked["events"]:
        main_thread = time.thread_time() if found else 0.0
        answer = prediction_handler.lambda_handler(event, None)
        now, processor_now = time.monotonic(), time.process_time()
        found.append(
            {
                "seconds": now - started,
                "processor_seconds": processor_now - processor,
                "main_thread_seconds": time.thread_time() - main_thread,
                "peak_bytes": peak_bytes(),
                "answer": answer,
            }
        )
        started, processor = time.monotonic(), time.process_time()
    print(json.dumps({"found": found}))


if __name__ == "__main__":
    main()
