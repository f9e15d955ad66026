"""Scores how unusual an airport's last minutes are, with a random cut forest. Knows nothing of Flink.

About 1 is usual, and higher is rarer: a point's score falls with the depth at which random cuts part it from the sample
(Guha, Mishra, Roy, Schrijvers, "Robust Random Cut Forest Based Anomaly Detection on Streams", ICML 2016,
https://proceedings.mlr.press/v48/guha16.html), in the implementation that AWS's own services use.
"""

import math
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

from krcf import RandomCutForest

Point = tuple[float, float, float]

DIMENSIONS = 3
# A forest sees this many windows at once: one late flight is no anomaly, a run of them is.
SHINGLE = 8
TREES = 50
SAMPLE = 256  # points that each tree keeps


class Settings(NamedTuple):
    """`warm_up`: windows before the first score. `memory`: latest windows that a restarted job learns from again."""

    seed: int = 2013
    warm_up: int = 128
    memory: int = 512


def point(mean_delay: float, max_delay: float, share_late: float) -> Point:
    """A window (minutes, minutes, 0 to 1) as the forest sees it: delays are skewed, so by their logarithm."""
    return _log(mean_delay), _log(max_delay), share_late


class DelayForest:
    """One airport's forest. The same points with the same settings get the same scores.

    `latest` is all that has to be kept to build it again. A forest that has seen more than `memory` points had sampled
    from older ones too, so after a restart its scores differ a little.
    """

    def __init__(self, settings: Settings, latest: Iterable[Point] = ()) -> None:
        self._forest = RandomCutForest(
            {
                "dimensions": DIMENSIONS,
                "shingle_size": SHINGLE,
                "num_trees": TREES,
                "sample_size": SAMPLE,
                "random_seed": settings.seed,
                "output_after": settings.warm_up,
            }
        )
        self._warm_up = settings.warm_up
        self.latest: deque[Point] = deque(maxlen=settings.memory)
        for each in latest:
            self._learn(each)

    def score(self, new: Point) -> float | None:
        """How unusual `new` is after the points before it, which it then joins; None while the forest warms up."""
        score = self._forest.score(new) if len(self.latest) >= self._warm_up else None
        self._learn(new)
        return score

    def _learn(self, new: Point) -> None:
        self._forest.update(new)
        self.latest.append(new)


def _log(minutes: float) -> float:
    return math.copysign(math.log1p(abs(minutes)), minutes)
