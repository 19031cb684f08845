"""Texts that steer a terminal, move other text, or hide what stands there."""

STEERING = {
    "title": "\x1b]0;pwned\x07",
    "clipboard": "\x1b]52;c;cHduZWQ=\x1b\\",
    "clear": "\x1b[2J\x1b[H",
    "conceal": "\x1b[8mhidden\x1b[0m",
    "link": "\x1b]8;;http://evil.example\x07here\x1b]8;;\x07",
    "device control": "\x1bP+q544e\x1b\\",
    "C1 control sequence": "\x9b2J",
    "C1 title": "\x9d0;pwned\x9c",
    "next line": "\x85",
    "carriage return": "all is well\rnothing is",
    "backspace": "no\b\byes",
    "delete": "\x7f",
    "bell": "\x07",
    "null": "\0",
    "bidi override": "\u202egpj.exe",
    "bidi isolate": "\u2066a\u2069",
    "bidi mark": "\u200f",
    "zero width space": "a\u200bb",
    "word joiner": "a\u2060b",
    "byte order mark": "a\ufeffb",
    "soft hyphen": "a\u00adb",
    "tags": "\U000e0041\U000e007f",
    "variation selector": "a\U000e0101",
    "filler": "\u3164\u115f\uffa0",
    "line separator": "a\u2028b\u2029c",
    "surrogate": "\udc9b",
}

MOVES_OR_HIDES = {character for text in STEERING.values() for character in text if not " " <= character <= "~"}


def steers(shown):
    """What of a text does something else than be read."""
    return sorted(hex(ord(character)) for character in MOVES_OR_HIDES & set(shown))
