"""Numbers and counted nouns as people read them, on the terminal and on the page of a run."""

COST_ITEMS = (("Lambda", "lambda"), ("Step Functions", "step_functions"), ("S3", "s3"))
"""The items of an estimate's dollars, each with the name that people know and its key."""


def plural(number: int, noun: str) -> str:
    """Return `1 row`, `2,000 rows`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def megabytes(size: int) -> str:
    """Return a size in MB (10^6) or kB, with as many digits as say something."""
    return f"{size / 1e6:,.1f} MB" if size >= 1e5 else f"{size / 1e3:,.1f} kB"


def duration(seconds: float) -> str:
    """Return `12 s`, `3 min 20 s`, `2 h 05 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"
