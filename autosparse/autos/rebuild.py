"""The network and the data of an IRP run, rebuilt from the provenance of its survival dataset."""

from collections.abc import Mapping

import torch
from torch import nn

from autosparse.data.split import Batch, Dataset
from autosparse.errors import AutosparseError
from autosparse.irp.survival import Survival
from autosparse.models import build_model
from autosparse.seeds import generator
from autosparse.training.recipe import Recipe
from autosparse.weights import prunable


def dataset_of_survival(survival: Survival, datasets: Mapping[str, Dataset]) -> Dataset:
    """The data that the IRP run trained on.

    :raises AutosparseError: if the data are not given, or not those of the run.
    """
    name, expected = survival.provenance["dataset"], survival.provenance["dataset_fingerprint"]
    if name not in datasets:
        raise AutosparseError(f"features of masked networks need the IRP run's data: dataset {name!r} is not given")
    if datasets[name].fingerprint != expected:
        raise AutosparseError(
            f"dataset {name!r} has the fingerprint {datasets[name].fingerprint}, but the IRP run was trained on "
            f"{expected}: bring those data, or run `autosparse irp` again"
        )
    return datasets[name]


def rebuilt(survival: Survival, dataset: Dataset, device: torch.device | str = "cpu") -> nn.Module:
    """The IRP run's network at initialisation: built by name and seed, with the weights that the survival data hold.

    :raises AutosparseError: if its factory is gone, or builds another network now.
    """
    name, seed = survival.provenance["model"], int(survival.provenance["seed"])
    whose = f"features of masked networks need the IRP run's network {name!r} again"
    try:
        model = build_model(name, dataset.num_classes, dataset.input_shape, seed)
    except AutosparseError as error:
        cure = "after a run from Python, set survival.provenance['model'] to the name that build_model takes"
        raise AutosparseError(f"{whose}: {error}; {cure}") from error
    weights = prunable(model)
    if {layer: w.shape for layer, w in weights.items()} != {layer: p.shape for layer, p in survival.param.items()}:
        raise AutosparseError(
            f"{whose}, but the network now built under this name has weights of other names or shapes: run IRP again"
        )
    with torch.no_grad():
        for layer, weight in weights.items():
            weight.copy_(survival.param[layer])
    return model.to(device)


def scoring_batches_of(survival: Survival, dataset: Dataset) -> list[Batch]:
    """The batches on which the IRP run took g_0."""
    draws = generator(int(survival.provenance["seed"]), "score", 0)
    return list(dataset.scoring_batches(draws, limit=survival.provenance["score_examples"]))


def recipe_of(survival: Survival) -> Recipe:
    """The recipe of the IRP run's trainings."""
    made = survival.provenance["recipe"]
    return Recipe(**{**made, "milestones": tuple(made["milestones"])})
