"""The process of a run that was left to itself by `batch-predict run --detach`: `python -m batch_predict.local.detached DIR`."""

import sys
from pathlib import Path

from batch_predict.local.interruption import stop_signals
from batch_predict.local.kept_run import KeptRun
from batch_predict.local.kept_runs import KeptRuns


def main(folder: Path) -> None:
    """Do the run of the folder; SIGTERM ends it in good order."""
    with stop_signals() as received:
        try:
            KeptRuns(folder.parent).execute(KeptRun(folder))
        except KeyboardInterrupt:
            sys.exit(128 + received[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
