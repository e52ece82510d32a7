"""The distribution of a column of numbers in bounded memory, with what that costs in exactness.

A sketch keeps sorted values with their counts. As long as there are few distinct values it is exact. Beyond
:data:`SIZE` it lays neighbours together: groups of about equal mass, each at its own median. What that moves
is added up, so the error of what is computed from a sketch is known and not merely hoped for: ``moved``
bounds the Wasserstein distance to the rows themselves (by the triangle inequality), ``misplaced`` the error
of the cumulative distribution at any point.
"""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

#: Distinct values that a sketch keeps.
SIZE = 16_384
#: Values that are gathered before they are laid together.
BUFFER = 8 * SIZE


class Sketch:
    """A column's numbers, added part by part.

    Attributes:
        count: How many numbers.
        mean: Their mean.
        low: The smallest; infinite where there are none.
        high: The largest, likewise.
        moved: Bound of the Wasserstein distance to the rows, times ``count``.
        misplaced: Bound of the numbers on the wrong side of any point.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self.low, self.high = np.inf, -np.inf
        self.moved, self.misplaced = 0.0, 0.0
        self._squares = 0.0
        self._parts: list[tuple[Floats, Floats]] = []

    def add(self, values: Floats) -> None:
        """Adds finite numbers, shape ``(n,)``, in any order."""
        if not values.size:
            return
        self._moments(values)
        values = np.sort(values)
        self.low, self.high = min(self.low, float(values[0])), max(self.high, float(values[-1]))
        starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        counts = np.diff(np.append(starts, values.size)).astype(np.float64)
        self._parts.append(self._smaller(values[starts], counts))
        if sum(len(kept) for kept, _ in self._parts) > BUFFER:
            self._merge()

    @property
    def std(self) -> float:
        """Standard deviation, with ``count`` as divisor; 0 where there are no numbers."""
        return float(np.sqrt(self._squares / self.count)) if self.count else 0.0

    @property
    def exact(self) -> bool:
        """Whether it holds every distinct value."""
        return self.misplaced == 0

    def quantile(self, share: float) -> float:
        """The value that ``share`` (0 to 1) of the numbers are at or below."""
        values, counts = self.points()
        reached = np.cumsum(counts)
        return float(values[min(int(np.searchsorted(reached, share * self.count)), len(values) - 1)])

    def points(self) -> tuple[Floats, Floats]:
        """Distinct values in order and how many numbers each stands for; both of shape ``(k,)``."""
        self._merge()
        return self._parts[0] if self._parts else (np.empty(0), np.empty(0))

    def _moments(self, values: Floats) -> None:
        """Chan, Golub and LeVeque (1979): mean and sum of squares of two parts together."""
        mean = float(values.mean())
        squares = float(np.square(values - mean).sum())
        total, apart = self.count + values.size, mean - self.mean
        self._squares += squares + apart**2 * self.count * values.size / total
        self.mean += apart * values.size / total
        self.count = total

    def _merge(self) -> None:
        if len(self._parts) < 2:
            return
        values = np.concatenate([kept for kept, _ in self._parts])
        weights = np.concatenate([weight for _, weight in self._parts])
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
        starts = np.flatnonzero(np.concatenate([[True], values[1:] != values[:-1]]))
        self._parts = [self._smaller(values[starts], np.add.reduceat(weights, starts))]

    def _smaller(self, values: Floats, weights: Floats) -> tuple[Floats, Floats]:
        """At most about :data:`SIZE` points in place of sorted distinct ones."""
        if len(values) <= SIZE:
            return values, weights
        reached = np.cumsum(weights)
        group = np.floor((reached - weights / 2) * SIZE / reached[-1]).astype(np.int64)
        starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        sums = np.add.reduceat(weights, starts)
        before = np.concatenate([[0.0], reached[np.append(starts[1:], len(values)) - 1]])
        medians = values[np.searchsorted(reached, before[:-1] + sums / 2)]
        sizes = np.diff(np.append(starts, len(values)))
        self.moved += float((weights * np.abs(values - np.repeat(medians, sizes))).sum())
        self.misplaced += float(sums[sizes > 1].max(initial=0.0))
        return medians, sums
