"""The process of a run that was left to itself by `batch-predict run --detach`: `python -m batch_predict.detached DIR`."""

import sys
from pathlib import Path

from batch_predict.endings import stop_signals
from batch_predict.local_runs import LocalRunDirectory


def main() -> None:
    """Do the run of the folder; SIGTERM ends it in good order."""
    with stop_signals() as received:
        try:
            LocalRunDirectory(Path(sys.argv[1])).execute()
        except KeyboardInterrupt:
            sys.exit(128 + received[0])


if __name__ == "__main__":
    main()
