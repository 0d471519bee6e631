"""Rows from the states that an IRP run went through: what could be known there, and what came of it."""

from collections.abc import Mapping, Sequence

import torch

from autosparse.autos.rebuild import dataset_of_survival, rebuilt, scoring_batches_of
from autosparse.autos.rows import Rows, joined
from autosparse.criteria.briefly import in_pieces
from autosparse.criteria.by_features import InRounds, first_examples
from autosparse.criteria.features.find import find_feature
from autosparse.criteria.features.state import State
from autosparse.criteria.mode import in_mode
from autosparse.criteria.rounds import masked
from autosparse.data.split import Dataset
from autosparse.devices import full_float32
from autosparse.irp.survival import Survival
from autosparse.masks import Masks
from autosparse.seeds import derive_seed, drawing_from, generator

STATES = 10
"""At most so many states of a run are looked at, evenly spread from the dense network on."""


def in_states(
    survival: Survival,
    datasets: Mapping[str, Dataset],
    inputs: Sequence[str],
    how: InRounds,
    most: int | None = None,
    device: torch.device | str = "cpu",
) -> Rows:
    """Rows of a network as IRP had masked it, after iterations 0, 2, ... of 20.

    A row is a weight that was left then. Its features are those of the masked network at initialisation, made here from
    what the survival data say of themselves; its target is the share of the remaining iterations that it survived.
    Strata are layer, state and count.

    :param datasets: by name; that of the IRP run must be there.
    :param how: the steps and examples of the features.
    :param most: so many rows, about; None: all.
    :raises AutosparseError: if the network or its data cannot be made again.
    """
    dataset = dataset_of_survival(survival, datasets).to(device)
    model = rebuilt(survival, dataset, device)
    seed, total = int(survival.provenance["seed"]), survival.iterations
    batches = scoring_batches_of(survival, dataset)
    pieces = in_pieces(batches, how.steps.batch_size)
    chosen = range(0, total, max(1, -(-total // STATES)))
    features = [find_feature(name) for name in inputs]
    draws = generator(seed, "states")
    parts = []
    for i in chosen:
        masks = survival.masks(i)
        share = 1.0 if most is None else min(1.0, most / len(chosen) / masks.kept)
        on_device = Masks({name: mask.to(device) for name, mask in masks.items()})
        drawing = drawing_from(derive_seed(seed, "state", i), torch.device(device))
        with full_float32(), drawing, in_mode(model, survival.gradient_mode), masked(model, on_device):
            state = State(model, on_device, first_examples(batches, how.examples), steps=how.steps, pieces=pieces)
            for layer, (name, mask) in enumerate(masks.items()):
                rows = mask.flatten().nonzero().squeeze(1)
                if share < 1:
                    rows = rows[torch.rand(len(rows), generator=draws) < share]
                columns = [f.compute(state, name).expand(mask.shape).flatten()[rows.to(device)].cpu() for f in features]
                left = survival.survived[name].flatten()[rows] - i
                stratum = left.long() + layer * (total + 1)
                parts.append(Rows([column.float() for column in columns], left.float() / (total - i), stratum))
    return joined(parts)
