"""Mask sketches: a few kilobytes from which to estimate the overlap of masks when the masks are gone."""

import base64
import hashlib
import math

import numpy as np
import torch

from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.seeds import STEP, splitmix64

SIZE = 900
"""Weights in a sketch, which then has 4,809 characters: one tag of any MLflow server holds it."""

LARGEST_ERROR = 0.5 / math.sqrt(SIZE)
"""The largest standard error of :func:`estimated_iou`, at an IoU of one half."""


def mask_sketch(masks: Masks) -> str:
    """The kept weights that come first in a pseudo-random order, which is the same for all masks of a network.

    A bottom-k MinHash sketch (Broder 1997): a digest of the layers' names and shapes, then the first ``SIZE`` kept
    weights. A mask that keeps at most ``SIZE`` weights is stored completely.
    """
    flat = torch.cat([mask.flatten() for mask in masks.values()]) if masks else torch.zeros(0)
    if flat.numel() > np.iinfo("<u4").max:
        raise AutosparseError(f"no mask sketch of {flat.numel()} weights: positions have 32 bits")
    kept = flat.nonzero().squeeze(1).cpu().numpy()
    ranks = _rank(kept)
    if len(kept) > SIZE:
        kept = kept[np.argpartition(ranks, SIZE)[:SIZE]]
    layout = repr([(name, tuple(mask.shape)) for name, mask in masks.items()])
    digest = hashlib.sha256(layout.encode()).hexdigest()[:8]
    return f"{digest}:{base64.b64encode(np.sort(kept).astype('<u4').tobytes()).decode()}"


def estimated_iou(a: str, b: str) -> float:
    """The :func:`~autosparse.analysis.iou` of two masks from their sketches.

    Exact if both keep fewer than ``SIZE`` weights, else an estimate with standard error
    ``sqrt(IoU (1 - IoU) / SIZE)``, at any sparsity: the first ``SIZE`` weights of the union are a random sample of it.

    :raises AutosparseError: if the sketches are of different networks.
    """
    (network, first), (other, second) = _read(a), _read(b)
    if network != other:
        raise AutosparseError("masks of different networks cannot be compared: the sketches are of other layers")
    union = np.union1d(first, second)
    if max(len(first), len(second)) == SIZE:  # one may not be whole: the union is only known up to its first SIZE
        union = union[np.argsort(_rank(union))[:SIZE]]
    both = np.intersect1d(first, second, assume_unique=True)
    return float(np.isin(both, union).sum() / len(union)) if len(union) else 1.0


def _read(sketch: str) -> tuple[str, np.ndarray]:
    network, _, positions = sketch.partition(":")
    return network, np.frombuffer(base64.b64decode(positions), "<u4")


def _rank(positions: np.ndarray) -> np.ndarray:
    """A pseudo-random uint64 of each position, no two alike: the numbers of SplitMix64 from seed 0."""
    states = positions.astype(np.uint64)
    states *= STEP
    return splitmix64(states)
