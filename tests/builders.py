"""Makes what many tests begin with, and compares what they end with."""

import torch
from torch import nn

from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.features import Standardisation
from autosparse.data import load_dataset
from autosparse.experiment.load import load_experiment, parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.schema import Experiment
from autosparse.experiment.tasks import Cell
from autosparse.irp import Survival
from autosparse.models import build_model


class Killed(BaseException):
    """What a killed process does not catch."""


def names(folder) -> list[str]:
    """The names of what is in a folder, sorted."""
    return sorted(path.name for path in folder.iterdir())


def plan_from(**content) -> Plan:
    """The plan of an experiment file with this content; ``name`` may be left out."""
    return make_plan(parse_experiment({"name": "x", **content}, "x.yaml"))


def experiment_from(folder, text) -> Experiment:
    """Write a file with this text into a folder, and return its experiment."""
    path = folder / "small.yaml"
    path.write_text(text)
    return load_experiment(path).experiment


def a_grid(**fields) -> dict:
    """The grid of an experiment file, of the cell that :func:`a_cell` makes; ``fields`` say what is different."""
    usual = {
        "models": ["lenet-300-100"],
        "datasets": ["digits"],
        "methods": ["snip"],
        "sparsities": [0.9],
        "seeds": [0],
    }
    return {**usual, **fields}


def a_cell(criterion="snip", sparsity=0.9, seed=0, **fields) -> Cell:
    """A cell of LeNet-300-100 on digits, pruned to 90 % by SNIP, seed 0; ``fields`` say what is different."""
    network = {"model": "lenet-300-100", "dataset": "digits"}
    return Cell(**{**network, "criterion": criterion, "sparsity": sparsity, "seed": seed, **fields})


ENVIRONMENT = {"git_commit": "abc", "host": "here", "versions": {"torch": "2.0"}}
"""Where a result was made, as its record says."""
DIRTY = ENVIRONMENT | {"git_commit": "abc+dirty"}
"""The same place, with changes that were not committed."""


def a_result(accuracy=90.0, **fields) -> dict:
    """The result of a cell that was trained for an epoch; ``fields`` say what is different."""
    usual = {
        "test_accuracy": accuracy, "best_accuracy": accuracy + 1,
        "history": {"train_loss": [1.0], "test_accuracy": [accuracy]},
        "sparsity": 0.9, "kept": 10, "total": 100, "density_by_layer": {}, "collapsed_layers": [],
        "seconds": 1.5, "seconds_score": 0.5, "seconds_train": 1.0,
    }  # fmt: skip
    return usual | fields


def lenet(seed=0) -> nn.Module:
    """LeNet-300-100 for the digits, the same weights every time."""
    return build_model("lenet-300-100", 10, (1, 8, 8), seed)


def state(model) -> dict:
    """A copy of the parameters and buffers of a network."""
    return {name: value.clone() for name, value in model.state_dict().items()}


def same_tensors(a, b) -> bool:
    """Whether both have the same names, and the same tensor under each."""
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())


def same_network(a, b) -> bool:
    """Whether two networks have the same parameters and buffers."""
    return same_tensors(a.state_dict(), b.state_dict())


def a_survival(*shape, count=lambda param: (9 * param.abs()).int(), layer="w", iterations=20) -> Survival:
    """A survival dataset of one layer, of normal draws; ``count`` says how often a weight survived."""
    param, grad = torch.randn(2, *shape, generator=torch.Generator().manual_seed(0))
    return Survival({layer: param}, {layer: grad}, {layer: count(param)}, {"iterations": iterations})


def survival_of_largest(seed=3, grad=torch.zeros_like, **provenance) -> Survival:
    """A survival dataset as if the largest weights of LeNet-300-100 on digits had survived four iterations.

    :param grad: makes the gradients of a layer from its weights.
    """
    param = {name: own.detach().clone() for name, own in lenet(seed).named_parameters() if own.dim() > 1}
    count = {name: (own.abs() * own.shape[1] ** 0.5 * 2).clamp(max=4).int() for name, own in param.items()}
    about = {
        "iterations": 4, "model": "lenet-300-100", "dataset": "digits", "seed": seed, "score_examples": 200,
        "dataset_fingerprint": load_dataset("digits").fingerprint, "gradient_mode": "eval",
    }  # fmt: skip
    return Survival(param, {name: grad(own) for name, own in param.items()}, count, about | provenance)


def random_batches(shape, classes, sizes) -> list:
    """Batches of these sizes, of normal draws of a shape, with random labels."""
    draws = torch.Generator().manual_seed(1)
    return [(torch.randn(n, *shape, generator=draws), torch.randint(classes, (n,), generator=draws)) for n in sizes]


def unfitted_scorer(report=(), provenance=()) -> Scorer:
    """A scorer of ``param`` and ``grad`` that has learned nothing: an MLP as it was drawn."""
    scaling, network = Standardisation((0.0, 0.0), (1.0, 1.0)), build_backbone("mlp", 2, 0)
    return Scorer("mlp", ("param", "grad"), scaling, network, None, dict(report), dict(provenance))


def run_of_cell(method="snip", sparsity=0.9, seed=0, accuracy=90.0, *, epochs=10, scorer=None, tags=(), **metrics):
    """The finished run of a cell, as it is read from MLflow."""
    from autosparse.results.runs import Run  # here: not every test needs MLflow

    told = {"method": method, "model": "m", "dataset": "d", "sparsity": str(sparsity), "seed": str(seed)}
    params = {"criterion": method, "recipe.epochs": str(epochs)} | ({"scorer": scorer} if scorer else {})
    run_id = f"{method}-{sparsity}-{seed}-{epochs}"
    return Run(run_id, "", told | dict(tags), params, {"test_accuracy": accuracy, **metrics})


def write_run(client, experiment_id, status="FINISHED", end=None, params=(), metrics=(), **options) -> str:
    """Write a run to MLflow, and return its id; one with the status ``RUNNING`` has no end."""
    run_id = client.create_run(experiment_id, **options).info.run_id
    for name, value in dict(params).items():
        client.log_param(run_id, name, value)
    for name, value in dict(metrics).items():
        client.log_metric(run_id, name, value)
    if status != "RUNNING":
        client.set_terminated(run_id, status, end_time=end)
    return run_id
