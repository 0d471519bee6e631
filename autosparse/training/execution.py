"""How a training's steps are computed: precision, CUDA graphs, compact networks.

These change rounding and speed, and nothing else.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from autosparse.devices import backend
from autosparse.errors import AutosparseError, UnknownName
from autosparse.loss import Loss
from autosparse.training.graphs import GraphedStep, Step

PRECISIONS = ("auto", "float32", "bfloat16")
COMPACT = ("auto", "on", "off")


@dataclass(frozen=True)
class Execution:
    """How training steps are computed. No id depends on it, because it does not change what is computed."""

    precision: str = "auto"
    """``bfloat16``, ``float32`` or ``auto``.

    In ``bfloat16`` the forward and the backward pass run under autocast; weights, their updates and the loss are in
    float32. In ``float32`` cuDNN computes convolutions in TF32 if the device has it, unless PyTorch is told otherwise.
    ``auto`` is ``bfloat16`` on GPUs that have it, else ``float32``.
    """
    cuda_graphs: bool = False
    """Whether a CUDA device replays the step as one graph, see :mod:`autosparse.training.graphs`; others never do.

    A network with a parameter that is a slice of a larger tensor is trained without: its optimiser cannot be fused.
    """
    compact: str = "auto"
    """Whether the smaller network that computes the same is trained for a masked one: ``on``, ``off`` or ``auto``.

    ``auto``: on a CPU, if enough FLOPs come off.
    """

    def __post_init__(self) -> None:
        if self.compact not in COMPACT:
            raise UnknownName("way to train compact", self.compact, COMPACT)
        if self.precision not in PRECISIONS:
            raise UnknownName("precision", self.precision, PRECISIONS)

    def precision_on(self, device: torch.device | str) -> str:
        """``float32`` or ``bfloat16``: what ``precision`` means on ``device``.

        :raises AutosparseError: if bfloat16 is asked for and the device has none.
        """
        device = torch.device(device)
        has_bfloat16 = _has_bfloat16(device)
        if self.precision == "bfloat16" and not has_bfloat16:
            raise AutosparseError(f"device {str(device)!r} has no bfloat16: take precision float32 or auto")
        if self.precision == "auto":
            return "bfloat16" if device.type != "cpu" and has_bfloat16 else "float32"
        return self.precision

    def forward(self, model: nn.Module, device: torch.device) -> Callable[[Tensor], Tensor]:
        """The forward pass of ``model``, which is on ``device``, with its logits in float32."""
        if self.precision_on(device) == "float32":
            return model

        def autocast(x: Tensor) -> Tensor:
            with torch.autocast(device.type, torch.bfloat16):
                logits: Tensor = model(x)
            return logits.float()

        return autocast

    def step(self, model: nn.Module, optimizer: torch.optim.Optimizer, loss: Loss, device: torch.device) -> Step:
        """The step that trains ``model``, which is on ``device``."""
        forward = self.forward(model, device)
        trained = [parameter for group in optimizer.param_groups for parameter in group["params"]]

        def eager(x: Tensor, y: Tensor) -> Tensor:
            value = loss(forward(x), y)
            for parameter in trained:  # optimizer.zero_grad() takes as long as a small layer's product
                parameter.grad = None
            (value.sum() if value.dim() else value).backward()  # a stack of networks has a loss for each
            optimizer.step()
            return value.detach()

        if self.cuda_graphs and device.type == "cuda" and optimizer.defaults["fused"]:
            return GraphedStep(eager, model, optimizer)
        return eager


def _has_bfloat16(device: torch.device) -> bool:
    accelerator = backend(device)
    if accelerator is None:
        return True
    if not hasattr(accelerator, "is_bf16_supported"):
        return False
    with accelerator.device(device):
        return bool(accelerator.is_bf16_supported(including_emulation=False))


def at_rates(step: Step, optimizer: torch.optim.Optimizer, rates: Sequence[float]) -> Step:
    """Return ``step`` at these learning rates, one for each time that it is done."""
    coming, now = iter(rates), math.nan

    def stepping(x: Tensor, y: Tensor) -> Tensor:
        nonlocal now
        if (rate := next(coming)) != now:
            set_learning_rate(optimizer, rate)
            now = rate
        return step(x, y)

    return stepping


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate for the next step and later ones; in place if it is a tensor, so that a graph sees it."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr
