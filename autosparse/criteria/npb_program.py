"""The integer program of Node-Path Balancing for one layer, solved by taking the best gain first."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Inputs:
    """The input nodes of a layer that paths reach; arrays have one entry per node."""

    paths: Floats
    """Paths that arrive through one weight of the node, relative to the layer's largest; in (0, 1]."""
    room: Ints
    """Weights of one kernel of the node that see input: at most its size, 1 for Linear layers."""
    group: Ints
    """The group of the convolution that the node belongs to; 0 if there are no groups."""
    outputs: int
    """Number of output nodes of one group, and so of kernels of one input node."""
    nodes: int
    """Number of all inputs and outputs of the layer, including those that no path reaches."""


def weights_per_node(inputs: Inputs, budget: int, alpha: float, beta: float) -> Ints:
    """How many of ``budget`` weights each input node gets at the optimum of the layer's objective.

    The objective is alpha * f_n + (1 - alpha) * f_p + beta * f_k over weights m_ij between input i and output j,
    integers with 0 <= m_ij <= room_i that sum to ``budget``. f_n counts the effective nodes (inputs and outputs with a
    weight) as a share of the layer's. f_p counts the paths through the layer (the sum of m_ij * paths_i) as a share of
    the most that ``budget`` weights can carry. f_k counts the kernels in use (m_ij > 0) per weight of the budget.

    Later layers count as dense, so the outputs of a group are worth the same, and so are inputs of one kind: same
    group, paths and room. Only the number of weights per kind matters; they are spread over as many nodes and kernels
    as possible, which is never worse.

    :param budget: from 1 to what all inputs have room for.
    :return: one count per input node; they sum to ``budget``.
    """
    key = np.stack([inputs.group, inputs.paths, inputs.room], axis=1)
    _, example, kind, members = np.unique(key, axis=0, return_index=True, return_inverse=True, return_counts=True)
    kinds = replace(inputs, paths=inputs.paths[example], room=inputs.room[example], group=inputs.group[example])
    weights = _greedy(kinds, members, budget, alpha, beta)
    return _evenly(weights, kind.reshape(-1), members)


def _greedy(kinds: Inputs, members: Ints, budget: int, alpha: float, beta: float) -> Ints:
    """Weights per kind at the optimum, the best gain first; ties go to the kind that comes first.

    Exact, because gains fall within each kind and within each group: the objective is concave over nested sets.

    :param kinds: one example of each kind of input.
    :param members: number of inputs of each kind.
    """
    count = len(members)
    opening, filling = (kinds.outputs - 1) * members, kinds.outputs * (kinds.room - 1) * members
    sizes = np.stack([members, opening, filling])
    richest = np.argsort(-kinds.paths, kind="stable")
    most = _fill(sizes.sum(0)[richest], budget) @ kinds.paths[richest]
    # the objective times the budget, so that coefficients are near 1 whatever the layer's size
    path, node = (1 - alpha) * kinds.paths * budget / most, alpha * budget / kinds.nodes
    # down each column gains fall: a weight that wakes its node, one that opens another kernel, one that fills it up
    gains = np.stack([path + beta + node, path + beta, path])

    group = np.tile(kinds.group, 3)
    order = np.lexsort((-gains.ravel(), group))
    falling, sizes, kind = gains.ravel()[order], sizes.ravel()[order], np.tile(np.arange(count), 3)[order]
    before = np.cumsum(sizes) - sizes
    before -= before[np.searchsorted(group[order], group[order])]  # weights of the group that gain more
    covering = np.clip(kinds.outputs - before, 0, sizes)  # they add as much again as a node, while outputs sleep
    gains = np.concatenate([falling + node, falling])
    sizes = np.concatenate([covering, sizes - covering])
    best = np.argsort(-gains, kind="stable")
    return np.bincount(np.tile(kind, 2)[best], _fill(sizes[best], budget), count).astype(np.int64)


def _fill(sizes: Ints, total: int) -> Ints:
    """Pour ``total`` into containers of ``sizes``, one after the other."""
    return np.diff(np.minimum(np.cumsum(sizes), total), prepend=0)


def _evenly(weights: Ints, kind: Ints, members: Ints) -> Ints:
    """Share the weights of each kind among its nodes as evenly as whole numbers allow; the first get one more."""
    order = np.argsort(kind, kind="stable")
    rank = np.empty_like(kind)
    rank[order] = np.arange(len(kind)) - (np.cumsum(members) - members)[kind[order]]
    shares: Ints = weights[kind] // members[kind] + (rank < weights[kind] % members[kind])
    return shares
