"""How many steps Python's regular expressions take, counted: a matcher that backtracks as `re` does, and texts that make it.

A pattern is linear if a text twice as long takes twice as many steps. The real engine skips some of them. Texts are made of the
pattern itself: every repeat in it is filled with every kind of character that its classes tell apart, and ends in something that
does not fit.
"""

from __future__ import annotations

import re
import re._compiler as compiler  # type: ignore[import-not-found]
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


class TooManyStepsError(Exception):
    """The count passed its limit."""


class Counter:
    """Matches one pattern and counts, and makes texts that are hard for it."""

    def __init__(self, pattern: str | bytes, flags: int = 0, limit: int = 2_000_000) -> None:
        self.tokens = list(parser.parse(pattern, flags))
        self.flags = re.compile(pattern, flags).flags
        self.limit = limit
        self.steps = 0
        self._fitting: dict[tuple[int, str], bool] = {}

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

    def fits(self, token: Any, character: str) -> bool:
        """Whether one character is what a token of the pattern asks for."""
        key = (id(token), character)
        if key not in self._fitting:
            alone = compiler.compile(parser.SubPattern(parser.State(), [token]), self.flags)
            self._fitting[key] = alone.fullmatch(character) is not None
        return self._fitting[key]

    def hard_texts(self, length: int) -> set[str]:
        """Return texts of which one repeat of the pattern fills about `length` characters."""
        classes = list(_characters(self.tokens))
        repeated = [token for repeat in _repeats(self.tokens) for token in _characters(list(repeat[1][2]))]
        kinds: dict[tuple[bool, ...], str] = {}
        for character in ALPHABET:
            if any(self.fits(token, character) for token in repeated):
                kinds.setdefault(tuple(self.fits(token, character) for token in classes), character)
        found = {"a" * length} | {character * length + end for character in kinds.values() for end in ("", "\0")}
        for target in _repeats(self.tokens):
            for character in kinds.values():
                unit = self._sample(list(target[1][2]), character) or character
                start, rest = self._around(self.tokens, target, length // len(unit), character)
                found |= {start + end for end in ("", "\0", "!", rest, rest + "\0", rest + unit)}
        return found | {"\0" + text for text in found}  # a search begins anywhere

    def _around(self, tokens: list[Any], target: Any, times: int, character: str) -> tuple[str, str]:
        """Return a text up to the end of the filled repeat, and what would complete it."""
        for index, token in enumerate(tokens):
            if token is not target and not any(_holds(inner, target) for inner in _inner(token)):
                continue
            before = self._sample(tokens[:index], character)
            after = self._sample(tokens[index + 1 :], character)
            if token is target:
                return before + self._sample(list(token[1][2]), character) * times, after
            (inner,) = [inner for inner in _inner(token) if _holds(inner, target)]
            start, rest = self._around(inner, target, times, character)
            return before + start, rest + after
        raise AssertionError(target)

    def _sample(self, tokens: list[Any], character: str) -> str:
        """Return a text that fits, as far as one can tell; of `character` where that may stand, and as short as may be."""
        text = ""
        for token in tokens:
            kind, argument = token
            if is_character(token):
                text += next((one for one in (character, "1", "a", *ALPHABET) if self.fits(token, one)), "")
            elif kind in REPEATS:
                text += self._sample(list(argument[2]), character) * max(1, argument[0])
            elif kind not in (sre.ASSERT, sre.ASSERT_NOT) and _inner(token):
                text += self._sample(_inner(token)[0], character)
        return text

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
            if at < len(text) and self.fits(token, text[at]):
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
