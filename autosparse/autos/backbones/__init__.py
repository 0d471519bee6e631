"""Backbones of the AutoS scorer by name. A new one is one new file here whose class carries ``@backbone``."""

import functools
from collections.abc import Callable
from dataclasses import fields
from typing import ClassVar, TypeVar

import torch
from torch import Tensor, nn

from autosparse.autos.regression import OnEpoch, State, Training, shuffled_batches, train_in_batches
from autosparse.autos.streamed.rows import RowStream
from autosparse.devices import host
from autosparse.errors import AutosparseError
from autosparse.models import kaiming_normal_
from autosparse.registry import Registry
from autosparse.seeds import derive_seed, drawing_from, generator


class Backbone(nn.Module):
    """Predicts the survival scores of weights from their standardised features: (rows, inputs) -> (rows,).

    Built as ``Backbone(inputs, seed)``, which fixes the shapes of its state whatever it is fitted on.
    """

    chunk: ClassVar[int] = 1 << 10
    """Rows scored at once, so that activations stay small."""
    costly: ClassVar[bool] = False
    """Whether scoring a row takes so long that tabulating a few thousand first pays off."""
    most_inputs: ClassVar[int | None] = None
    """The most inputs that it takes; None: any number."""
    by_gradient: ClassVar[bool] = True
    """Whether it is trained by gradient, so that epochs, batch size and learning rate apply. If not, :meth:`solve`
    learns at once."""

    def prepared(self) -> Callable[[Tensor], Tensor]:
        """A function for many calls that computes :meth:`forward` in evaluation mode, to float noise, but faster."""
        return self.eval()

    def fit(
        self,
        features: Tensor,
        target: Tensor,
        training: Training,
        seed: int,
        on_epoch: OnEpoch | None = None,
        resume: State | None = None,
    ) -> None:
        """Learn ``target`` (rows,) from ``features`` (rows, inputs), both float32 and on the backbone's device."""
        if not self.by_gradient:
            self.solve(features, target, seed)
            return
        batches = functools.partial(shuffled_batches, features, target, seed)
        train_in_batches(self, batches, len(target), training, on_epoch, resume)

    def solve(self, features: Tensor, target: Tensor, seed: int) -> None:
        """Learn as :meth:`fit` does, but at once; for backbones that are not trained by gradient."""
        raise NotImplementedError(f"{type(self).__name__} is not trained by gradient: give it solve()")

    def fit_streamed(
        self,
        rows: RowStream,
        training: Training,
        seed: int,
        on_epoch: OnEpoch | None = None,
        resume: State | None = None,
    ) -> int:
        """Learn from a stream's train rows, on the backbone's device, and return the number of rows learned from."""
        if not self.streams():
            features, target = rows.sample()
            self.fit(features, target, training, seed, on_epoch, resume)
            return len(target)
        if not self.by_gradient:
            return self.solve_streamed(rows)
        train_in_batches(self, rows.batches, rows.moments.count, training, on_epoch, resume)
        return rows.moments.count

    def solve_streamed(self, rows: RowStream) -> int:
        """Learn as :meth:`fit_streamed` does, but at once; without this method, a backbone solves for a sample."""
        raise NotImplementedError

    @classmethod
    def streams(cls) -> bool:
        """Whether it learns from every train row of a stream; if not, from a sample of them."""
        own = (cls.fit_streamed, cls.solve_streamed) != (Backbone.fit_streamed, Backbone.solve_streamed)
        return own or (cls.by_gradient and cls.fit is Backbone.fit)


BACKBONES: Registry[type[Backbone]] = Registry("backbone", __name__)

B = TypeVar("B", bound=type[Backbone])


def backbone(name: str) -> Callable[[B], B]:
    """Decorator: make a backbone known under the name that users type."""

    def decorate(member: B) -> B:
        BACKBONES.register(name, member, member)
        return member

    return decorate


def build_backbone(name: str, inputs: int, seed: int) -> Backbone:
    """A backbone before its fit, on the CPU: weights Kaiming-normal, seeded.

    :raises UnknownName: with the nearest known name.
    """
    member = BACKBONES[name]
    with host(), drawing_from(derive_seed(seed, "construction"), torch.device("cpu")):
        built = member(inputs, seed)
    kaiming_normal_(built, generator(seed, "scorer"))
    return built


def check_training(name: str, training: Training, inputs: int = 0) -> None:
    """Raise if gradient settings are given for a backbone not trained by gradient, or if there are too many inputs."""
    most = BACKBONES[name].most_inputs
    if most is not None and inputs > most:
        raise AutosparseError(f"backbone {name!r} takes at most {most} inputs, got {inputs}: use trees, linear or mlp")
    if BACKBONES[name].by_gradient:
        return
    given = [field.name for field in fields(training) if getattr(training, field.name) != field.default]
    if given:
        raise AutosparseError(f"backbone {name!r} is not trained by gradient: leave out {', '.join(given)}")
