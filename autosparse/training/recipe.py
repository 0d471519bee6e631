"""How a network is trained, as data."""

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import torch
from torch import nn

from autosparse.data.augment import AUGMENTATIONS
from autosparse.errors import AutosparseError, UnknownName
from autosparse.training.field_types import check_types

OPTIMIZERS = ("sgd", "momentum", "adam")


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule, augmentation and length of one training.

    ``momentum`` is SGD with momentum 0.9. At each of ``milestones`` (epochs) the learning rate is multiplied
    by ``drop``. Weight decay is the optimiser's L2 term on every parameter. Defaults are the AutoSparse paper's
    for LeNet-300-100/MNIST (Appendix C), but for the number of epochs.

    >>> recipe = asp.Recipe(optimizer="momentum", lr=0.1, milestones=(2, 4), drop=0.1, epochs=6)
    >>> [round(recipe.lr_in(epoch), 6) for epoch in range(1, 7)]
    [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }

    optimizer: Literal["sgd", "momentum", "adam"] = "adam"
    """What takes the steps; momentum: SGD with momentum 0.9."""
    lr: float = 1.2e-3
    """Learning rate of the first epoch, above 0."""
    milestones: tuple[int, ...] = (60, 120)
    """Epochs after which the learning rate is multiplied by ``drop``."""
    drop: float = 0.2
    """Factor on the learning rate at each milestone, above 0."""
    weight_decay: float = 5e-4
    """The optimiser's L2 term on every parameter, at least 0."""
    epochs: int = 10
    """Passes over the training images, above 0."""
    batch_size: int = 128
    """Images in each step, above 0."""
    augmentation: str = "none"
    """What is done to training images at random: none, crop-flip or random-resized-crop."""

    def __post_init__(self) -> None:
        check_types(self, "recipe")
        if self.optimizer not in OPTIMIZERS:
            raise UnknownName("optimizer", self.optimizer, OPTIMIZERS)
        if self.augmentation not in AUGMENTATIONS:
            raise UnknownName("augmentation", self.augmentation, AUGMENTATIONS)
        for name in ("lr", "drop", "epochs", "batch_size"):
            if not 0 < getattr(self, name) < math.inf:
                raise AutosparseError(f"recipe: {name} must be greater than 0 and finite, got {getattr(self, name)}")
        if not 0 <= self.weight_decay < math.inf:
            raise AutosparseError(f"recipe: weight_decay must be at least 0 and finite, got {self.weight_decay}")
        object.__setattr__(self, "weight_decay", abs(self.weight_decay))  # -0.0 equals 0.0: one id for both

    def optimizer_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimiser of ``model`` at the learning rate of the first epoch."""
        shared: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": True}
        if self.optimizer == "adam":
            return torch.optim.Adam(model.parameters(), **shared)
        return torch.optim.SGD(model.parameters(), momentum=0.9 if self.optimizer == "momentum" else 0.0, **shared)

    def lr_in(self, epoch: int) -> float:
        """The learning rate in ``epoch`` (from 1). A milestone takes effect in the epoch after it."""
        return self.lr * self.drop ** sum(milestone < epoch for milestone in self.milestones)

    def fine_tuning(self, epochs: int) -> "Recipe":
        """This recipe's last learning rate, held for ``epochs``."""
        return replace(self, lr=self.lr_in(self.epochs), milestones=(), epochs=epochs)
