"""Tracks for the parts of links that run across, between two layers: few crossings, and none on another."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

#: Parts of different links that are nearer than this look like one.
NEAR = 7

_OVERLAP = 1000

# Finding the best order takes time with the square of the number.
_MOST_ORDERED = 150


@dataclass(frozen=True)
class Net:
    """Links that begin at one port.

    Args:
        start: Where, across.
        ends: Where they end.
    """

    start: int
    ends: tuple[int, ...]

    @property
    def straight(self) -> bool:
        """Whether no part runs across."""
        return all(end == self.start for end in self.ends)

    @cached_property
    def extent(self) -> tuple[int, int]:
        """From where to where the part that runs across reaches."""
        return min(self.start, *self.ends), max(self.start, *self.ends)


def assign(nets: Sequence[Net]) -> tuple[list[int | None], int]:
    """A track for each net, from the side where they begin; None for the straight ones.

    Returns:
        The tracks, and how many there are.
    """
    bent = [index for index, net in enumerate(nets) if not net.straight]
    if len(bent) > _MOST_ORDERED:
        tracks = _first_fit(bent, nets)
    else:
        tracks, order = {}, _order(bent, nets)
        for place, index in enumerate(order):
            before = [tracks[other] for other in order[:place] if _meet(nets[index], nets[other])]
            tracks[index] = max(before, default=-1) + 1
    return [tracks.get(index) for index in range(len(nets))], max(tracks.values(), default=-1) + 1


def _first_fit(bent: list[int], nets: Sequence[Net]) -> dict[int, int]:
    """For very many nets: each on the first track where it touches none, whatever it crosses."""
    tracks: dict[int, int] = {}
    ends: list[int] = []
    for index in sorted(bent, key=lambda index: (nets[index].extent, index)):
        low, high = nets[index].extent
        track = next((track for track, end in enumerate(ends) if end + NEAR < low), len(ends))
        ends[track : track + 1] = [high]
        tracks[index] = track
    return tracks


def _order(bent: list[int], nets: Sequence[Net]) -> list[int]:
    """Nets by what crosses least: neighbours change places as long as that helps."""
    order = sorted(bent, key=lambda index: (nets[index].extent, index))
    costs = {(a, b): _cost(nets[a], nets[b]) for a in order for b in order if a != b}
    # Each exchange lowers the sum of the costs, so that this ends.
    changed = True
    while changed:
        changed = False
        for place in range(1, len(order)):
            # Where a net would fit best among those before it.
            index, best, gain, total = order[place], place, 0, 0
            for other in range(place - 1, -1, -1):
                total += costs[order[other], index] - costs[index, order[other]]
                if total > gain:
                    best, gain = other, total
            if best != place:
                order.insert(best, order.pop(place))
                changed = True
    return order


def _cost(above: Net, below: Net) -> int:
    """Crossings, if one net's track lies before the other's; far more where parts would lie on each other."""
    (low, high), (low_below, high_below) = above.extent, below.extent
    count = sum(low_below < end < high_below for end in set(above.ends)) + (low < below.start < high)
    return count + _OVERLAP * any(abs(below.start - end) < NEAR for end in above.ends)


def _meet(a: Net, b: Net) -> bool:
    """Whether two nets would touch on one track."""
    return a.extent[0] <= b.extent[1] + NEAR and b.extent[0] <= a.extent[1] + NEAR
