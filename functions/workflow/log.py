"""The one structured line that each function logs per invocation."""

from __future__ import annotations

import json


def log(message: str, **facts: object) -> None:
    """Print one JSON line: Lambda passes it to CloudWatch as it is, where every field can be queried."""
    print(json.dumps({"level": "INFO", "message": message, **facts}, ensure_ascii=False))
