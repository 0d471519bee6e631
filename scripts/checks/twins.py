"""Compute the same mask or training on a device and, in separate processes, on the CPU."""

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import numpy as np
import torch

import autosparse as asp
from autosparse.criteria import CRITERIA, one_thread
from autosparse.seeds import generator
from autosparse.training import Execution
from checks.report import Problem
from checks.subjects import Arrays, Subject, from_arrays, made_up_survival, rounded, to_arrays

SPARSITY, EXAMPLES = 0.9, 128
RECIPE = asp.Recipe(epochs=1, batch_size=64)
SINGLE = Execution("float32")
SHORTER: dict[str, dict[str, Any]] = {
    "force": {"rounds": 10}, "iter-snip": {"rounds": 10}, "synflow": {"rounds": 20}, "lth": {"rounds": 2},
    "px": {"rounds": 10}, "ntk-sap": {"rounds": 5, "draws": 2}, "synflow-l2": {"rounds": 20},
    "ltr": {"rounds": 2}, "snip-iter": {"rounds": 2}, "prospr-first-order": {"steps": 16},
    "set": {"every": 1}, "rigl": {"every": 1}, "gmp": {"every": 1},
}  # fmt: skip
"""Options that make criteria take less time without changing how they compute."""
IRP = "irp"


@dataclass(frozen=True)
class Case:
    """A criterion, or IRP, with options."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def needs(self) -> frozenset[str]:
        """What the criterion needs."""
        return frozenset({"data", "gradients", "rounds", "training"}) if self.name == IRP else CRITERIA[self.name].needs

    @property
    def in_double(self) -> bool:
        """Whether it can be computed in float64: it neither trains nor asks a scorer."""
        return not self.needs & {"training", "scorer"}

    @property
    def by_channel(self) -> bool:
        """Whether it prunes whole channels."""
        return "channels" in self.needs

    def __str__(self) -> str:
        return " ".join([self.name, *(name for name, _ in self.options)])


def cases() -> list[Case]:
    """Every criterion, SNIP on weights that are drawn anew, and IRP."""
    plain = [Case(name, tuple(SHORTER.get(name, {}).items())) for name in CRITERIA]
    return [*plain, Case("snip", (("reinit", True),)), Case(IRP)]


def masks_of(subject: Subject, case: Case, device: torch.device, kind: str = "float32") -> torch.Tensor:
    """The masks as one flat bool tensor on the CPU.

    :param kind: ``float32``, ``float64``, or ``rounded``: in float32, with rounded weights.
    """
    model, data = subject.network(device), subject.data.to(device)
    if kind == "rounded":
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(rounded(parameter, subject.bits))
    if case.name == IRP:
        survival = asp.rewind_prune(
            model,
            data,
            iterations=3,
            final_density=1 - SPARSITY,
            recipe=RECIPE,
            score_examples=EXAMPLES,
            execution=SINGLE,
        )
        return torch.cat([count.cpu().flatten() == 3 for count in survival.survived.values()])
    given = dict(case.options)
    if "training" in CRITERIA[case.name].options:
        given["training"] = asp.Trainer(data, RECIPE, execution=SINGLE)
    if "scorer" in CRITERIA[case.name].options:
        with one_thread(torch.device("cpu")):  # the same scorer in every process
            given["scorer"] = asp.fit_scorer(made_up_survival(3000), epochs=2, batch_size=256)
    dtype = torch.float64 if kind == "float64" else torch.float32
    batches = [(x.to(dtype), y) for x, y in data.scoring_batches(generator(0, "check"), EXAMPLES)]
    masks = asp.prune(model.to(dtype), case.name, SPARSITY, batches, **given)
    return torch.cat([mask.cpu().flatten() for mask in masks.values()])


def trained(subject: Subject, epochs: int, device: torch.device, precision: str) -> dict[str, list[float]]:
    """Losses and accuracies of a short training of a network that is pruned by magnitude."""
    model = subject.network(device)
    masks = asp.prune(model, "magnitude", SPARSITY)
    recipe = asp.Recipe(epochs=epochs, batch_size=64)
    history = asp.train(model, subject.data.to(device), recipe, masks, execution=Execution(precision))
    wrong = [name for name, mask in masks.items() if model.get_parameter(name).detach()[~mask].any()]
    if wrong:
        raise Problem(f"pruned weights of {wrong[0]} are not 0 after the training")
    return {"train_loss": history.train_loss, "test_accuracy": history.test_accuracy}


@contextmanager
def cpu(chosen: list[Subject], processes: int) -> Iterator[Executor]:
    """A pool of processes that compute on the CPU, on one thread each."""
    known = [(subject.model, to_arrays(subject.data), subject.bits) for subject in chosen]
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _begin, (known,))
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


_CHOSEN: list[Subject] = []


def _begin(known: list[tuple[str, Arrays, int]]) -> None:
    torch.set_num_threads(1)
    _CHOSEN[:] = [Subject(model, from_arrays(arrays), bits) for model, arrays, bits in known]


def masks_on_cpu(number: int, case: Case, kind: str) -> np.ndarray:
    """:func:`masks_of` for the subject with that number, in a process of the pool."""
    return masks_of(_CHOSEN[number], case, torch.device("cpu"), kind).numpy()


def trained_on_cpu(number: int, epochs: int) -> dict[str, list[float]]:
    """:func:`trained` for the subject with that number, in a process of the pool."""
    return trained(_CHOSEN[number], epochs, torch.device("cpu"), "float32")
