import time

from workflow.deadline import NO_DEADLINE, deadline_of


class Context:
    def get_remaining_time_in_millis(self) -> int:
        return 900_000


def test_a_function_stops_before_lambda_does() -> None:
    assert abs(deadline_of(Context(), 180) - (time.monotonic() + 720)) < 10


def test_without_lambda_there_is_no_deadline() -> None:
    assert deadline_of(None, 180) == NO_DEADLINE
