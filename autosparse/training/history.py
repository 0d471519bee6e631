"""The outcome of a training: the loss and the accuracy of each epoch."""

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from autosparse.data.split import Dataset, Examples, fitting_batch
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.mode import EVAL, in_mode
from autosparse.notebook import shown
from autosparse.training.changing import MaskHistory
from autosparse.training.recipe import Recipe


@dataclass
class History:
    """Per epoch: mean training loss, and accuracy on the test split in percent."""

    train_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    masks: MaskHistory | None = None
    """The masks of a training that changes them on its way."""
    kept: list[int] = field(default_factory=list)
    """Number of weights kept at the end of each epoch, if the masks change; else empty."""
    flops_left: float = field(default=1.0, compare=False)
    """Share of the dense forward pass that was computed in training."""

    def __repr__(self) -> str:
        if not self.test_accuracy:
            return "History(no epoch yet)"
        count, (best, epoch) = len(self.test_accuracy), self._best
        return (
            f"History({count} epoch{'s' if count > 1 else ''}: test accuracy {self.last:.2f} %, "
            f"best {best:.2f} % in epoch {epoch}, train loss {self.train_loss[-1]:.4g})"
        )

    def _repr_html_(self) -> str:
        epochs = enumerate(zip(self.train_loss, self.test_accuracy, strict=False), 1)
        rows = [(epoch, loss, accuracy) for epoch, (loss, accuracy) in epochs]
        return shown(self, ("epoch", "train loss", "test accuracy in %"), rows)

    def add(self, mean_loss: float, model: nn.Module, dataset: Dataset, recipe: Recipe) -> None:
        """Note an epoch's mean loss, and measure the accuracy after it.

        :raises NonFiniteLoss: if the loss is NaN or infinite.
        """
        self.train_loss.append(mean_loss)
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(
                f"the training loss became {mean_loss} in epoch {len(self.train_loss)}: "
                f"lower the learning rate (lr {recipe.lr}, {recipe.optimizer}) or check the data"
            )
        self.test_accuracy.append(accuracy(model, dataset.test))
        if self.masks is not None:
            self.kept.append(self.masks.last.kept)

    @property
    def last(self) -> float:
        """Test accuracy after the last epoch, in percent."""
        return self.test_accuracy[-1]

    @property
    def best(self) -> float:
        """Highest test accuracy of any epoch that ended with as many weights as the last one, in percent.

        So the dense network that gradual pruning begins with does not count.
        """
        return self._best[0]

    @property
    def _best(self) -> tuple[float, int]:
        """:attr:`best`, and its epoch from 1."""
        epochs = range(1, len(self.test_accuracy) + 1)
        as_sparse = [epoch for epoch in epochs if not self.kept or self.kept[epoch - 1] == self.kept[-1]]
        epoch = max(as_sparse, key=lambda epoch: self.test_accuracy[epoch - 1])
        return self.test_accuracy[epoch - 1], epoch


def require_finite(model: nn.Module, recipe: Recipe) -> None:
    """Raise :class:`NonFiniteLoss` if a trained weight is NaN or infinite."""
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise NonFiniteLoss(
            "the last steps of the training left weights that are not finite: "
            f"lower the learning rate (lr {recipe.lr}, {recipe.optimizer})"
        )


@torch.inference_mode()
def accuracy(model: nn.Module, split: Examples, batch_size: int | None = None) -> float:
    """Share of ``split`` that ``model`` classifies correctly, in percent.

    It is measured in evaluation mode and without autocast; each layer is left in its own mode. On a GPU convolutions
    are in TF32, unless PyTorch is told otherwise.

    :param batch_size: None: 2000, or fewer if images are larger than 64x64, so that a batch fits on a device.
    :raises AutosparseError: if the network does not return (batch, classes), with at least two classes.
    """
    batch_size = batch_size or fitting_batch(2000, split.input_shape)
    right = torch.zeros((), dtype=torch.int64, device=split.device)
    with in_mode(model, EVAL):
        for x, y in split.batches(batch_size):
            right += (_logits(model, x).argmax(1) == y).sum()
    return 100.0 * right.item() / len(split)


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    logits: Tensor = model(x)
    if logits.dim() != 2 or logits.shape[1] < 2:
        raise AutosparseError(
            f"{type(model).__name__} returns {tuple(logits.shape)} for {len(x)} images: accuracy is of the largest of "
            "several numbers for each, so let it return one for each class, (images, classes)"
        )
    return logits
