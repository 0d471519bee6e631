"""The one training loop: every method, dense or pruned, at initialisation or inside IRP."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from autosparse.criteria.mode import EVAL, in_mode
from autosparse.data.split import Batch, Dataset, Examples, fitting_batch
from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.loss import Loss
from autosparse.mask_change import Change
from autosparse.masks import Masks
from autosparse.seeds import derive_seed, drawing_from, generator
from autosparse.training.changing import Changing, MaskHistory
from autosparse.training.compacted import StandIn, stand_in_for
from autosparse.training.execution import Execution, Step, set_learning_rate
from autosparse.training.layout import channels_last
from autosparse.training.recipe import Recipe


@dataclass
class History:
    """Per epoch: mean training loss, and accuracy on the test split in percent."""

    train_loss: list[float] = field(default_factory=list)
    test_accuracy: list[float] = field(default_factory=list)
    masks: MaskHistory | None = None
    """The masks of a training that changes them on its way."""
    flops_left: float = field(default=1.0, compare=False)
    """Share of the dense forward pass that was computed in training."""

    def add(self, mean_loss: float, model: nn.Module, dataset: Dataset, recipe: Recipe) -> None:
        """Note an epoch's mean loss, and measure the accuracy after it; raises if the loss is not finite."""
        self.train_loss.append(mean_loss)
        if not math.isfinite(mean_loss):
            raise NonFiniteLoss(
                f"the training loss became {mean_loss} in epoch {len(self.train_loss)}: "
                f"lower the learning rate (lr {recipe.lr}, {recipe.optimizer}) or check the data"
            )
        self.test_accuracy.append(accuracy(model, dataset.test))

    @property
    def last(self) -> float:
        """Test accuracy after the last epoch, in percent."""
        return self.test_accuracy[-1]

    @property
    def best(self) -> float:
        """Highest test accuracy of any epoch, in percent."""
        return max(self.test_accuracy)


def train(
    model: nn.Module,
    dataset: Dataset,
    recipe: Recipe,
    masks: Masks | None = None,
    seed: int = 0,
    loss: Loss = F.cross_entropy,
    on_epoch: Callable[[int, History], None] | None = None,
    start: int = 0,
    stop: int | None = None,
    execution: Execution | None = None,
    change: Change | None = None,
) -> History:
    """Train ``model`` in place by ``recipe``; weights that ``masks`` remove are exactly 0 after every step.

    The model is left in training mode. While it trains, convolutions lie channels-last in memory. Where the masks leave
    little to compute, the smaller network with the same function is trained in its place, see
    :mod:`autosparse.training.compacted`; what the model then holds is the same within rounding, but for the running
    statistics of BatchNorm channels that nothing reads, which stay as they were.

    :param dataset: on the model's device.
    :param seed: from it come the data order, the augmentation and dropout, drawn anew for each epoch.
    :param on_epoch: called after each epoch with its number (from 1) and the history so far.
    :param start, stop: only these steps of the whole training, from 0: with one seed, training to step k and then a
        copy from step k on sees the batches and learning rates of one whole training (the optimiser starts afresh).
    :param execution: precision and the like; the accuracy is measured without autocast whatever it says.
    :param change: after which steps the masks change, and by what rule; such a training is not run as CUDA graphs,
        which hide the gradients. Weights that grow begin at 0, with an empty state of the optimiser.
    :raises NonFiniteLoss: after the epoch in which the loss, or at the end a weight, became NaN or infinite.
    """
    how = execution or Execution()
    if change is not None:
        how = replace(how, cuda_graphs=False, compact="off")
    stand_in = stand_in_for(model, masks, dataset, recipe, how)
    history = History()
    for epoch, history in train_by_epoch(stand_in, dataset, recipe, seed, loss, start, stop, how, change):
        if on_epoch:
            on_epoch(epoch, history)
    return history


