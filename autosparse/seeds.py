"""Randomness that depends on a seed and a purpose alone, not on what drew before."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence

import torch

Draws = torch.Generator | Sequence[torch.Generator]
"""A generator, or one for each of as many equal parts of a batch."""


def derive_seed(*parts: object) -> int:
    """A seed below 2^32 that depends on every part (their ``str``) and on nothing else.

    torch's CPU generator takes no more bits in.
    """
    digest = hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def generator(*parts: object) -> torch.Generator:
    """A CPU generator for one purpose, e.g. ``generator(seed, "order", epoch)``.

    It always lives on the CPU, so that the same seed gives the same draw on every device.
    """
    return torch.Generator().manual_seed(derive_seed(*parts))


@contextlib.contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Within the block, layers that draw at random (dropout) do so from ``seed``; torch's own generators are kept."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        yield


def rand(*shape: int, draws: Draws) -> torch.Tensor:
    """Uniform numbers in [0, 1), float32, on the CPU; several generators share the last axis in equal parts."""
    if isinstance(draws, torch.Generator):
        return torch.rand(*shape, generator=draws)
    *outer, count = shape
    return torch.cat([torch.rand(*outer, count // len(draws), generator=own) for own in draws], dim=-1)
