"""Randomness: every draw comes from a generator seeded from a seed and a purpose, never from global state."""

import hashlib
import json

import torch


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
