"""What was measured, and what follows from it: medians, and ratios between contestants of the same round."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks.measure import Measurement

if TYPE_CHECKING:
    from benchmarks.cases import Case


@dataclass
class Results:
    """Every measurement, by case and contestant, in the order of the rounds."""

    scale: float
    machine: dict[str, Any]
    data_bytes: dict[str, int] = field(default_factory=dict)
    rounds: dict[Case, list[dict[str, Measurement]]] = field(default_factory=dict)
    memory: dict[int, list[int]] = field(default_factory=dict)
    """Peak bytes of the handler, by bytes of the file."""
    problems: list[str] = field(default_factory=list)

    def values(self, case: Case, contestant: str, figure: str) -> list[float]:
        return [getattr(found[contestant], figure) for found in self.rounds.get(case, ()) if contestant in found]

    def median(self, case: Case, contestant: str, figure: str) -> float | None:
        values = self.values(case, contestant, figure)
        return median(values) if values else None

    def ratio(self, case: Case, one: str, other: str, figure: str) -> float | None:
        """Median of the rounds' ratios: the machine's drift hits both contestants of a round alike."""
        rounds = [found for found in self.rounds.get(case, ()) if one in found and other in found]
        return median(getattr(found[one], figure) / getattr(found[other], figure) for found in rounds) if rounds else None

    def ratio_between_cases(self, one: Case, other: Case, contestant: str, figure: str) -> float | None:
        pairs = zip(self.rounds.get(one, ()), self.rounds.get(other, ()), strict=False)
        ratios = [
            getattr(a[contestant], figure) / getattr(b[contestant], figure) for a, b in pairs if contestant in a and contestant in b
        ]
        return median(ratios) if ratios else None

    def as_json(self) -> dict[str, Any]:
        return {
            "machine": self.machine,
            "scale": self.scale,
            "data_bytes": self.data_bytes,
            "cases": [
                {
                    "data": case.data,
                    "model": case.model,
                    "medians": {
                        name: {figure: self.median(case, name, figure) for figure in Measurement._fields}
                        for name in dict.fromkeys(name for found in rounds for name in found)
                    },
                    "rounds": [{name: measurement._asdict() for name, measurement in found.items()} for found in rounds],
                }
                for case, rounds in self.rounds.items()
            ],
            "memory": [{"file_bytes": size, "peak_bytes": peaks} for size, peaks in self.memory.items()],
            "problems": self.problems,
        }
