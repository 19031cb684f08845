"""Until when a function may begin further work: what it leaves then, its state's next entry takes up."""

from __future__ import annotations

import math
import time
from typing import Any

NO_DEADLINE = math.inf


def deadline_of(context: Any, hand_over_seconds: float) -> float:
    """Return the time (`time.monotonic()`) that leaves so many seconds of Lambda's time-out to end in good order."""
    if context is None:
        return NO_DEADLINE
    return time.monotonic() + float(context.get_remaining_time_in_millis()) / 1000 - hand_over_seconds
