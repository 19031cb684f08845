"""What goes wrong for a caller of batch-predict."""


class BatchPredictError(Exception):
    """Something that the caller can change did not work; the message says what, where, and what to do."""
