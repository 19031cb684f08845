"""The process of a run that was left to itself by `batch-predict run --detach`: `python -m batch_predict.detached DIR`."""

import signal
import sys
from pathlib import Path
from types import FrameType

from batch_predict.local_runs import LocalRunDirectory


def main() -> None:
    """Do the run of the folder; SIGTERM ends it in good order."""

    def stop(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, stop)
    LocalRunDirectory(Path(sys.argv[1])).execute()


if __name__ == "__main__":
    main()
