"""Randomness that depends on a seed and a purpose alone, not on what drew before."""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence

import numpy as np
import torch

from autosparse.devices import backend

Draws = torch.Generator | Sequence[torch.Generator]
"""One generator for a batch, or one for each of its equal parts."""
STEP = np.uint64(0x9E3779B97F4A7C15)
"""By which the state of SplitMix64 grows: its first number from a seed is that of the state ``seed + STEP``."""


def derive_seed(*parts: object) -> int:
    """A seed below 2^32 that depends on every part (their ``str``) and on nothing else.

    torch's CPU generator uses only 32 bits of a seed.
    """
    digest = hashlib.sha256(json.dumps([str(part) for part in parts]).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def splitmix64(states: np.ndarray) -> np.ndarray:
    """The numbers that SplitMix64 (Steele et al. 2014) gives in these states, uint64; no two states give the same.

    It writes them over the states.
    """
    states ^= states >> np.uint64(30)
    states *= np.uint64(0xBF58476D1CE4E5B9)
    states ^= states >> np.uint64(27)
    states *= np.uint64(0x94D049BB133111EB)
    states ^= states >> np.uint64(31)
    return states


def generator(*parts: object) -> torch.Generator:
    """A CPU generator for one purpose, e.g. ``generator(seed, "order", epoch)``.

    It always lives on the CPU, so that the same seed gives the same draw on every device.
    """
    return torch.Generator().manual_seed(derive_seed(*parts))


def kept_generators(device: torch.device) -> contextlib.AbstractContextManager[None]:
    """Restore the state of the generators of the CPU and of ``device`` after the block."""
    if device.type == "cpu":
        return torch.random.fork_rng([], device_type="cuda")  # torch.cuda exists even without a GPU
    return torch.random.fork_rng([device], device_type=device.type)


def generator_states(device: torch.device) -> torch.Tensor:
    """The state of torch's own generators, of the CPU and of ``device``, as one tensor of bytes."""
    accelerator = backend(device)
    return torch.cat([torch.get_rng_state()] + ([] if accelerator is None else [accelerator.get_rng_state(device)]))


@contextlib.contextmanager
def drawing_from(seed: int, device: torch.device) -> Iterator[None]:
    """Seed the layers that draw at random (dropout) within the block, and restore torch's own generators afterwards.

    It leaves the generators of other devices alone; ``torch.manual_seed`` would seed them all.
    """
    accelerator = backend(device)
    with kept_generators(device):
        torch.default_generator.manual_seed(seed)
        if accelerator is not None:
            with accelerator.device(device):
                accelerator.manual_seed(seed)
        yield


def rand(*shape: int, draws: Draws) -> torch.Tensor:
    """Uniform numbers in [0, 1), float32, on the CPU; several generators share the last axis in equal parts."""
    if isinstance(draws, torch.Generator):
        return torch.rand(*shape, generator=draws)
    *outer, count = shape
    return torch.cat([torch.rand(*outer, count // len(draws), generator=draw) for draw in draws], dim=-1)
