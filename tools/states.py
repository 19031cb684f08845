"""The states of a definition, and what a check says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

JsonObject = dict[str, Any]

DEFINITION = "definition"
"""Where a problem is that belongs to no state."""


class Problem(NamedTuple):
    """What is wrong, and in which state."""

    where: str
    what: str

    def __str__(self) -> str:
        """Return it as the command prints it."""
        return f"{self.where}: {self.what}"


class Machine(NamedTuple):
    """States that lead to each other alone: those of the definition, or those of a Map's children."""

    where: str
    start_at: str
    states: dict[str, JsonObject]


def machines(definition: JsonObject, where: str = DEFINITION) -> Iterator[Machine]:
    """Yield the definition itself, then the children of its Maps."""
    states = states_in(definition)
    yield Machine(where, definition.get("StartAt", ""), states)
    for name, state in states.items():
        if state.get("Type") == "Map":
            yield from machines(state.get("ItemProcessor", {}), name)


def all_states(definition: JsonObject) -> list[tuple[str, JsonObject]]:
    """Return every state with its name, those of a Map's children too."""
    return [found for machine in machines(definition) for found in machine.states.items()]


def states_in(machine: JsonObject) -> dict[str, JsonObject]:
    """Return what is a state among `States`; the schema says what is wrong with the rest."""
    states = machine.get("States")
    return {name: state for name, state in states.items() if isinstance(state, dict)} if isinstance(states, dict) else {}
