"""The one structured line that each function logs per invocation."""

from __future__ import annotations

from .utf8 import json_text


def log(message: str, *, level: str = "INFO", **facts: object) -> None:
    """Print one JSON line: Lambda passes it to CloudWatch as it is, where every field can be queried."""
    print(json_text({"level": level, "message": message, **facts}))
