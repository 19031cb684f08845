"""The state machine's graph with what an execution did in it: laid out here, drawn by templates/state_graph.svg.j2.

The way of a run that succeeds goes down on the left, all else is on the right. Of Choice and Pass, only the ways are drawn.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from batch_predict.figures import plural
from batch_predict.runs.history import ENDS, StateVisit
from batch_predict.visible_text import visible

DRAWN_KINDS = {"Task", "Map", "Parallel", "Wait", "Succeed", "Fail"}

BOX_WIDTH, BOX_HEIGHT = 156, 44
STEP = 66
"""Distance from the top of a box to the top of the next."""
MARGIN = 11
"""Room for lines on the outer sides."""
LANE = 12
"""Distance between the lines that lead to the right."""
NAME_CHARACTERS = 22
SURE_CHARACTERS = 19
"""So many fit in the usual fonts; longer names are set to the width of their box."""


@dataclass(frozen=True)
class Box:
    """One state as it is drawn."""

    name: str
    kind: str
    x: int
    y: int
    mark: str
    """`ran`, `running`, `failed` or `unvisited`."""
    detail: str
    """Time and visits; empty if the execution did not come here."""

    @property
    def short_name(self) -> str:
        """The name as far as it fits."""
        return visible(self.name, NAME_CHARACTERS)

    @property
    def is_long(self) -> bool:
        """Whether the name may be wider than its box."""
        return len(self.name) > SURE_CHARACTERS


@dataclass(frozen=True)
class Way:
    """A line from one state to another."""

    path: str
    """The line as an SVG path."""
    taken: bool


@dataclass(frozen=True)
class StateGraph:
    """Boxes and lines, and the size that they take, in CSS pixels."""

    width: int
    height: int
    boxes: Sequence[Box] = ()
    ways: Sequence[Way] = ()


def state_graph(
    definition: Mapping[str, Any], runs: Sequence[StateVisit], *, is_over: bool, failed_chunks: int = 0
) -> StateGraph | None:
    """Return the graph of a definition, whose Map has lost so many chunks in the end; None if it cannot be drawn."""
    states: Mapping[str, Mapping[str, Any]] = definition.get("States", {})
    if definition.get("StartAt") not in states:
        return None
    drawn = {name: _drawn_targets(states, name) for name in states if states[name]["Type"] in DRAWN_KINDS}
    main = [name for name in _main_way(states, definition["StartAt"]) if name in drawn]
    aside = [name for name in drawn if name not in main]
    visits = [run for run in runs if run.name in drawn]
    taken = {(one.name, other.name) for one, other in pairwise(visits)}

    entered = [name for name in aside if any(name in drawn[start] for start in main)]
    aside = list(_families(entered, drawn, aside))
    lanes = {name: number for number, name in enumerate(entered)}
    right = MARGIN + BOX_WIDTH + (len(lanes) + 2) * LANE
    places = {name: (MARGIN, 1 + row * STEP) for row, name in enumerate(main)}
    places |= {name: (right, 1 + row * STEP) for row, name in enumerate(aside)}
    boxes = []
    for name in (*main, *aside):
        kind, own = states[name]["Type"], [visit for visit in visits if visit.name == name]
        lost = failed_chunks if kind == "Map" else 0
        boxes.append(_box(name, kind, places[name], own, is_over=is_over, failed_chunks=lost))
    ways = [
        Way(_path(start, end, places, main, lanes), taken=(start, end) in taken)
        for start, ends in drawn.items()
        for end in ends
        # A way back is drawn only if it was taken: that it exists is no part of the story.
        if start != end and ((start, end) in taken or places[start] < places[end])
    ]
    height = max(y for _, y in places.values()) + BOX_HEIGHT + 1
    width = (right if aside else MARGIN) + BOX_WIDTH + MARGIN
    return StateGraph(width, height, boxes, sorted(ways, key=lambda way: way.taken))


def _families(entered: Sequence[str], drawn: Mapping[str, Sequence[str]], aside: Sequence[str]) -> Iterator[str]:
    """Yield the states of the right side, each followed by those that it leads to."""
    seen: set[str] = set()
    waiting = [*reversed([*entered, *aside])]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            yield name
            waiting += [end for end in reversed(drawn[name]) if end in aside and end not in entered]


def _targets(state: Mapping[str, Any]) -> Iterator[str]:
    for leads in (state, *state.get("Choices", ()), *state.get("Catch", ())):
        if "Next" in leads:
            yield leads["Next"]
    if "Default" in state:
        yield state["Default"]


def _drawn_targets(states: Mapping[str, Mapping[str, Any]], start: str) -> list[str]:
    """Return the drawn states that a state leads to, through those that are not drawn."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [*_targets(states[start])]
    while waiting:
        name = waiting.pop()
        if name in seen or name not in states:
            continue
        seen.add(name)
        if states[name]["Type"] in DRAWN_KINDS:
            found.add(name)
        else:
            waiting += _targets(states[name])
    return [name for name in states if name in found]


