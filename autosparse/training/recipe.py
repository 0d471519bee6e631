"""How a network is trained, as data."""

import functools
import math
from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import nn

from autosparse.allowed import AtLeastOne, Positive, Within, fits, wording
from autosparse.data.augment import AUGMENTATIONS
from autosparse.errors import AutosparseError, UnknownName
from autosparse.loss import Loss
from autosparse.training.layout import fills_its_memory
from autosparse.training.learning_rate import BY_STEP, MULTI_STEP, SCHEDULES, warming_up

OPTIMIZERS = ("sgd", "momentum", "adam", "adamw")
BelowOne = Annotated[float, Within(0, 1, open_high=True)]
OF_MOMENTUM = ("momentum", "nesterov")
"""Fields that mean something only for the optimiser ``momentum``."""


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule, augmentation and length of one training.

    Optimisers are PyTorch's; ``momentum`` is SGD with momentum. Schedules are PyTorch's of the same name, stepped after
    every batch, but ``multi-step`` after every epoch. Defaults are the AutoSparse paper's for LeNet-300-100/MNIST
    (Appendix C), but for the number of epochs.

    >>> recipe = asp.Recipe(optimizer="momentum", lr=0.1, milestones=(2, 4), drop=0.1, epochs=6)
    >>> [round(recipe.lr_in(epoch), 6) for epoch in range(1, 7)]
    [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    """

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
        "use_attribute_docstrings": True,
    }

    optimizer: Literal["sgd", "momentum", "adam", "adamw"] = "adam"
    """What takes the steps; momentum: SGD with momentum; adamw: Adam with decoupled weight decay."""
    lr: Positive = 1.2e-3
    """Learning rate, above 0: of the first epoch, or the highest one in cosine and one-cycle."""
    milestones: tuple[int, ...] = (60, 120)
    """Epochs after which the learning rate is multiplied by ``drop``; of schedule multi-step."""
    drop: Positive = 0.2
    """Factor on the learning rate at each milestone, above 0."""
    weight_decay: Annotated[float, Within(0)] = 5e-4
    """On every parameter, at least 0: the L2 term of sgd, momentum and adam, the decoupled decay of adamw."""
    epochs: AtLeastOne = 10
    """Passes over the training images, above 0."""
    batch_size: AtLeastOne = 128
    """Images in each step, above 0."""
    augmentation: str = "none"
    """What is done to training images at random: none, crop-flip or random-resized-crop."""
    momentum: BelowOne = 0.9
    """Momentum of optimiser momentum, from 0 to below 1."""
    nesterov: bool = False
    """Whether optimiser momentum takes Nesterov's form."""
    schedule: Literal["multi-step", "cosine", "one-cycle"] = "multi-step"
    """How the learning rate goes: down at milestones, down half a cosine to 0, or up for 30 % of the steps and down."""
    warmup: int = 0
    """Epochs, fewer than all, in which the learning rate first rises, step by step, from near 0; cosine follows it."""
    label_smoothing: BelowOne = 0.0
    """Share of each training label that is spread evenly over all classes, from 0 to below 1."""
    clip_norm: Positive | None = None
    """Highest L2 norm of the gradient over all parameters but pruned weights, above 0; None: no limit."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not fits(value, field.type):
                finite = ", and finite" if isinstance(value, float) and not math.isfinite(value) else ""
                raise AutosparseError(f"recipe: {field.name} must be {wording(field.type)}{finite}, got {value!r}")
        for kind, known in (("optimizer", OPTIMIZERS), ("augmentation", AUGMENTATIONS), ("schedule", SCHEDULES)):
            if (name := getattr(self, kind)) not in known:
                raise UnknownName(kind, name, known)
        for name in ("weight_decay", "momentum", "label_smoothing"):
            object.__setattr__(self, name, abs(getattr(self, name)))  # -0.0 equals 0.0: one id for both
        object.__setattr__(self, "milestones", tuple(self.milestones))
        self._refuse_contradictions()

    def _refuse_contradictions(self) -> None:
        """Raise if a field is set that the optimiser or the schedule does not read."""
        default = {field.name: field.default for field in fields(self)}
        for name in OF_MOMENTUM:
            if self.optimizer != "momentum" and getattr(self, name) != default[name]:
                raise AutosparseError(
                    f"recipe: {name} applies to optimizer momentum only, not to {self.optimizer}: leave it out"
                )
        if self.nesterov and not self.momentum:
            raise AutosparseError("recipe: nesterov needs a momentum greater than 0")
        if self.schedule in BY_STEP and self.milestones not in ((), default["milestones"]):
            raise AutosparseError(
                f"recipe: milestones apply to schedule {MULTI_STEP} only, not to {self.schedule}: set milestones: []"
            )
        if any(milestone < 0 for milestone in self.milestones):
            raise AutosparseError(f"recipe: milestones are numbers of epochs, at least 0, got {self.milestones}")
        if not 0 <= self.warmup < self.epochs:
            raise AutosparseError(f"recipe: warmup must be from 0 to below the {self.epochs} epochs, got {self.warmup}")
        if self.warmup and self.schedule == "one-cycle":
            raise AutosparseError("recipe: one-cycle warms up by itself: leave warmup out")

    def optimizer_for(self, model: nn.Module) -> torch.optim.Optimizer:
        """A fresh optimiser of ``model`` at the learning rate ``lr``."""
        fused = all(map(fills_its_memory, model.parameters()))
        shared: dict[str, Any] = {"lr": self.lr, "weight_decay": self.weight_decay, "fused": fused}
        if self.optimizer in ("adam", "adamw"):
            kind = torch.optim.Adam if self.optimizer == "adam" else torch.optim.AdamW
            return kind(model.parameters(), **shared)
        momentum = self.momentum if self.optimizer == "momentum" else 0.0
        return torch.optim.SGD(model.parameters(), momentum=momentum, nesterov=self.nesterov, **shared)

    @property
    def by_step(self) -> bool:
        """Whether the learning rate changes within epochs."""
        return self.schedule in BY_STEP or self.warmup > 0

    def lr_in(self, epoch: int) -> float:
        """The learning rate of schedule ``multi-step`` in ``epoch`` (from 1), after the warm-up.

        A milestone takes effect in the epoch after it.
        """
        return self.lr * self.drop ** sum(milestone < epoch for milestone in self.milestones)

    def lr_at(self, step: int, per_epoch: int) -> float:
        """The learning rate in ``step``, from 0 over the whole training, whose epochs have ``per_epoch`` steps."""
        warm = self.warmup * per_epoch
        if self.schedule == MULTI_STEP:
            return self.lr_in(step // per_epoch + 1) * warming_up(step, warm)
        if step < warm:
            return self.lr * warming_up(step, warm)
        return self.lr * BY_STEP[self.schedule](step - warm, self.epochs * per_epoch - warm)

    def loss_in_training(self, loss: Loss) -> Loss:
        """``loss`` with this recipe's label smoothing.

        :raises AutosparseError: if it has some, and ``loss`` is not PyTorch's cross-entropy.
        """
        if not self.label_smoothing:
            return loss
        if loss is not F.cross_entropy:
            raise AutosparseError(
                "recipe: label_smoothing applies to cross-entropy only: smooth the labels in your own loss"
            )
        return functools.partial(F.cross_entropy, label_smoothing=self.label_smoothing)

    def lasting(self, epochs: int) -> "Recipe":
        """The same recipe for another number of epochs; the warm-up stays shorter than they are."""
        return replace(self, epochs=epochs, warmup=min(self.warmup, epochs - 1))

    def fine_tuning(self, epochs: int) -> "Recipe":
        """The last learning rate of this recipe, held for ``epochs``.

        :raises AutosparseError: if the schedule ends near 0.
        """
        if self.schedule in BY_STEP:
            raise AutosparseError(
                f"fine-tuning holds the recipe's last learning rate, which is next to 0 in schedule {self.schedule}: "
                "take `retrain: rewind-lr`, or schedule multi-step"
            )
        return replace(self, lr=self.lr_in(self.epochs), milestones=(), warmup=0, epochs=epochs)
