"""Which parameters of a network are weights that may be pruned, and which are left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from autosparse.errors import AutosparseError

PLAIN = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
PROJECTIONS = ("in_proj_weight", "q_proj_weight", "k_proj_weight", "v_proj_weight")
"""Input projections of ``nn.MultiheadAttention``: three of one width stacked in the first, or three separate ones."""
RULE = 2
"""The version of :func:`prunable`; version 1 knew only Linear and Conv layers."""
SHOWN = 3
"""How many names of left-out parameters a text lists."""


def prunable(model: nn.Module) -> dict[str, nn.Parameter]:
    """The weights that may be pruned, by their name in the model.

    They are those of Linear, Conv and ConvTranspose layers and the projections of ``nn.MultiheadAttention``. Biases and
    normalisation layers never are. A weight shared by two layers appears once. See :func:`left_out` for the rest.
    """
    found: dict[str, nn.Parameter] = {}
    seen: set[int] = set()
    for prefix, module in model.named_modules():
        for attribute in _own(module):
            weight, name = getattr(module, attribute), f"{prefix}.{attribute}" if prefix else attribute
            if weight is None or id(weight) in seen:
                continue
            if not isinstance(weight, nn.Parameter):
                called = prefix if attribute == "weight" else name
                raise AutosparseError(
                    f"the weight of {called!r} is computed from others (a parametrization): remove it before pruning"
                )
            seen.add(id(weight))
            found[name] = weight
    return found


def _own(module: nn.Module) -> tuple[str, ...]:
    """The names of a module's own prunable weights."""
    if isinstance(module, PLAIN + TRANSPOSED):
        return ("weight",)
    return PROJECTIONS if isinstance(module, nn.MultiheadAttention) else ()


def stacked(model: nn.Module) -> dict[str, int]:
    """The number of matrices stacked in each prunable weight: 3 in an ``in_proj_weight``, else 1."""
    return {name: 3 if name.rpartition(".")[2] == "in_proj_weight" else 1 for name in prunable(model)}


def prunable_rule(model: nn.Module) -> int:
    """The first version of :func:`prunable` that finds the same weights in ``model`` as today's.

    It is 1 for networks without attention and ConvTranspose.
    """
    known = {id(module.weight) for module in model.modules() if isinstance(module, PLAIN)}
    return 1 if all(id(weight) in known for weight in prunable(model).values()) else RULE


@dataclass(frozen=True)
class LeftOut:
    """The parameters of two or more dimensions that no mask covers."""

    names: tuple[str, ...] = ()
    share: float = 0.0
    """Their share of all the network's parameters, including those of one dimension."""

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> "LeftOut":
        """Read it from a record's result; earlier versions did not store it, which reads as nothing left out."""
        stored = result.get("left_out", {})
        return cls(tuple(stored.get("names", ())), stored.get("share", 0.0))

    def __bool__(self) -> bool:
        return bool(self.names)

    def record(self) -> dict[str, Any]:
        """The fields as JSON values, by name."""
        return {"names": list(self.names), "share": self.share}

    def __str__(self) -> str:
        if not self:
            return "nothing"
        more = len(self.names) - SHOWN
        listed = ", ".join(self.names[:SHOWN]) + (f" and {more} more" if more > 0 else "")
        return f"{listed} ({100 * self.share:.2g} % of the parameters)"


def left_out(model: nn.Module) -> LeftOut:
    """The parameters that pruning leaves whole, vectors aside: embeddings, recurrent layers, Bilinear, bare ones."""
    covered = {id(weight) for weight in prunable(model).values()}
    found = {name: p.numel() for name, p in model.named_parameters() if p.dim() > 1 and id(p) not in covered}
    every = sum(parameter.numel() for parameter in model.parameters())
    return LeftOut(tuple(found), sum(found.values()) / every) if found else LeftOut()
