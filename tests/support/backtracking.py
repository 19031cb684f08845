"""How many steps Python's regular expressions take, counted: a matcher that backtracks as `re` does, and texts that make it.

A pattern is linear if a text twice as long takes twice as many steps. The real engine skips some of them. Texts are made of the
pattern itself: every repeat in it is filled with every kind of character that its classes tell apart, and ends in something that
does not fit.
"""

from __future__ import annotations

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from itertools import islice
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

MANY = 100
"""A repeat that may go on for longer than this is followed without end."""
ALPHABET = [chr(code) for code in range(256)] + ["ä", "\u2028", "…", "\ud800"]
REPEATS = {sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT}
NAMED_CLASSES = {
    sre.CATEGORY_DIGIT: r"\d", sre.CATEGORY_NOT_DIGIT: r"\D", sre.CATEGORY_SPACE: r"\s", sre.CATEGORY_NOT_SPACE: r"\S",
    sre.CATEGORY_WORD: r"\w", sre.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip


class TooManyStepsError(Exception):
    """The count passed its limit."""


class Counter:
    """Matches one pattern, and counts."""

    def __init__(self, pattern: str | bytes, flags: int = 0, limit: int = 2_000_000) -> None:
        self.tokens = list(parser.parse(pattern, flags))
        self.flags = re.compile(pattern, flags).flags
        self.limit = limit
        self.steps = 0

    def count(self, text: str, mode: str) -> int:
        """Return the steps of a call of `re`: `fullmatch` and `match` begin once, all others wherever they may."""
        self.steps = 0
        position = 0
        while position <= len(text):
            ends = self._sequence(self.tokens, 0, text, position, {})
            end = next((end for end, _ in ends if mode != "fullmatch" or end == len(text)), None)
            if mode in ("match", "fullmatch") or (mode == "search" and end is not None):
                break
            position = position + 1 if end is None or end == position else end
        return self.steps

    def _step(self) -> None:
        self.steps += 1
        if self.steps > self.limit:
            raise TooManyStepsError

    def _sequence(self, tokens: list[Any], index: int, text: str, at: int, groups: dict[int, str]) -> Iterator[Any]:
        if index == len(tokens):
            yield at, groups
            return
        for end, found in self._one(tokens[index], text, at, groups):
            yield from self._sequence(tokens, index + 1, text, end, found)

    def _one(self, token: Any, text: str, at: int, groups: dict[int, str]) -> Iterator[Any]:
        kind, argument = token
        self._step()
        if is_character(token):
            if at < len(text) and fits(token, text[at], self.flags):
                yield at + 1, groups
        elif kind == sre.SUBPATTERN:
            for end, found in self._sequence(list(argument[3]), 0, text, at, groups):
                yield end, (found | {argument[0]: text[at:end]} if argument[0] else found)
        elif kind == sre.BRANCH:
            for branch in argument[1]:
                yield from self._sequence(list(branch), 0, text, at, groups)
        elif kind == sre.ATOMIC_GROUP:
            yield from islice(self._sequence(list(argument), 0, text, at, groups), 1)
        elif kind in REPEATS:
            ends = self._repeated(list(argument[2]), *argument[:2], text, at, groups, lazy=kind == sre.MIN_REPEAT)
            yield from islice(ends, 1) if kind == sre.POSSESSIVE_REPEAT else ends
        else:
            yield from self._beside(token, text, at, groups)

    def _beside(self, token: Any, text: str, at: int, groups: dict[int, str]) -> Iterator[Any]:
        """Match what looks at a place, or repeats a group."""
        kind, argument = token
        if kind == sre.AT:
            if (at == 0) if argument in (sre.AT_BEGINNING, sre.AT_BEGINNING_STRING) else (at == len(text)):
                yield at, groups
        elif kind == sre.GROUPREF:
            if argument in groups and text.startswith(groups[argument], at):
                yield at + len(groups[argument]), groups
        else:
            assert kind in (sre.ASSERT, sre.ASSERT_NOT), kind
            direction, body = argument
            start = at if direction > 0 else at - 1  # what looks behind looks one character behind, here
            found = next(self._sequence(list(body), 0, text, start, groups), None) if start >= 0 else None
            if (found is not None) == (kind == sre.ASSERT):
                yield at, (found[1] if found else groups)

    def _repeated(self, body: list[Any], least: int, most: Any, text: str, at: int, groups: Any, *, lazy: bool) -> Iterator[Any]:
        if lazy and least <= 0:
            yield at, groups
        if most > 0:
            for end, found in self._sequence(body, 0, text, at, groups):
                if end > at or least > 0:
                    yield from self._repeated(body, least - 1, most - 1, text, end, found, lazy=lazy)
        if not lazy and least <= 0:
            yield at, groups


def is_character(token: Any) -> bool:
    return token[0] in (sre.LITERAL, sre.NOT_LITERAL, sre.ANY, sre.IN)


def fits(token: Any, character: str, flags: int) -> bool:
    kind, argument = token
    if kind == sre.ANY:
        return bool(flags & re.DOTALL) or character != "\n"
    members, negated = ([(kind, argument)], False) if kind != sre.IN else (argument, argument[0][0] == sre.NEGATE)
    spellings = {character, *((character.lower(), character.upper()) if flags & re.IGNORECASE else ())}
    return any(_is_member(member, one) for member in members for one in spellings if len(one) == 1) != negated


def _is_member(member: Any, character: str) -> bool:
    kind, argument = member
    if kind == sre.LITERAL:
        return ord(character) == argument
    if kind == sre.NOT_LITERAL:
        return ord(character) != argument
    if kind == sre.RANGE:
        return bool(argument[0] <= ord(character) <= argument[1])
    return kind == sre.CATEGORY and re.match(NAMED_CLASSES[argument], character) is not None


def hard_texts(pattern: str | bytes, flags: int, length: int) -> set[str]:
    """Return texts of which one repeat of the pattern fills about `length` characters."""
    tokens = list(parser.parse(pattern, flags))
    classes = list(_characters(tokens))
    repeated = [token for repeat in _repeats(tokens) for token in _characters(list(repeat[1][2]))]
    kinds: dict[tuple[bool, ...], str] = {}
    for character in ALPHABET:
        if any(fits(token, character, flags) for token in repeated):
            kinds.setdefault(tuple(fits(token, character, flags) for token in classes), character)
    found = set()
    for target in _repeats(tokens):
        for character in kinds.values():
            unit = _sample(list(target[1][2]), character, flags) or character
            start, rest = _around(tokens, target, length // len(unit), character, flags)
            found |= {start + end for end in ("", "\0", "!", rest, rest + "\0", rest + unit)}
    found |= {"a" * length}
    found |= {character * length + end for character in kinds.values() for end in ("", "\0")}
    return found | {"\0" + text for text in found}  # a search begins anywhere


def _characters(tokens: list[Any]) -> Iterator[Any]:
    for token in tokens:
        if is_character(token):
            yield token
        for inner in _inner(token):
            yield from _characters(inner)


def _repeats(tokens: list[Any]) -> Iterator[Any]:
    for token in tokens:
        if token[0] in REPEATS and token[1][1] > MANY:
            yield token
        for inner in _inner(token):
            yield from _repeats(inner)


def _inner(token: Any) -> list[list[Any]]:
    kind, argument = token
    if kind in REPEATS:
        return [list(argument[2])]
    if kind == sre.SUBPATTERN:
        return [list(argument[3])]
    if kind == sre.BRANCH:
        return [list(branch) for branch in argument[1]]
    if kind == sre.ATOMIC_GROUP:
        return [list(argument)]
    return [list(argument[1])] if kind in (sre.ASSERT, sre.ASSERT_NOT) else []


def _holds(tokens: list[Any], target: Any) -> bool:
    return any(token is target or any(_holds(inner, target) for inner in _inner(token)) for token in tokens)


def _around(tokens: list[Any], target: Any, times: int, character: str, flags: int) -> tuple[str, str]:
    """Return a text up to the end of the filled repeat, and what would complete it."""
    for index, token in enumerate(tokens):
        if token is not target and not any(_holds(inner, target) for inner in _inner(token)):
            continue
        before = _sample(tokens[:index], character, flags)
        after = _sample(tokens[index + 1 :], character, flags)
        if token is target:
            return before + _sample(list(token[1][2]), character, flags) * times, after
        (inner,) = [inner for inner in _inner(token) if _holds(inner, target)]
        start, rest = _around(inner, target, times, character, flags)
        return before + start, rest + after
    raise AssertionError(target)


def _sample(tokens: list[Any], character: str, flags: int) -> str:
    """Return a text that fits, as far as one can tell; of `character` where that may stand, and as short as may be."""
    text = ""
    for token in tokens:
        kind, argument = token
        if is_character(token):
            text += next((one for one in (character, "1", "a", *ALPHABET) if fits(token, one, flags)), "")
        elif kind in REPEATS:
            text += _sample(list(argument[2]), character, flags) * max(1, argument[0])
        elif kind not in (sre.ASSERT, sre.ASSERT_NOT) and _inner(token):
            text += _sample(_inner(token)[0], character, flags)
    return text
