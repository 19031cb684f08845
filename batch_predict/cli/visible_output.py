"""Nothing that is printed, on a terminal or into a file, steers a terminal or hides text, whoever has written it.

A header, a log line, a key, a cause: all may be somebody else's text, with escape sequences that cover what was printed before. So
everything is printed through `visible_streams` or a `VisibleConsole`.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.style import Style

from batch_predict.visible_text import visible_output


class VisibleStream:
    """A text stream that writes to another one what can be seen, and otherwise is that one."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def __getattr__(self, name: str) -> Any:
        """Return what the other stream has."""
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        """Write text; it returns the length that was given, as callers expect."""
        if not isinstance(text, str):
            raise TypeError(f"write() takes a str, not {type(text).__name__}")
        self.stream.write(visible_output(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts."""
        for line in lines:
            self.write(line)


@contextmanager
def visible_streams() -> Iterator[None]:
    """Let standard output and standard error write only what can be seen."""
    before = {name: getattr(sys, name) for name in ("stdout", "stderr")}
    ours = {name: VisibleStream(stream) for name, stream in before.items()}
    for name, stream in ours.items():
        setattr(sys, name, stream)
    try:
        yield
    finally:
        for name, stream in ours.items():
            if getattr(sys, name) is stream:  # if the reader of a pipe is gone, it is another one, which says nothing about that
                setattr(sys, name, before[name])


class VisibleConsole(Console):
    """A console on which the text of everything that it draws can be seen; only its own escape sequences reach the terminal."""

    def __init__(self, file: TextIO) -> None:
        stream = file.stream if isinstance(file, VisibleStream) else file
        super().__init__(file=stream, markup=False, highlight=False, emoji=False)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is drawn."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible_output(segment.text), _plain(segment.style))


def _plain(style: Style | None) -> Style | None:
    """Return a style that hides nothing and links to nowhere: what is printed on standard error meanwhile may bring such."""
    if style and (style.conceal or style.link):
        return style.update_link(None) + Style(conceal=False)
    return style
