"""Networks pruned to 95 and 99 %: compact training and inference, beside the same networks with masks.

On a CPU on one thread, as each job of a run computes. Images are noise where no data are at hand; masks are made from
them. The notes tell the share of the dense FLOPs that is left, and where a goal is missed, that says most of why: what
remains is read and written as whole images, and BatchNorm and activations cost time, but no FLOPs.
"""

import copy
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import nn

import autosparse as asp
from autosparse.compaction import Compact
from autosparse.data.split import Dataset
from autosparse.masks import Masks
from autosparse.seeds import generator
from autosparse.training import Execution
from benchmarks.convolutions import RECIPE as CONVOLUTIONS
from benchmarks.convolutions import cifar, first
from benchmarks.harness import Comparison, Options, Result, one_thread, seconds, side_by_side
from benchmarks.training import RECIPE as LINEAR
from benchmarks.training import mnist

CASES = (
    # network, criterion, sparsity, goal of a training step, goal of inference, images trained on
    ("lenet-300-100", "snip", 0.95, 1.7, None, 60_000),
    ("lenet-300-100", "snip", 0.99, 3.0, 7.0, 60_000),
    ("resnet20", "synflow", 0.99, 4.0, 3.0, 512),
    ("resnet20", "snip", 0.99, 2.0, None, 512),
    ("vgg16", "synflow", 0.99, 4.0, 4.0, 128),
    ("resnet18", "synflow", 0.99, 4.0, None, 128),
)


def measure(options: Options) -> Iterator[Result]:
    """Compact networks beside masked ones: images a second, trained and inferred."""
    with one_thread():
        for case in CASES[:4] if options.quick else CASES:
            yield from compared(*case, options)


def compared(
    name: str, criterion: str, sparsity: float, goal: float, inferred: float | None, images: int, options: Options
) -> Iterator[Comparison]:
    """One network under one mask: its training, and its inference if there is a goal for that."""
    whole = mnist(options.data_root) if name.startswith("lenet") else cifar(options.data_root)
    data = first(whole, images).to(options.device)
    model = asp.build_model(name, data.num_classes, data.input_shape).to(options.device)
    masks = asp.prune(model, criterion, sparsity, list(data.scoring_batches(generator(0, "bench"), limit=512)))
    small = asp.compact(model, masks, data.input_shape)
    repetitions = 2 if options.quick else 5
    title = f"{name}/{data.name}, {criterion} {100 * sparsity:g} %"
    notes = {"FLOPs left": small.flops_left, "parameters left": small.parameters[0] / small.parameters[1]}
    yield replace(trained(title, model, masks, data, options, repetitions, goal), notes=notes)
    if inferred:
        yield replace(inference(title, model, masks, small, data, options, repetitions, inferred), notes=notes)


def trained(
    title: str, model: nn.Module, masks: Masks, data: Dataset, options: Options, repetitions: int, goal: float
) -> Comparison:
    """Images a second of one epoch, the time in which the compact network is made included."""
    recipe = replace(LINEAR if "lenet" in title else CONVOLUTIONS, epochs=1, batch_size=128)

    def rate(compact: str) -> float:
        own = copy.deepcopy(model)
        work = lambda: asp.train(own, data, recipe, masks, execution=Execution(compact=compact))  # noqa: E731
        return len(data.train) / seconds(work, options.device)

    return side_by_side(
        f"{title}: training",
        ("dense, with masks", lambda: rate("off")),
        lambda: rate("on"),
        "images/s",
        repetitions,
        goal,
    )


def inference(
    title: str,
    model: nn.Module,
    masks: Masks,
    small: Compact,
    data: Dataset,
    options: Options,
    repetitions: int,
    goal: float,
) -> Comparison:
    """Images a second of batches of 64."""
    x, _ = next(data.train.batches(64))
    passes = 200 if "lenet" in title else 5
    networks = masks.apply_(copy.deepcopy(model)).eval(), small.folded().eval()

    @torch.inference_mode()
    def rate(network: nn.Module) -> float:
        return passes * len(x) / seconds(lambda: [network(x) for _ in range(passes)], options.device)

    return side_by_side(
        f"{title}: inference, batch 64",
        ("dense, with masks", lambda: rate(networks[0])),
        lambda: rate(networks[1]),
        "images/s",
        repetitions,
        goal,
    )