def train_by_epoch(
    stand_in: StandIn,
    dataset: Dataset,
    recipe: Recipe,
    seed: int,
    loss: Loss,
    start: int,
    stop: int | None,
    execution: Execution,
    change: Change | None = None,
) -> Iterator[tuple[int, History]]:
    """:func:`train`, an epoch for each ``next``: its number (from 1) and the history so far."""
    network, masks = stand_in.network, stand_in.masks
    optimizer = recipe.optimizer_for(network)
    history = History(flops_left=stand_in.flops_left)
    step = execution.step(network, optimizer, loss, dataset.train.device)
    held: Changing | RemovableHandle | None = None
    if change is not None:
        held = Changing(change, masks, network, optimizer, start)
        history.masks, step = held.history, held.after(step)
    elif masks is not None:
        held = masks.hold(network, optimizer)
    with channels_last(network, dataset.input_shape):
        for epoch, steps in epochs_between(start, stop, steps_per_epoch(dataset, recipe), recipe.epochs):
            set_learning_rate(optimizer, recipe.lr_in(epoch))
            draws = generator(seed, "order", epoch)
            with drawing_from(derive_seed(seed, "dropout", epoch), dataset.train.device):
                batches = dataset.train.batches(recipe.batch_size, draws, recipe.augmentation)
                mean_loss = train_epoch(network, batches, step, steps)
                stand_in.settle(len(steps), recipe.lr_in(epoch))
                history.add(mean_loss.item(), network, dataset, recipe)
            yield epoch, history
    if held is not None:
        held.remove()
    require_finite(stand_in.model, recipe)


def require_finite(model: nn.Module, recipe: Recipe) -> None:
    """Raise :class:`NonFiniteLoss` if a trained weight is NaN or infinite."""
    if not all(parameter.isfinite().all() for parameter in model.parameters()):
        raise NonFiniteLoss(
            "the last steps of the training left weights that are not finite: "
            f"lower the learning rate (lr {recipe.lr}, {recipe.optimizer})"
        )


def steps_per_epoch(dataset: Dataset, recipe: Recipe) -> int:
    """Number of batches in an epoch; the last one may be smaller."""
    return math.ceil(len(dataset.train) / recipe.batch_size)


def images_before(step: int, dataset: Dataset, recipe: Recipe) -> int:
    """Number of images that a training sees before ``step``, each as often as it is seen."""
    epochs, steps = divmod(step, steps_per_epoch(dataset, recipe))
    return epochs * len(dataset.train) + min(steps * recipe.batch_size, len(dataset.train))


def epochs_between(start: int, stop: int | None, length: int, epochs: int) -> Iterator[tuple[int, range]]:
    """Each epoch (from 1) that has steps in [start, stop), with those steps counted from the epoch's first."""
    stop = epochs * length if stop is None else stop
    if not 0 <= start < stop <= epochs * length:
        raise AutosparseError(f"steps {start} to {stop} are not within a training of {epochs * length} steps")
    for epoch in range(start // length + 1, math.ceil(stop / length) + 1):
        before = (epoch - 1) * length
        yield epoch, range(max(start - before, 0), min(stop - before, length))


def train_epoch(model: nn.Module, batches: Iterator[Batch], step: Step, steps: range) -> Tensor:
    """Those ``steps`` of one epoch; the mean loss stays on its device, so that nothing waits for the host on the way.

    With labels (members, batch) and a step that returns as many losses, it is the mean for each.
    """
    model.train()
    total, examples = torch.zeros(()), 0
    for x, y in itertools.islice(batches, steps.start, steps.stop):
        total = step(x, y) * y.shape[-1] + total
        examples += y.shape[-1]
    return total / examples


@torch.inference_mode()
def accuracy(model: nn.Module, split: Examples, batch_size: int | None = None) -> float:
    """Share of ``split`` that ``model`` classifies right, in percent; each of its layers is left in its mode.

    Without autocast; on a GPU convolutions are in TF32, unless PyTorch is told otherwise.

    :param batch_size: None: 2000, or fewer where images are larger than 64x64, so that a batch fits on a device.
    """
    batch_size = batch_size or fitting_batch(2000, split.input_shape)
    right = torch.zeros((), dtype=torch.int64, device=split.device)
    with in_mode(model, EVAL):
        for x, y in split.batches(batch_size):
            right += (model(x).argmax(1) == y).sum()
    return 100.0 * right.item() / len(split)
