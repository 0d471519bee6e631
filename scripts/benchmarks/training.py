"""LeNet-300-100: many cells on all cores or one GPU, and one alone, beside the usual loop."""

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace

import torch

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.training import Member, train_together
from benchmarks.harness import Comparison, Options, Result, one_thread, seconds, side_by_side
from benchmarks.images import first, mnist
from benchmarks.usual_loop import usual_epochs

RECIPE = asp.Recipe(epochs=1, batch_size=128)
CELLS = 8
SPARSITY = 0.95
FEW = 10_000
"""Images in the quick form."""


def measure(options: Options) -> Iterator[Result]:
    """Small networks on MNIST: model-epochs per second beside the usual loop, and together beside one by one."""
    quick = options.quick
    data = images(options.data_root, FEW if quick else None)
    yield from beside_the_usual_loop(data, options, 2 if quick else 5)
    kinds = [
        ("lenet-300-100", asp.load_dataset("digits"), 36),
        ("lenet-300-100", data, 60),
        ("lenet-5", data, 4 if quick else 6),
    ]
    for name, d, steps in kinds:
        yield together(name, d, steps, options, 1 if quick else 5)


def images(root: str | None, count: int | None) -> Dataset:
    """MNIST, or its first images."""
    data = mnist(root)
    return first(data, count) if count else data


def pruned(name: str, data: Dataset, seed: int, device: torch.device) -> Member:
    """A network on the device, with masks."""
    model = asp.build_model(name, data.num_classes, data.input_shape, seed).to(device)
    return Member(model, asp.prune(model, "magnitude", SPARSITY), seed)


def beside_the_usual_loop(data: Dataset, options: Options, repetitions: int) -> Iterator[Comparison]:
    """Eight cells at a time, and one; both against one network in the usual loop, which has all cores.

    The cells have one worker per core, as in a run; on a GPU, which one process fills, they have one worker.
    """
    network = pruned("lenet-300-100", data, 0, options.device)
    usual = usual_epochs(network.model, network.masks, data, RECIPE, options.device)
    baseline = ("usual loop", lambda: 1 / seconds(lambda: next(usual), options.device))
    count = 1 if options.device.type == "cuda" else os.cpu_count() or 1
    shares = [range(CELLS)[first::count] for first in range(count)]
    spawn, given = multiprocessing.get_context("spawn"), (options, len(data.train))

    def many() -> float:
        return CELLS / seconds(lambda: list(workers.map(_train, shares)))

    def alone() -> float:
        return 1 / seconds(lambda: workers.submit(_train, range(1)).result())

    name, unit = f"LeNet-300-100/{data.name}", "model-epochs/s"
    name += f", {len(data.train):,} images" if options.quick else ""
    with ProcessPoolExecutor(count, spawn, _begin, given) as workers:
        yield side_by_side(f"{name}, {CELLS} cells", baseline, many, unit, repetitions, goal=12)
        yield side_by_side(f"{name}, one cell", baseline, alone, unit, repetitions, goal=4)


_DATA: dict[str, Dataset] = {}


def _begin(options: Options, count: int) -> None:
    """Start a worker: one thread, the data in memory, everything imported."""
    torch.set_num_threads(1)
    device = options.device
    _DATA["mnist"] = images(options.data_root, count).to(device)
    few = replace(_DATA["mnist"], train=_DATA["mnist"].test)
    member = pruned("lenet-300-100", few, 0, device)
    asp.train(member.model, few, RECIPE, member.masks)


def _train(seeds: range) -> None:
    """Train each network for one epoch; together if a run would."""
    data = _DATA["mnist"]
    members = [pruned("lenet-300-100", data, seed, data.train.device) for seed in seeds]
    if data.train.device.type == "cuda" and len(members) > 1:
        train_together(members, data, RECIPE)
    else:
        for member in members:
            asp.train(member.model, data, RECIPE, member.masks, member.seed)
    if data.train.device.type == "cuda":
        torch.cuda.synchronize()


def together(name: str, data: Dataset, steps: int, options: Options, repetitions: int) -> Comparison:
    """A pack beside the same networks one after the other, on one thread: what decides where packs are used."""
    here, count = data.to(options.device), 32 if options.device.type == "cuda" else CELLS
    recipe = replace(RECIPE, epochs=-(-steps * RECIPE.batch_size // len(data.train)))
    steps = min(steps, recipe.epochs * -(-len(data.train) // RECIPE.batch_size))

    def rate(work: Callable[[list[Member]], object]) -> float:
        members = [pruned(name, data, seed, options.device) for seed in range(count)]
        return count * steps / seconds(lambda: work(members), options.device)

    def one_by_one(members: list[Member]) -> None:
        for m in members:
            asp.train(m.model, here, recipe, m.masks, m.seed, stop=steps)

    def packed(members: list[Member]) -> None:
        train_together(members, here, recipe, stop=steps)

    with one_thread():
        title = f"{name}/{data.name}, {count} networks together"
        return side_by_side(
            title, ("one by one", lambda: rate(one_by_one)), lambda: rate(packed), "model-steps/s", repetitions
        )
