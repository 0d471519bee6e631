"""Networks pruned to 95 and 99 %: compact training and inference, beside the same networks with masks.

On a CPU both compute on one thread, as each job of a run does. Images are noise if no data are at hand; images of
CIFAR's shape are noise in the quick form, too, because it takes seconds to decode real ones. The masks are made from
the same images. The notes tell the share of the dense FLOPs that is left. That explains most of a missed goal: what
remains is read and written as whole images, and BatchNorm and activations cost time, but no FLOPs. For inference,
BatchNorm is folded into the compact network, and not into the masked one.
"""

import copy
import multiprocessing
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

import autosparse as asp
from autosparse.compaction import Compact
from autosparse.data.split import Dataset
from autosparse.masks import Masks
from autosparse.seeds import generator
from autosparse.training import Execution, Recipe
from benchmarks.convolutions import RECIPE as CONVOLUTIONS
from benchmarks.harness import Comparison, Figure, Options, Result, one_thread, seconds, side_by_side
from benchmarks.images import cifar, first, mnist, noise
from benchmarks.training import RECIPE as LINEAR


class Case(NamedTuple):
    """A network under a mask, with the goals for its training and, if that is measured, its inference."""

    network: str
    criterion: str
    sparsity: float
    goal: float
    inference_goal: float | None
    images: int
    """Number of images trained on."""

    @property
    def linear(self) -> bool:
        """Whether it is the network of linear layers, on MNIST."""
        return self.network.startswith("lenet")


CASES = (
    Case("lenet-300-100", "snip", 0.95, 1.7, None, 60_000),
    Case("lenet-300-100", "snip", 0.99, 3.0, 7.0, 60_000),
    Case("resnet20", "synflow", 0.99, 4.0, 3.0, 2560),
    Case("resnet20", "snip", 0.99, 2.0, None, 2560),
    Case("vgg16", "synflow", 0.99, 4.0, 4.0, 512),
    Case("resnet18", "synflow", 0.99, 4.0, None, 512),
)
FEW = 384
"""Images of convolutional networks if there is little time; the first steps, which are slow, then weigh more."""


@dataclass(frozen=True)
class Subject:
    """The network of a case, its masks, and its compact form."""

    case: Case
    data: Dataset
    model: nn.Module
    masks: Masks
    small: Compact

    @property
    def title(self) -> str:
        """Network, data and masks in words."""
        case = self.case
        return f"{case.network}/{self.data.name}, {case.criterion} {100 * case.sparsity:g} %"

    @property
    def recipe(self) -> Recipe:
        """One epoch of the network's usual training."""
        return replace(LINEAR if self.case.linear else CONVOLUTIONS, epochs=1, batch_size=128)

    @property
    def left(self) -> dict[str, float]:
        """Shares of the dense network that are left."""
        parameters, whole = self.small.parameters
        return {"FLOPs left": self.small.flops_left, "parameters left": parameters / whole}


def measure(options: Options) -> Iterator[Result]:
    """Compact networks beside masked ones: images a second, trained and inferred."""
    repetitions = 2 if options.quick else 5
    with one_thread():
        for case in CASES[1:3] if options.quick else CASES:
            images = min(case.images, FEW) if options.quick and not case.linear else case.images
            subject = made(case._replace(images=images), options)
            yield replace(trained(subject, options.device, repetitions), notes=subject.left)
            if case.inference_goal:
                yield replace(inferred(subject, options.device, repetitions), notes=subject.left)
            if options.device.type == "cpu" and Path("/proc/self/clear_refs").exists():
                yield remembered(subject)


def made(case: Case, options: Options) -> Subject:
    """Prune and compact the network of a case."""
    if case.linear:
        whole = mnist(options.data_root)
    else:
        whole = noise(case.images, 1) if options.quick else cifar(options.data_root)
    data = first(whole, case.images).to(options.device)
    model = asp.build_model(case.network, data.num_classes, data.input_shape).to(options.device)
    batches = list(data.scoring_batches(generator(0, "bench"), limit=512))
    masks = asp.prune(model, case.criterion, case.sparsity, batches)
    return Subject(case, data, model, masks, asp.compact(model, masks, data.input_shape))


def trained(subject: Subject, device: torch.device, repetitions: int) -> Comparison:
    """Images a second of one epoch, the time in which the compact network is made included."""

    def rate(compact: str) -> float:
        own, execution = copy.deepcopy(subject.model), Execution(compact=compact)
        epoch = lambda: asp.train(own, subject.data, subject.recipe, subject.masks, execution=execution)  # noqa: E731
        return len(subject.data.train) / seconds(epoch, device)

    return side_by_side(
        f"{subject.title}: training",
        ("dense, with masks", lambda: rate("off")),
        lambda: rate("on"),
        "images/s",
        repetitions,
        subject.case.goal,
    )


def remembered(subject: Subject) -> Figure:
    """Peak of memory of an epoch trained compact, over that of one trained with masks, each in its own process."""
    spawn, ways = multiprocessing.get_context("spawn"), ("off", "on")
    with spawn.Pool(len(ways), maxtasksperchild=1) as processes:  # at the same time: this is not timed
        off, on = processes.starmap(peak, [(subject, compact) for compact in ways], chunksize=1)
    share = on / off
    notes = {"MiB, with masks": off, "MiB, compact": on}
    return Figure(f"{subject.title}: peak of memory, of the dense one's", share, "", "at most 1", share <= 1, notes)


def peak(subject: Subject, compact: str) -> float:
    """MiB that an epoch takes at its peak, beyond what was there before it (Linux)."""
    torch.set_num_threads(1)
    Path("/proc/self/clear_refs").write_text("5")  # the highest mark begins anew
    before = resident("VmRSS")
    asp.train(subject.model, subject.data, subject.recipe, subject.masks, execution=Execution(compact=compact))
    return resident("VmHWM") - before


def resident(what: str) -> float:
    """A figure of this process's memory by its name in /proc, in MiB."""
    found = re.search(rf"{what}:\s*(\d+)", Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024


def inferred(subject: Subject, device: torch.device, repetitions: int) -> Comparison:
    """Images a second of batches of 64."""
    x, _ = next(subject.data.train.batches(64))
    passes = 200 if subject.case.linear else 5
    masked = subject.masks.apply_(copy.deepcopy(subject.model)).eval()
    small = subject.small.folded().eval()

    @torch.inference_mode()
    def rate(network: nn.Module) -> float:
        return passes * len(x) / seconds(lambda: [network(x) for _ in range(passes)], device)

    return side_by_side(
        f"{subject.title}: inference, batch 64",
        ("dense, with masks", lambda: rate(masked)),
        lambda: rate(small),
        "images/s",
        repetitions,
        subject.case.inference_goal,
    )
