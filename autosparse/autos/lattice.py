"""Arrays over the nodes of a grid and over the cells between them, along one to four axes."""

from collections.abc import Sequence
from itertools import product

import torch
from torch import Tensor

Where = tuple[slice, ...]


def every(step: int, axes: int, start: int = 0) -> Where:
    """Index of each ``step``-th entry along every axis."""
    return (slice(start, None, step),) * axes


def between(values: Tensor) -> Tensor:
    """Node values with a new one between neighbours along every axis, by the cubic through the four around it."""
    for axis in range(values.dim()):
        old = values.movedim(axis, 0)
        wide = torch.cat([2 * old[:1] - old[1:2], old, 2 * old[-1:] - old[-2:-1]])
        values = old.new_empty([2 * len(old) - 1, *old.shape[1:]])
        values[::2], values[1::2] = old, (9 * (wide[1:-2] + wide[2:-1]) - wide[:-3] - wide[3:]) / 16
        values = values.movedim(0, axis)
    return values


def corners(nodes: Tensor) -> list[Tensor]:
    """The nodes at each corner of the cells: 2 ** axes views of the cells' shape."""
    sides = [(slice(None, -1), slice(1, None))] * nodes.dim()
    return [nodes[corner] for corner in product(*sides)]


def touching(cells: Tensor) -> Tensor:
    """The nodes of the cells that are True."""
    nodes = torch.zeros([side + 1 for side in cells.shape], dtype=torch.bool, device=cells.device)
    for corner in corners(nodes):
        corner |= cells
    return nodes


def divided(cells: Tensor) -> Tensor:
    """Each cell's value given to both halves along every axis."""
    for axis in range(cells.dim()):
        cells = cells.repeat_interleave(2, axis)
    return cells


def gathered(cells: Tensor) -> Tensor:
    """The sums over blocks of 2 cells along every axis."""
    for axis in range(cells.dim()):
        cells = cells.unflatten(axis, (-1, 2)).sum(axis + 1)
    return cells


def cell_of(columns: Sequence[Tensor], edges: Sequence[Tensor]) -> Tensor:
    """The flat index, int64 (n,), of the cell that each row lies in; the last axis is the fastest.

    :param columns: one of shape (n,) per axis, on the CPU.
    :param edges: the inner edges of the cells along each axis, ascending; the outer cells are open.
    """
    index = torch.zeros(len(columns[0]), dtype=torch.int64)
    for column, inner in zip(columns, edges, strict=True):
        index = index * (len(inner) + 1) + torch.bucketize(column.contiguous(), inner)
    return index


def around_centres(nodes: Tensor) -> Tensor:
    """The weighted sum over the 5 ** axes nodes around the centre node of each cell two steps wide.

    The weights are 1, 4, 6, 4, 1 along each axis.
    """
    for axis in range(nodes.dim()):
        for _ in range(2):
            row = nodes.movedim(axis, 0)
            wide = torch.cat([torch.zeros_like(row[:1]), row, torch.zeros_like(row[:1])])
            nodes = (wide[:-2] + 2 * wide[1:-1] + wide[2:]).movedim(0, axis)
    return nodes[every(2, nodes.dim(), 1)]
