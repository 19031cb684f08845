"""Text of others without what moves or hides other text: control characters, and overrides of the direction of text.

That is no escaping: markup stays markup, and whoever writes it into a page or a picture escapes it.
"""

import unicodedata

JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
"""Format characters that some scripts, and emoji, are written with."""


def visible(text: object, limit: int | None = None) -> str:
    """Return text as one line, cut to so many characters."""
    whole = str(text)
    if limit and len(whole) > limit:
        return f"{_shown(whole[: limit - 1])}…"
    return _shown(whole)


def visible_lines(text: str, limit: int) -> str:
    """Return text with its lines, cut to so many characters, of which it says how many are left out."""
    rest = len(text) - limit
    shown = "\n".join(_shown(line) for line in text[:limit].splitlines())
    return f"{shown}\n… and {rest:,} characters more" if rest > 0 else shown


def _shown(text: str) -> str:
    return text if text.isprintable() else "".join(map(_shown_character, text))


def _shown_character(character: str) -> str:
    if character in "\t\r\n":
        return " "
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs"} and character not in JOINERS
    return "\N{REPLACEMENT CHARACTER}" if hidden else character
