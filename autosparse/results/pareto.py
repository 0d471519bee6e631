"""Find which of several points no other one beats."""

import itertools
from collections.abc import Sequence

CostAndWorth = tuple[float, float]
"""What a point costs (lower is better), and what it is worth (higher is better)."""


def pareto(points: Sequence[CostAndWorth]) -> list[bool]:
    """Whether each point is Pareto-optimal: no other is worth at least as much, costs at most as much, and is better in
    one of the two. Points that are equal in both do not beat each other::

        pareto([(1.0, 80.0), (2.0, 90.0), (3.0, 85.0)])  # [True, True, False]
    """
    order = sorted(range(len(points)), key=lambda i: points[i][0])
    optimal, highest = [False] * len(points), float("-inf")
    for _, alike in itertools.groupby(order, key=lambda i: points[i][0]):
        same_cost = list(alike)
        worth = max(points[i][1] for i in same_cost)
        for i in same_cost:
            optimal[i] = points[i][1] == worth > highest
        highest = max(highest, worth)
    return optimal
