"""Writes down what a benchmark measured: a printed line and an entry of build/bench/NAME.json for each figure."""

import json
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

FOLDER = Path(__file__).parents[1] / "build" / "bench"

Goal = tuple[Literal[">=", "<="], float]

_REACHED: dict[str, Callable[[float, float], bool]] = {">=": operator.ge, "<=": operator.le}


@dataclass(frozen=True)
class Figure:
    """One figure: the runs of what is measured and those of its peer, if it has one, in the same unit.

    Its value is the median of its runs, its ratio that to the median of its peer's. The goal is for the ratio, or for
    the value where there is no peer.
    """

    name: str
    unit: str
    runs: Sequence[float]
    peer: str | None = None
    peer_runs: Sequence[float] = ()
    goal: Goal | None = None

    @property
    def value(self) -> float:
        """Median of the runs."""
        return median(self.runs)

    @property
    def peer_value(self) -> float | None:
        """Median of the peer's runs; None without a peer."""
        return median(self.peer_runs) if self.peer else None

    @property
    def ratio(self) -> float | None:
        """Value to peer's value; None without a peer."""
        return None if self.peer_value is None else self.value / self.peer_value

    @property
    def reached(self) -> bool:
        """Whether the goal is reached; a figure without one only informs."""
        if self.goal is None:
            return True
        comparison, bound = self.goal
        return _REACHED[comparison](self.value if self.ratio is None else self.ratio, bound)

    def __str__(self) -> str:
        peer = f"{self.peer} {_shown(self.peer_value)}" if self.peer_value is not None else "no peer"
        ratio = "-" if self.ratio is None else f"{self.ratio:.2f}"
        goal = "no goal" if self.goal is None else _words(self.goal) + ("" if self.reached else ", MISSED")
        runs = f"{len(self.runs)} runs {_shown(min(self.runs))} to {_shown(max(self.runs))}"
        if self.peer_runs:
            runs += f", peer {_shown(min(self.peer_runs))} to {_shown(max(self.peer_runs))}"
        return f"{self.name} {_shown(self.value)} {self.unit} | {peer} | {ratio} ({goal}) | {runs}"

    def entry(self) -> dict[str, object]:
        """The figure as an object of the JSON file."""
        return {
            "figure": self.name,
            "value": self.value,
            "unit": self.unit,
            "peer": self.peer,
            "peer_value": self.peer_value,
            "ratio": self.ratio,
            "goal": self.goal and _words(self.goal),
            "runs": {"value": list(self.runs), "peer_value": list(self.peer_runs)},
        }


def write(name: str, figures: Sequence[Figure], folder: Path = FOLDER) -> bool:
    """Print the figures and write them to NAME.json in the folder; return whether every goal is reached."""
    for figure in figures:
        print(figure, flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    entries = [figure.entry() for figure in figures]
    (folder / f"{name}.json").write_text(json.dumps(entries, indent=2, allow_nan=False) + "\n")
    return all(figure.reached for figure in figures)


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _words(goal: Goal) -> str:
    return f"{goal[0]} {goal[1]:g}"
