"""Linear layers of which few weights are kept: sparse products beside dense ones with zeros.

Both compute on one thread of the CPU, as each job of a run does. These figures are why
``autosparse/compaction/sparse.py`` makes only large layers sparse, and only up to a density.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from autosparse.compaction.sparse import DENSITY, SIZE, SparseLinear
from autosparse.seeds import generator
from benchmarks.harness import Comparison, Options, Result, one_thread, seconds, side_by_side

SIZES = ((100, 300), (300, 300), (300, 784), (1024, 1024), (2048, 3072))
"""Outputs and inputs."""
DENSITIES = (0.2, 0.1, 0.05, 0.02, 0.01)


def measure(options: Options) -> Iterator[Result]:
    """Linear layers that keep few weights: a step's products, and inference."""
    sizes = SIZES[1:3] if options.quick else SIZES
    densities = (0.05, 0.01) if options.quick else DENSITIES
    with one_thread():
        for size in sizes:
            for density in densities:
                yield compared(size, density, options, training=True)
                yield compared(size, density, options, training=False)


def compared(size: tuple[int, int], density: float, options: Options, training: bool) -> Comparison:
    """Examples a second: forward and backward in batches of 128, or forward alone in batches of 64."""
    draws = generator(0, "bench")
    kept = torch.rand(size, generator=draws) < density
    dense = nn.Linear(size[1], size[0])
    dense.weight.data.mul_(kept)
    layer = SparseLinear(dense, kept)
    x = torch.randn(128 if training else 64, size[1], generator=draws)
    passes = max(5, int(2e9 / (x.numel() * size[0])))
    once = stepped(x.requires_grad_(), size[0]) if training else inferred(x)

    def rate(network: nn.Module) -> float:
        return passes * len(x) / seconds(lambda: [once(network) for _ in range(passes)])

    what = "forward and backward, batch 128" if training else "forward, batch 64"
    goal = 1.0 if density <= DENSITY and size[0] * size[1] >= SIZE else None
    title = f"Linear {size[1]}-{size[0]}, {100 * density:g} % kept: {what}"
    return side_by_side(
        title, ("dense", lambda: rate(dense)), lambda: rate(layer), "examples/s", 2 if options.quick else 5, goal
    )


def stepped(x: Tensor, outputs: int) -> Callable[[nn.Module], None]:
    """All gradients of a layer, as in the middle of a network."""
    upstream = torch.randn(len(x), outputs)

    def once(layer: nn.Module) -> None:
        torch.autograd.grad(layer(x), [x, *layer.parameters()], upstream)

    return once


def inferred(x: Tensor) -> Callable[[nn.Module], None]:
    """The layer's outputs."""

    @torch.inference_mode()
    def once(layer: nn.Module) -> None:
        layer(x)

    return once
