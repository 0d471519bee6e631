"""The survival dataset: what iterative pruning says about each weight at initialisation."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from autosparse.errors import AutosparseError
from autosparse.files import canonical_json
from autosparse.masks import Masks
from autosparse.mode import TRAIN
from autosparse.notebook import shown
from autosparse.seeds import generator


@dataclass(frozen=True)
class Survival:
    """theta_0, g_0 and the iterations survived, per prunable weight tensor (AutoSparse Algorithm 2's D_A).

    ``param`` and ``grad`` are float32, ``survived`` int32 in 0..iterations, all three of the weight's shape.
    ``provenance`` says how they came about: model, dataset, criterion, iterations, schedule, final_density,
    seed, recipe, accuracy per iteration, the modes of gradients and criterion, code version.
    """

    param: dict[str, Tensor]
    grad: dict[str, Tensor]
    survived: dict[str, Tensor]
    provenance: dict[str, Any]

    def __post_init__(self) -> None:
        for name, param in self.param.items():
            for other in (self.grad, self.survived):
                if name not in other or other[name].shape != param.shape:
                    raise AutosparseError(
                        f"param, grad and survived of {name!r} are missing or differ in shape: give each the weight's "
                        "shape"
                    )

    def __repr__(self) -> str:
        known = self.provenance
        where = f"{known.get('model', 'a network')} on {known.get('dataset', 'unknown data')}"
        return (
            f"Survival({where}: {self.rows:,} weights in {len(self.param)} layers, {self.iterations} iterations by "
            f"{known.get('criterion', 'an unknown criterion')}, seed {known.get('seed', 'unknown')})"
        )

    def _repr_html_(self) -> str:
        rows = [
            (name, tuple(score.shape), score.numel(), float(score.mean()), float((score == 1).float().mean()))
            for name, score in self.scores().items()
        ]
        return shown(self, ("layer", "shape", "weights", "mean survival", "share that survives all"), rows)

    @property
    def iterations(self) -> int:
        """N, the number of pruning iterations."""
        return int(self.provenance["iterations"])

    @property
    def gradient_mode(self) -> str:
        """The mode of the network when g_0 was taken, ``train`` or ``eval``."""
        return mode_in(self.provenance)

    @property
    def rows(self) -> int:
        """Number of weights."""
        return sum(param.numel() for param in self.param.values())

    @property
    def fingerprint(self) -> str:
        """SHA-256, in hex, over the provenance and every row in order."""
        digest = hashlib.sha256(canonical_json(self.provenance).encode())
        for part in (self.param, self.grad, self.survived):
            for name, tensor in part.items():
                digest.update(f"{name} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def masks(self, iteration: int) -> Masks:
        """The masks after ``iteration`` (0: dense). Masks are nested, so the counts determine them all."""
        return Masks({name: count >= iteration for name, count in self.survived.items()})

    def scores(self) -> dict[str, Tensor]:
        """Survival scores in {0, 1/N, ..., 1}, float32 (AutoSparse eq. 4)."""
        return {name: count.float() / self.iterations for name, count in self.survived.items()}

    def sample(self, per_layer: int) -> dict[str, Tensor]:
        """Flat positions of at most ``per_layer`` weights of each layer, always the same; int64, ascending."""
        return {
            name: torch.randperm(param.numel(), generator=generator("survival sample", name))[:per_layer].sort().values
            for name, param in self.param.items()
        }

    def flat(self) -> tuple[dict[str, Tensor], Tensor]:
        """Features ``{"param": (n,), "grad": (n,)}`` and survival scores (n,), all layers joined in order."""
        features = {"param": _join(self.param), "grad": _join(self.grad)}
        return features, _join(self.scores())


def mode_in(provenance: Mapping[str, Any]) -> str:
    """The mode of the gradients, from ``provenance``; older datasets do not record it and used training mode."""
    return str(provenance.get("gradient_mode", TRAIN))


def _join(tensors: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors.values()])
