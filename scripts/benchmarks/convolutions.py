"""Convolutional networks on images of CIFAR's shape: images per second and FLOP/s, beside the usual loop.

Both train the same pruned network with SGD, momentum, and CIFAR's crops and flips. On a CPU the images are noise, and
both train on one thread, as each job of a run does. On a GPU the accuracies after equally many epochs are compared too.
FLOPs are those of the dense layers, three times the forward pass's: masks save none.
"""

import itertools
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace

import torch
from torch import nn

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.masks import Masks
from autosparse.training import Execution, accuracy
from benchmarks.harness import Comparison, Figure, Options, Result, one_thread, seconds, side_by_side
from benchmarks.images import cifar, first, noise
from benchmarks.usual_loop import usual_epochs

RECIPE = asp.Recipe(optimizer="momentum", lr=0.1, milestones=(5, 8), drop=0.1, epochs=10, augmentation="crop-flip")
GOALS = {"resnet18": 8.0}
"""Goals on a GPU; there are none on a CPU or for other networks."""
PEAKS = {
    "float32": (torch.float32, "highest"),
    "tf32": (torch.float32, "high"),
    "bfloat16": (torch.bfloat16, "highest"),
}
"""Matrix products: their numbers, and the precision in which PyTorch may multiply float32 ones."""


def measure(options: Options) -> Iterator[Result]:
    """Convolutional networks, pruned to 90 %, beside a worker data loader in float32 and channels first."""
    with one_thread():
        yield from _measure(options)


def _measure(options: Options) -> Iterator[Result]:
    cuda = options.device.type == "cuda"
    data = cifar(options.data_root) if cuda else noise(1024, 1)
    products = {name: ceiling(name, options.device) for name in PEAKS if cuda or name != "tf32"}
    yield from products.values()
    peaks = peaks_of(products)
    repetitions = 2 if options.quick else 5
    for model in ("resnet20",) if options.quick and not cuda else ("resnet20", "resnet18"):
        few = 100 if cuda else 3 if options.quick else 4
        steps = few if options.quick or not cuda else None
        for batch_size, execution in itertools.product((128, 512) if cuda else (128,), executions(options)):
            images = len(data.train) if steps is None else steps * batch_size // (4 if model == "resnet18" else 1)
            yield speed(model, first(data, images), batch_size, execution, options.device, peaks, repetitions)
    if cuda and not options.quick:
        for model in ("resnet20", "resnet18"):
            yield accuracies(model, data.to(options.device), RECIPE, seeds=3)


def executions(options: Options) -> list[Execution]:
    """The default execution and, unless the run is quick, an optional one."""
    other = Execution(cuda_graphs=True) if options.device.type == "cuda" else Execution("bfloat16")
    return [Execution()] if options.quick else [Execution(), other]


def pruned(name: str, data: Dataset, seed: int, device: torch.device) -> tuple[nn.Module, Masks]:
    """A network on the device, with masks at 90 %."""
    model = asp.build_model(name, data.num_classes, data.input_shape, seed).to(device)
    return model, asp.prune(model, "magnitude", 0.9)


def speed(
    name: str,
    data: Dataset,
    batch_size: int,
    execution: Execution,
    device: torch.device,
    peaks: dict[str, float],
    repetitions: int,
) -> Comparison:
    """Images per second of whole epochs, in turns."""
    recipe = replace(RECIPE, epochs=1, batch_size=batch_size)
    here = data.to(device)
    ours, masks = pruned(name, data, 0, device)
    usual = usual_epochs(*pruned(name, data, 0, device), data, recipe, device)

    def rate(epoch: Callable[[], object]) -> float:
        return len(data.train) / seconds(epoch, device)

    precision = execution.precision_on(device)
    compared = side_by_side(
        f"{name}, batch {batch_size}, {precision}" + (", CUDA graphs" if execution.cuda_graphs else ""),
        ("usual loop, float32", lambda: rate(lambda: next(usual))),
        lambda: rate(lambda: asp.train(ours, here, recipe, masks, execution=execution)),
        "images/s",
        repetitions,
        GOALS.get(name) if device.type == "cuda" else None,
    )
    per_image = 3 * sum(asp.analysis.flops(ours, data.input_shape).values())
    achieved = {
        side: statistics.median(rates) * per_image / 1e12
        for side, rates in (("ours", compared.rates), ("theirs", compared.baseline_rates))
    }
    notes = {
        "data": data.name,
        "FLOPs per image": per_image,
        "achieved TFLOP/s": achieved,
        "share of the matrix product's": achieved["ours"] / peaks[precision],
    }
    return replace(compared, notes=notes)


def accuracies(name: str, data: Dataset, recipe: asp.Recipe, seeds: int) -> Figure:
    """Test accuracy after a whole training, ours less the usual loop's, mean over seeds."""
    device, found = data.train.device, {"ours": [], "theirs": []}
    for seed in range(seeds):
        model, masks = pruned(name, data, seed, device)
        found["ours"].append(asp.train(model, data, recipe, masks, seed).last)
        model, masks = pruned(name, data, seed, device)
        usual = usual_epochs(model, masks, data, recipe, device)
        for _ in range(recipe.epochs):
            next(usual)
        found["theirs"].append(accuracy(model, data.test))
    difference = statistics.mean(found["ours"]) - statistics.mean(found["theirs"])
    return Figure(
        f"{name}, {data.name}: accuracy after {recipe.epochs} epochs, ours less the usual loop's, {seeds} seeds",
        difference,
        "points",
        "within 0.3",
        abs(difference) <= 0.3,
        found,
    )


def peaks_of(products: dict[str, Figure]) -> dict[str, float]:
    """The peaks with which convolutions are compared, by precision; on a GPU, cuDNN computes float32 ones in TF32."""
    single = products.get("tf32", products["float32"])
    return {"float32": single.value, "bfloat16": products["bfloat16"].value}


def ceiling(name: str, device: torch.device, side: int | None = None) -> Figure:
    """The best rate of a large matrix product named in ``PEAKS``, which no convolution exceeds."""
    side = side or (8192 if device.type == "cuda" else 1024)
    dtype, precision = PEAKS[name]
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in range(2))

    def products() -> None:
        for _ in range(10):
            a @ b

    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        products()
        best = min(seconds(products, device) for _ in range(3))
    finally:
        torch.set_float32_matmul_precision(before)
    return Figure(f"matrix product of side {side}, {name}", 10 * 2 * side**3 / best / 1e12, "TFLOP/s")
