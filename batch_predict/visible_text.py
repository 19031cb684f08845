"""Text of others without what moves or hides other text: control characters, overrides of the direction of text, invisible ones.

That is no escaping: markup stays markup, and whoever writes it into a page or a picture escapes it.
"""

import unicodedata
from functools import lru_cache

NEEDED = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{VARIATION SELECTOR-15}\N{VARIATION SELECTOR-16}"
"""Invisible characters that some scripts, and emoji, are written with."""
INVISIBLE = frozenset(
    "\N{COMBINING GRAPHEME JOINER}\N{HANGUL CHOSEONG FILLER}\N{HANGUL JUNGSEONG FILLER}\N{HANGUL FILLER}"
    "\N{HALFWIDTH HANGUL FILLER}\N{KHMER VOWEL INHERENT AQ}\N{KHMER VOWEL INHERENT AA}"
    "\u180b\u180c\u180d\u180f"
) | {chr(code) for start, stop in ((0xFE00, 0xFE10), (0xE0000, 0xE1000)) for code in range(start, stop)}
"""Letters, marks and signs that are drawn as nothing: https://www.unicode.org/reports/tr44/#Default_Ignorable_Code_Point"""
LINE_ENDS = "\N{LINE SEPARATOR}\N{PARAGRAPH SEPARATOR}"


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


def visible_output(text: str) -> str:
    """Return text as it may be written to a terminal: with its lines and tabs."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(character if character in "\t\n" else _shown_character(character) for character in text.replace("\r\n", "\n"))


def _shown(text: str) -> str:
    return text if text.isascii() and text.isprintable() else "".join(map(_shown_character, text))


@lru_cache(maxsize=4096)
def _shown_character(character: str) -> str:
    if character in "\t\r\n" or character in LINE_ENDS:
        return " "
    hidden = (unicodedata.category(character) in {"Cc", "Cf", "Cs"} or character in INVISIBLE) and character not in NEEDED
    return "\N{REPLACEMENT CHARACTER}" if hidden else character
