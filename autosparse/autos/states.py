"""Rows from the states of an IRP run: the features of each weight in a state, and how long it survives from there."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from autosparse.autos.rebuild import dataset_of_survival, rebuilt, scoring_batches_of
from autosparse.autos.rows import Rows, joined
from autosparse.criteria.briefly import in_pieces
from autosparse.criteria.by_features import InRounds, first_examples
from autosparse.criteria.features.find import find_feature
from autosparse.criteria.features.state import State
from autosparse.criteria.rounds import masked
from autosparse.data.split import Dataset
from autosparse.devices import full_float32
from autosparse.irp.survival import Survival
from autosparse.masks import Masks
from autosparse.mode import in_mode
from autosparse.seeds import derive_seed, drawing_from, generator

STATES = 10
"""The most states of a run to visit, evenly spread from the dense network on."""


@dataclass(frozen=True)
class Visit:
    """Some weights of a layer, as IRP had masked the network after an iteration."""

    iteration: int
    layer: str
    rows: Tensor
    """(n,) int64: flat positions of weights that were left."""
    columns: list[Tensor]
    """(n,) float32 each, on the CPU: the features, on the masked network at initialisation."""
    survived: Tensor
    """(n,) int64: how many of the iterations after this one they survived."""
    remaining: int
    """Number of iterations after this one."""

    @property
    def target(self) -> Tensor:
        """(n,) float32: the share of the remaining iterations that they survived."""
        return self.survived.float() / self.remaining


def states_of(survival: Survival) -> range:
    """The iterations after which the network is visited, from 0, the dense network, on."""
    return range(0, survival.iterations, -(-survival.iterations // STATES))


def visits(
    survival: Survival,
    datasets: Mapping[str, Dataset],
    inputs: Sequence[str],
    how: InRounds,
    share: Callable[[Masks], float],
    device: torch.device | str = "cpu",
    wanted: Callable[[int], bool] = lambda iteration: True,
) -> Iterator[Visit]:
    """Yield each layer in each state: the network after iterations 0, 2, ... of 20, rebuilt from the survival data.

    :param datasets: by name; that of the IRP run must be there.
    :param how: the steps and examples of the features.
    :param share: takes the masks of a state and returns the share of the weights left to sample at random.
    :param wanted: takes the iteration of a state and returns whether to visit it; skipping a state does not
        change the others.
    :raises AutosparseError: if the network cannot be rebuilt, or its data are not at hand.
    """
    dataset = dataset_of_survival(survival, datasets).to(device)
    model = rebuilt(survival, dataset, device)
    seed, total = int(survival.provenance["seed"]), survival.iterations
    batches = scoring_batches_of(survival, dataset)
    pieces, examples = in_pieces(batches, how.steps.batch_size), first_examples(batches, how.examples)
    features = [find_feature(name) for name in inputs]
    reads_units = any(feature.reads_units for feature in features)
    draws = generator(seed, "states")
    for i in states_of(survival):
        masks = survival.masks(i)
        sampled = share(masks)
        on_device = Masks({name: mask.to(device) for name, mask in masks.items()})
        drawing = drawing_from(derive_seed(seed, "state", i), torch.device(device))
        with full_float32(), drawing, in_mode(model, survival.gradient_mode), masked(model, on_device):
            state = State(model, on_device, examples, steps=how.steps, pieces=pieces, reads_units=reads_units)
            if not wanted(i):
                if how.steps.count:
                    _ = state.stepped  # draws its batches, so that the next state draws those that it always does
                continue
            for name, mask in masks.items():
                rows = mask.flatten().nonzero().squeeze(1)
                if sampled < 1:
                    rows = rows[torch.rand(len(rows), generator=draws) < sampled]
                computed = (f.compute(state, name).to(device) for f in features)  # depth and the like are on the CPU
                values = (found.expand(mask.shape).flatten()[rows.to(device)] for found in computed)
                survived = survival.survived[name].flatten()[rows].long() - i
                yield Visit(i, name, rows, [value.float().cpu() for value in values], survived, total - i)


def in_states(
    survival: Survival,
    datasets: Mapping[str, Dataset],
    inputs: Sequence[str],
    how: InRounds,
    most: int | None = None,
    device: torch.device | str = "cpu",
) -> Rows:
    """The rows of all :func:`visits`; a stratum is a layer, state and count.

    :param most: about how many rows; None: all.
    """
    states = len(states_of(survival))

    def share(masks: Masks) -> float:
        return 1.0 if most is None else most / states / masks.kept

    found = visits(survival, datasets, inputs, how, share, device)
    return joined([Rows(visit.columns, visit.target, visit.survived) for visit in found])
