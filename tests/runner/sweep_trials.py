"""Trials of sweeps on made-up survival data, in this process."""

from builders import a_survival

from autosparse.experiment.space import SweepTask
from autosparse.runner.work.sweep_trial import Trial, run_trial

SPACE = {"lr": {"uniform": (0.001, 0.1)}}
DOWNSTREAM = {"model": "lenet-300-100", "dataset": "digits", "sparsity": 0.9, "recipe": {"epochs": 1}}


def counts(param):
    return (param.abs() * 8).round().clamp(max=20).int()


SURVIVAL = a_survival(4000, count=counts, layer="fc.weight")


def sweep_of(**changes):
    content = {"irp": ("some",), "fit": {"epochs": 4, "batch_size": 256}, "space": SPACE, **changes}
    return SweepTask.model_validate(content, strict=False)


def trial_of(store, sweep, lr=0.01):
    return Trial(store, sweep, {"lr": lr})


def carry_out(trial, report=lambda numbers: None, dataset=None, retries=0):
    run_trial(trial, lambda: [SURVIVAL], dataset, "cpu", {}, report, retries)
