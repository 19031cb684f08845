"""The one structured line that each function logs per invocation."""

from __future__ import annotations

import json


def log(message: str, *, level: str = "INFO", **facts: object) -> None:
    """Print one JSON line: Lambda passes it to CloudWatch as it is, where every field can be queried."""
    print(json_text({"level": level, "message": message, **facts}))


def json_text(value: object, **options: object) -> str:
    """Write JSON for people: letters as they are, but half a surrogate pair, which UTF-8 cannot hold, as its escape."""
    text = json.dumps(value, ensure_ascii=False, **options)  # type: ignore[arg-type]
    return text.encode("utf-8", "backslashreplace").decode()
