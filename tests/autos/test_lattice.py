"""Arrays over the nodes and cells of a grid, against NumPy and by hand."""

import numpy as np
import pytest
import torch
from scipy.signal import convolve

from autosparse.autos.lattice import around_centres, between, corners, divided, every, gathered, touching

AXES = [1, 2, 3]


def drawn(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


@pytest.mark.parametrize("axes", AXES)
def test_new_nodes_between_old_ones_lie_on_a_cubic_and_old_ones_stay(axes):
    def cubic(step):
        points = torch.meshgrid(*[torch.arange(0, 6.25, step, dtype=torch.float64)] * axes, indexing="ij")
        return sum((i + 1) * (x**3 - 4 * x**2 + x) for i, x in enumerate(points)) + torch.stack(points).prod(0)

    found, inner = between(cubic(1.0)), (slice(2, -2),) * axes
    assert torch.equal(found[every(2, axes)], cubic(1.0))
    assert torch.allclose(found[inner], cubic(0.5)[inner])  # at the rim there is no node beyond: a line stands for it


def test_at_the_rim_the_line_through_the_last_two_nodes_goes_on():
    assert between(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [1, 1.5, 2, 2.5, 3, 3.5, 4]


@pytest.mark.parametrize("axes", AXES)
def test_gathered_sums_blocks_and_divided_repeats_them(axes):
    cells = drawn(*[4, 6, 8][:axes])
    blocks = cells.numpy().reshape([n for side in cells.shape for n in (side // 2, 2)])
    assert gathered(cells).numpy() == pytest.approx(blocks.sum(tuple(range(1, 2 * axes, 2))))
    assert torch.equal(divided(gathered(cells)), torch.kron(gathered(cells), torch.ones([2] * axes)))


@pytest.mark.parametrize("axes", AXES)
def test_the_nodes_around_a_centre_weigh_by_their_distance_along_every_axis(axes):
    nodes = drawn(*[9, 5, 7][:axes])
    kernel = np.array([1.0, 4, 6, 4, 1])
    for _ in range(axes - 1):
        kernel = np.multiply.outer(kernel, [1.0, 4, 6, 4, 1])
    expected = convolve(nodes.numpy(), kernel, mode="same", method="direct")[(slice(1, None, 2),) * axes]
    assert around_centres(nodes).numpy() == pytest.approx(expected)


def test_by_hand_only_the_nodes_within_two_steps_count():
    nodes = torch.zeros(5, 5)
    nodes[1, 1] = 1
    assert around_centres(nodes).tolist() == [[36, 6], [6, 1]]


@pytest.mark.parametrize("axes", AXES)
def test_a_cell_touches_its_corners(axes):
    cells = torch.zeros([3] * axes, dtype=torch.bool)
    cells[(1,) * axes] = True
    touched = touching(cells)
    assert touched.nonzero().tolist() == torch.cartesian_prod(*[torch.tensor([1, 2])] * axes).reshape(-1, axes).tolist()
    assert len(corners(touched)) == 2**axes
    assert all(corner[(1,) * axes] for corner in corners(touched))
