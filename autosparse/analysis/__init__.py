"""Measures of masks and survival scores: effective sparsity, FLOPs, overlap, concordance."""

from autosparse.analysis.agreement import concordance, iou, iou_by_layer, overlap, survival_concordance
from autosparse.analysis.effective import effective_masks
from autosparse.analysis.flops import flops, pruned_flops
from autosparse.analysis.measure import measure
from autosparse.analysis.sketch import estimated_iou, mask_sketch

__all__ = [
    "concordance",
    "effective_masks",
    "estimated_iou",
    "flops",
    "iou",
    "iou_by_layer",
    "mask_sketch",
    "measure",
    "overlap",
    "pruned_flops",
    "survival_concordance",
]
