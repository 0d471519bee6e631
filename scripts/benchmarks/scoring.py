"""Pruning LeNet-300-100 with a scorer that works in rounds, on one thread, beside hand-made ways in rounds.

The scorers are fitted here on a short IRP run, in half a minute: how fast they prune does not depend on how well they
learned. The fastest repetition counts, because the first is a warm-up. The images are MNIST if the data root has it,
else the embedded digits, for which the network is far smaller.
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
from benchmarks.images import first

MODEL, SPARSITY = "lenet-300-100", 0.99
GOALS = {"context": 2.0, "prospect": 5.0}
"""Seconds, all ten rounds included."""
FEW = 12_800
"""Images that the scorers learn from in the quick form."""


def measure(options: Options) -> Iterator[Result]:
    """Seconds that a scorer takes for ten rounds, without training steps and with ten in each."""
    with one_thread():
        dataset = _images(options)
        learned = first(dataset, FEW) if options.quick else dataset
        ways = pruning_by(dataset, fitted(learned))
        yield from timed(f"{MODEL}/{dataset.name}", ways, 2 if options.quick else 5)


def fitted(dataset: Dataset) -> dict[str, asp.Scorer]:
    """Fit the scorers to a short IRP run."""
    survival = asp.rewind_prune(_network(dataset), dataset, "magnitude", iterations=3, recipe=asp.Recipe(epochs=1))
    survival.provenance["model"] = MODEL
    return {
        name: asp.fit_scorer(survival, "linear", [name], rows=100_000, examples=1024, datasets={dataset.name: dataset})
        for name in GOALS
    }


def pruning_by(dataset: Dataset, scorers: dict[str, asp.Scorer]) -> dict[str, Callable[[], object]]:
    """What prunes a new network by each scorer, and by hand-made ways."""
    batches = list(dataset.scoring_batches(generator(0, "bench"), SCORE_EXAMPLES))

    def way(criterion: str, **given: object) -> Callable[[], object]:
        return lambda: prune(_network(dataset), criterion, SPARSITY, batches, **given)

    ways = {name: way("autos", scorer=scorer) for name, scorer in scorers.items()}
    return ways | {"early": way("early", steps=10), "force": way("force"), "synflow": way("synflow")}


def timed(network: str, ways: dict[str, Callable[[], object]], repetitions: int) -> Iterator[Figure]:
    """Time the ways in turns."""
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(repetitions):
        for name, way in ways.items():
            times[name].append(seconds(way))
    for name, measured in times.items():
        goal = GOALS.get(name)
        words, met = ("", None) if goal is None else (f"below {goal:g}", min(measured) < goal)
        yield Figure(f"{network} pruned to {SPARSITY:.0%} by {name}", min(measured), "s", words, met, {"all": measured})


def _network(dataset: Dataset) -> torch.nn.Module:
    return asp.build_model(MODEL, dataset.num_classes, dataset.input_shape)


def _images(options: Options) -> Dataset:
    try:
        return asp.load_dataset("mnist", options.data_root)
    except AutosparseError:  # it is not there
        return asp.load_dataset("digits")
