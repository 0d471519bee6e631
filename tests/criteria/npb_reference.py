"""What NPB maximises in a layer, written from its authors' objective."""

import numpy as np


def most_paths(paths, outputs, room, budget):
    """Paths that ``budget`` weights carry if they are all at the richest inputs."""
    each = np.repeat(np.sort(paths.ravel())[::-1], outputs * room)
    return each[:budget].sum()


def objective(m, paths, room, alpha, beta):
    """The authors' objective, for ``m`` of shape (groups, in, out), weights per kernel; ``paths`` is (groups, in)."""
    groups, inputs, outputs = m.shape
    nodes = (m.sum(2) > 0).sum() + (m.sum(1) > 0).sum()
    through = (m.sum(2) * paths).sum() / most_paths(paths, outputs, room, int(m.sum()))
    return alpha * nodes / (groups * (inputs + outputs)) + (1 - alpha) * through + beta * (m > 0).sum() / m.sum()
