"""A network at initialisation, as masked so far: what features are computed from."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import torch.nn.functional as F
from torch import Tensor, nn

from autosparse.criteria import CRITERIA, score
from autosparse.criteria.briefly import Diverged, Steps, briefly_trained
from autosparse.criteria.features.layout import Layout, layouts
from autosparse.criteria.features.units import Units, units_of
from autosparse.criteria.gradients import mean_gradient, mean_score
from autosparse.criteria.synflow import float64_copy, synaptic_flow
from autosparse.criteria.types import Batches, Loss
from autosparse.criteria.watch import shape_of_input
from autosparse.devices import full_float32
from autosparse.errors import AutosparseError
from autosparse.masks import Masks
from autosparse.mode import EVAL, TRAIN, in_mode
from autosparse.weights import prunable

GROWS = 3.0
"""How many times its first value the loss may reach after a few steps."""
HALVINGS = 10
"""How many times at most the learning rate of the steps is halved if the loss exceeds that."""
LEAST = 1e-6
"""Added to a value, as a share of the root mean square, before its logarithm is taken."""


def log_relative(values: Tensor, scale: Tensor) -> Tensor:
    """log(v / scale + 1e-6) of values that are not negative."""
    return (values / scale.clamp(min=1e-30) + LEAST).log()


@dataclass(frozen=True)
class Stepped:
    """The network after a few steps of training."""

    theta: dict[str, Tensor]
    grad: dict[str, Tensor]
    """The gradient of the mean loss over all batches, there."""


class State:
    """Quantities of a network as masked so far; each is computed once, at its first use.

    The pruned weights must be 0 (:func:`autosparse.criteria.rounds.masked`) until the last use. The model stays in its
    mode for gradients and activations. Each quantity is a dict by the names of prunable weights, whose tensors have the
    weights' shapes unless it says otherwise.
    """

    def __init__(
        self,
        model: nn.Module,
        masks: Masks,
        batches: Batches | None = None,
        loss: Loss = F.cross_entropy,
        steps: Steps | None = None,
        pieces: Iterator[tuple[Tensor, Tensor]] | None = None,
        unmasked: Mapping[str, Tensor] | None = None,
        reads_units: bool = False,
    ):
        """
        :param batches: the data for gradients and activations; iterated several times.
        :param steps: how :attr:`stepped` is trained.
        :param pieces: the batches of the steps.
        :param unmasked: the weights before masking, if pruned ones may come back: :attr:`theta` then holds them, and
            :attr:`left` has zeros; None: both hold the weights as they are.
        :param reads_units: whether :attr:`units` will be asked for: :attr:`grad` is then taken in the same pass.
        """
        self.model, self.masks, self.loss = model, masks, loss
        self.steps, self._pieces, self._batches = steps, pieces, batches
        self.left = {name: weight.detach() for name, weight in prunable(model).items()}
        self.theta = self.left if unmasked is None else dict(unmasked)
        self.reads_units = reads_units
        self._scales: dict[str, float] = {}
        self._scores: dict[str, dict[str, Tensor]] = {}

    @property
    def batches(self) -> Batches:
        """The data; raises if there are none."""
        if self._batches is None:
            raise AutosparseError("a feature needs data: pass batches, an iterable of (x, y)")
        return self._batches

    @cached_property
    def layouts(self) -> dict[str, Layout]:
        """How each weight lies between units."""
        return layouts(self.model)

    @cached_property
    def grad(self) -> dict[str, Tensor]:
        """The gradient of the mean loss over all batches."""
        if self.reads_units:
            return self._units_and_gradient[1]
        with full_float32():
            return mean_gradient(self.model, self.batches, self.loss)

    @cached_property
    def product(self) -> dict[str, Tensor]:
        """theta g."""
        return {name: theta * self.grad[name] for name, theta in self.theta.items()}

    @cached_property
    def batch_gradients(self) -> dict[str, Tensor]:
        """Root of the mean, over the batches, of each batch's squared gradient."""

        def squared(batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
            return {name: g.double().square() for name, g in mean_gradient(self.model, [batch], self.loss).items()}

        with full_float32():
            return {name: mean.sqrt().float() for name, mean in mean_score(squared, self.batches).items()}

    def scores(self, criterion: str) -> dict[str, Tensor]:
        """The scores of a criterion on the network as masked so far; remembered."""
        if criterion not in self._scores:
            mode = TRAIN if self.model.training else EVAL
            options = {"mode": mode} if "mode" in CRITERIA[criterion].options else {}
            self._scores[criterion] = score(self.model, criterion, self._batches, self.loss, **options)
        return self._scores[criterion]

    @cached_property
    def flow(self) -> dict[str, Tensor]:
        """The synaptic flow through each weight, float64; 0 everywhere if a layer is gone."""
        shape = shape_of_input("synflow", self.batches, None)
        with in_mode(self.model, EVAL):
            return synaptic_flow(float64_copy(self.model, Tensor.abs_), shape)

    @property
    def units(self) -> Units:
        """Activations and gradients of the units."""
        return self._units_and_gradient[0]

    @cached_property
    def _units_and_gradient(self) -> tuple[Units, dict[str, Tensor]]:
        with full_float32():
            return units_of(self.model, self.batches, self.loss)

    @cached_property
    def stepped(self) -> Stepped:
        """The network after a few steps of training from here, and its gradient there.

        If the loss grows to several times what it was, the learning rate is too high for this network. Then it is
        halved in :attr:`steps`, and the steps are taken again.
        """
        if self.steps is None or self._pieces is None:
            raise AutosparseError("a feature needs a few steps of training: say how many steps")
        for _ in range(HALVINGS):
            try:
                return self._stepped(self.steps, self._pieces, GROWS)
            except Diverged:
                self.steps = replace(self.steps, lr=self.steps.lr / 2)
        return self._stepped(self.steps, self._pieces)

    def _stepped(self, steps: Steps, pieces: Iterator[tuple[Tensor, Tensor]], most: float = math.inf) -> Stepped:
        with full_float32(), briefly_trained(self.model, self.masks, pieces, steps, self.loss, most):
            theta = {name: weight.detach().clone() for name, weight in prunable(self.model).items()}
            return Stepped(theta, mean_gradient(self.model, self.batches, self.loss))

    @cached_property
    def trained_product(self) -> dict[str, Tensor]:
        """theta_k g_k."""
        return {name: theta * self.stepped.grad[name] for name, theta in self.stepped.theta.items()}

    @cached_property
    def rewound_product(self) -> dict[str, Tensor]:
        """theta_0 g_k."""
        return {name: theta * self.stepped.grad[name] for name, theta in self.theta.items()}

    @cached_property
    def movement(self) -> dict[str, Tensor]:
        """theta_k - theta_0."""
        return {name: self.stepped.theta[name] - theta for name, theta in self.theta.items()}

    def rms(self, key: str, values: dict[str, Tensor]) -> float:
        """Root of the mean square of ``values`` over what is left of the whole network; remembered under ``key``."""
        if key not in self._scales:
            total = sum(float(values[name].double().square()[mask].sum()) for name, mask in self.masks.items())
            self._scales[key] = (total / max(1, self.masks.kept)) ** 0.5
        return self._scales[key]

    def log(self, key: str, values: dict[str, Tensor], name: str) -> Tensor:
        """log(|v| / rms + 1e-6) of one weight's values: the same whatever factor all values share."""
        return (values[name].abs() / (self.rms(key, values) or 1.0) + LEAST).log()

    def signed_log(self, key: str, values: dict[str, Tensor], name: str) -> Tensor:
        """sign(v) log(1 + |v| / rms): both signs stay, and both tails are drawn in."""
        scaled = values[name] / (self.rms(key, values) or 1.0)
        return scaled.sign() * scaled.abs().log1p()