def _main_way(states: Mapping[str, Mapping[str, Any]], start: str) -> Iterator[str]:
    """Yield the states from the first on, if nothing fails and every Choice takes its default."""
    seen: set[str] = set()
    name = start
    while name in states and name not in seen:
        seen.add(name)
        yield name
        name = states[name].get("Default", states[name].get("Next", ""))


def _box(name: str, kind: str, place: tuple[int, int], visits: Sequence[StateVisit], *, is_over: bool, failed_chunks: int) -> Box:
    if not visits:
        return Box(name, kind, *place, mark="unvisited", detail="")
    if visits[-1].error or failed_chunks or kind == "Fail":
        mark = "failed"
    else:
        mark = "running" if visits[-1].seconds is None and not is_over and kind not in ENDS else "ran"
    return Box(name, kind, *place, mark=mark, detail=_detail(kind, visits, mark, failed_chunks))


def _detail(kind: str, visits: Sequence[StateVisit], mark: str, failed_chunks: int) -> str:
    if kind in ENDS:
        return "ended here"
    parts = ["running" if mark == "running" else f"{sum(visit.seconds or 0.0 for visit in visits):,.1f} s"]
    if visits[-1].is_stopped:
        parts.append("stopped")
    elif failed_chunks:
        parts.append(f"failed: {plural(failed_chunks, 'chunk')}")
    elif mark == "failed":
        parts.append("failed")
    if len(visits) > 1 and len(parts) == 1:  # a failure needs the room
        parts.append(f"{len(visits)} visits")
    if (attempts := sum(visit.attempts for visit in visits)) > len(visits):
        parts.append(f"{attempts} attempts")
    return ", ".join(parts)


def _path(start: str, end: str, places: Mapping[str, tuple[int, int]], main: Sequence[str], lanes: Mapping[str, int]) -> str:
    """Return the line between two boxes."""
    (x, y), (end_x, end_y) = places[start], places[end]
    middle, end_middle = y + BOX_HEIGHT // 2, end_y + BOX_HEIGHT // 2
    if end_x == x and end_y - y == STEP:
        return f"M{x + BOX_WIDTH // 2} {y + BOX_HEIGHT}V{end_y - 1}"
    if end_x == x:  # past other states, or back up: on the outer side
        return f"M{x} {middle}h-9V{end_middle}h8" if start in main else f"M{x + BOX_WIDTH} {middle}h9V{end_middle}h-8"
    if start in main:
        lane = x + BOX_WIDTH + (len(lanes) - lanes[end]) * LANE
        return f"M{x + BOX_WIDTH} {middle}H{lane}V{end_middle}H{end_x - 1}"
    return f"M{x} {middle + 9}H{x - LANE // 2}V{end_middle + 9}H{end_x + BOX_WIDTH + 1}"
