"""Texts that UTF-8 cannot hold: half a surrogate pair, which JSON's escapes can spell."""

import json
import re


def is_encodable(text: str) -> bool:
    """Whether a text can be written."""
    return not re.search("[\ud800-\udfff]", text)


def encodable(text: str) -> str:
    """Return a text with escapes in the place of what cannot be written."""
    return text.encode("utf-8", "backslashreplace").decode()


def json_text(value: object, **options: object) -> str:
    """Write JSON for people: letters as they are. The escapes are JSON's own, so the value comes back as it was."""
    return encodable(json.dumps(value, ensure_ascii=False, **options))  # type: ignore[arg-type]
