"""Pruning LeNet-300-100 with a scorer that works in rounds, on one thread, beside FORCE.

The scorers are fitted here on a short IRP run, in half a minute: how fast they prune does not depend on how well they
learned. The images are MNIST if the data root has it, else the embedded digits, for which the network is far smaller.
"""

from collections.abc import Callable, Iterator

import torch

import autosparse as asp
from autosparse.criteria import prune
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.seeds import generator
from benchmarks.harness import Figure, Options, Result, one_thread, seconds

MODEL, SPARSITY = "lenet-300-100", 0.99
GOALS = {"context": 2.0, "prospect": 5.0}
"""Seconds, all ten rounds included."""


def measure(options: Options) -> Iterator[Result]:
    """Seconds that a scorer takes for ten rounds, without training steps and with ten in each."""
    with one_thread():
        yield from _measured(options)


def _measured(options: Options) -> Iterator[Result]:
    dataset = _images(options)
    survival = asp.rewind_prune(_network(dataset), dataset, "magnitude", iterations=3, recipe=asp.Recipe(epochs=1))
    survival.provenance["model"] = MODEL
    scorers = {
        name: asp.fit_scorer(survival, "linear", [name], rows=100_000, examples=1024, datasets={dataset.name: dataset})
        for name in GOALS
    }
    repetitions = 2 if options.quick else 5
    batches = list(dataset.scoring_batches(generator(0, "bench"), SCORE_EXAMPLES))

    def took(criterion: str, **given: object) -> Callable[[], object]:
        return lambda: prune(_network(dataset), criterion, SPARSITY, batches, **given)

    ways = {name: took("autos", scorer=scorer) for name, scorer in scorers.items()}
    ways |= {"early": took("early", steps=10), "force": took("force"), "synflow": took("synflow")}
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            times[name].append(seconds(way))
    for name, measured in times.items():
        goal = GOALS.get(name)
        words, met = ("", None) if goal is None else (f"below {goal:g}", min(measured) < goal)
        yield Figure(
            f"{MODEL}/{dataset.name} pruned to {SPARSITY:.0%} by {name}",
            min(measured),
            "s",
            words,
            met,
            {"all": measured},
        )


def _network(dataset: Dataset) -> torch.nn.Module:
    return asp.build_model(MODEL, dataset.num_classes, dataset.input_shape)


def _images(options: Options) -> Dataset:
    try:
        return asp.load_dataset("mnist", options.data_root)
    except AutosparseError:  # it is not there
        return asp.load_dataset("digits")
