"""Training a network to predict the survival score: mean squared error, Adam (AutoSparse Appendix B.2, B.3)."""

import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

from autosparse.errors import AutosparseError, NonFiniteLoss
from autosparse.seeds import generator


@dataclass(frozen=True)
class State:
    """A training after some of its epochs: all that it needs to continue, to the bit."""

    epoch: int
    tensors: dict[str, Tensor]
    """The tensors of the network and of Adam."""
    schedule: dict[str, Any]
    """JSON values."""


OnEpoch = Callable[[int, float, Callable[[], State]], None]
"""Called with (epoch from 1, mean training loss, function that returns the state)."""


@dataclass(frozen=True)
class Training:
    """How a backbone is trained by gradient; the defaults are those of AutoSparse Appendix B.3."""

    epochs: int = 10
    batch_size: int = 1024
    lr: float = 0.01

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not 0 < self.lr < math.inf:
            raise AutosparseError(
                "a fit needs epochs and batch size of at least 1 and a positive rate, "
                f"got {self.epochs}, {self.batch_size}, {self.lr}"
            )


def shuffled_batches(
    features: Tensor, target: Tensor, seed: int, epoch: int, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the rows in batches of ``size``, shuffled on their device, anew in each epoch.

    :param features: (rows, inputs) float32, standardised; ``target`` (rows,) float32.
    """
    order = torch.randperm(len(target), generator=generator(seed, "fit", epoch)).to(target.device)
    kept = order[: len(target) // size * size]
    return zip(features.index_select(0, kept).split(size), target.index_select(0, kept).split(size), strict=True)


def train_in_batches(
    network: nn.Module,
    batches: Callable[[int, int], Iterable[tuple[Tensor, Tensor]]],
    rows: int,
    training: Training,
    on_epoch: OnEpoch | None = None,
    resume: State | None = None,
) -> None:
    """Train with Adam on the (features, target) that ``batches`` yields for an epoch and a batch size.

    The learning rate falls to 0 along a cosine, which the paper does not say; without it the last steps' noise
    costs about a tenth of the explained variance.

    :param rows: number of rows in an epoch; a last, smaller batch is dropped.
    :param resume: a state of this very training to continue from.
    :raises NonFiniteLoss: if the training diverges.
    """
    size = min(training.batch_size, rows)
    steps = rows // size
    optimizer = Adam(network.parameters(), lr=training.lr, fused=True)
    schedule = CosineAnnealingLR(optimizer, T_max=training.epochs * steps)
    if resume:
        _restore(resume, network, optimizer, schedule)
    for epoch in range(resume.epoch + 1 if resume else 1, training.epochs + 1):
        network.train()  # `on_epoch` may have put it in evaluation mode
        total = torch.zeros((), device=next(network.parameters()).device)
        for x, y in itertools.islice(batches(epoch, size), steps):
            loss = F.mse_loss(network(x), y)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.detach()
        mean = (total / steps).item()
        if not math.isfinite(mean):
            raise NonFiniteLoss(f"the scorer's loss became {mean} in epoch {epoch}: lower --lr (now {training.lr})")
        if on_epoch:
            on_epoch(epoch, mean, functools.partial(_state, epoch, network, optimizer, schedule))
    if not all(parameter.isfinite().all() for parameter in network.parameters()):
        raise NonFiniteLoss(
            f"the last steps of the fit left weights that are not finite: lower --lr (now {training.lr})"
        )


NETWORK, ADAM = "network.", "adam."


def _state(epoch: int, network: nn.Module, optimizer: Adam, schedule: CosineAnnealingLR) -> State:
    tensors = {NETWORK + name: value for name, value in network.state_dict().items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"{ADAM}{index}.{name}": value for name, value in moments.items()}
    return State(epoch, {name: value.detach().cpu().clone() for name, value in tensors.items()}, schedule.state_dict())


def _restore(state: State, network: nn.Module, optimizer: Adam, schedule: CosineAnnealingLR) -> None:
    weights = {name.removeprefix(NETWORK): value for name, value in state.tensors.items() if name.startswith(NETWORK)}
    network.load_state_dict(weights)
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in state.tensors.items():
        if name.startswith(ADAM):
            index, moment = name.removeprefix(ADAM).split(".")
            moments.setdefault(int(index), {})[moment] = value
    [group], [lr] = optimizer.state_dict()["param_groups"], state.schedule["_last_lr"]
    optimizer.load_state_dict({"state": moments, "param_groups": [{**group, "lr": lr}]})
    schedule.load_state_dict(state.schedule)
