"""The process of a run that was left to itself by `batch-predict run --detach`: `python -m batch_predict.local.detached DIR`."""

import sys
from pathlib import Path

from batch_predict.cli.endings import stop_signals
from batch_predict.local.kept_runs import KeptRun


def main() -> None:
    """Do the run of the folder; SIGTERM ends it in good order."""
    with stop_signals() as received:
        try:
            KeptRun(Path(sys.argv[1])).execute()
        except KeyboardInterrupt:
            sys.exit(128 + received[0])


if __name__ == "__main__":
    main()
