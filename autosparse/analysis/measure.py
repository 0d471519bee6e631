"""The measures of every cell's masks."""

import logging
from typing import Any

from torch import nn

from autosparse.analysis.effective import effective_masks
from autosparse.analysis.flops import dense_and_kept_flops
from autosparse.analysis.sketch import mask_sketch
from autosparse.masks import Masks


def measure(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> dict[str, Any]:
    """A sketch of ``masks``, their effective sparsity and FLOPs, as JSON values; see the functions of this package.

    ``mask_sketch``; ``effective_sparsity, effective_kept``; ``disconnected_layers``: names of the layers that keep
    weights, none of which is effective; ``flops_dense, flops_pruned``: sums over prunable layers.

    If a measure fails on a network, that is logged and the measure left out: it is no reason to lose the training.
    """
    measures: dict[str, Any] = {"mask_sketch": mask_sketch(masks)}
    for part in (_effective, _flops):
        try:
            measures |= part(model, masks, input_shape)
        except Exception as error:  # whatever a network from elsewhere raises
            logging.getLogger(__name__).warning("not measured (%s): %s", part.__name__.strip("_"), error)
    return measures


def _effective(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> dict[str, Any]:
    effective, collapsed = effective_masks(model, masks, input_shape), masks.collapsed_layers()
    return {
        "effective_sparsity": effective.sparsity,
        "effective_kept": effective.kept,
        "disconnected_layers": [name for name in effective.collapsed_layers() if name not in collapsed],
    }


def _flops(model: nn.Module, masks: Masks, input_shape: tuple[int, ...]) -> dict[str, Any]:
    dense, pruned = dense_and_kept_flops(model, input_shape, masks)
    return {"flops_dense": sum(dense.values()), "flops_pruned": sum(pruned.values())}
