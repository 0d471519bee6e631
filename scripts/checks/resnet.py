"""ResNet-18 on images of CIFAR's shape: images per second and achieved TFLOP/s, against the usual loop and a matrix
product on the same card; and, if the images are real, accuracies after the same number of epochs."""

import statistics
from dataclasses import replace
from typing import Any

import torch
from benchmarks.convolutions import PEAKS, RECIPE, accuracies, ceiling, peaks_of, pruned
from benchmarks.harness import Options, seconds
from benchmarks.images import cifar, first, noise
from benchmarks.usual_loop import TRANSFORMS, usual_epochs

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.training import Execution
from checks.report import Problem, Report

WAYS = {
    "bfloat16": Execution("bfloat16"),
    "bfloat16, CUDA graphs": Execution("bfloat16", cuda_graphs=True),
    "float32": Execution("float32"),
}


def check(options: Options, report: Report) -> None:
    """Measure peaks, then rates, then accuracies."""
    data = cifar(options.data_root) if not options.quick else noise(16, 8)
    real = data.name != "noise"
    with report.entry("images and network") as found:
        found.update(images=data.name, network=network_name(), transforms=TRANSFORMS)
        found["real images"] = real
    peaks: dict[str, float] = {}
    with report.entry("matrix products") as found:
        names = [name for name in PEAKS if not options.quick or name != "tf32"]
        products = {name: ceiling(name, options.device, 256 if options.quick else None) for name in names}
        peaks.update(peaks_of(products))
        found["TFLOP/s"] = {name: figure.value for name, figure in products.items()}
    for batch_size, images in ((8, 16),) if options.quick else ((128, 12_800), (512, 25_600)):
        with report.entry(f"batch {batch_size}") as found:
            rates(first(data, images), batch_size, options, peaks, found)
    if real:
        with report.entry("accuracy after 2 epochs, ours less the usual loop's") as found:
            few = replace(data, train=first(data, 20_000).train).to(options.device)
            recipe = replace(RECIPE, epochs=2, milestones=(1,))
            figure = accuracies(network_name(), few, recipe, seeds=1)
            found.update(figure.as_json())
            if abs(figure.value) > 15:
                raise Problem(f"the accuracies after 2 epochs are {figure.value:+.1f} points apart")


def network_name() -> str:
    """The name of torchvision's ResNet-18, or of ours if torchvision is absent."""
    return "resnet18" if TRANSFORMS == "torchvision" else "checks.networks:resnet18"


def rates(data: Dataset, batch_size: int, options: Options, peaks: dict[str, float], found: dict[str, Any]) -> None:
    """Measure each way and the usual loop in turns, in images per second and TFLOP/s."""
    device, recipe, name = options.device, replace(RECIPE, epochs=1, batch_size=batch_size), network_name()
    here, (model, masks) = data.to(device), pruned(name, data, 0, device)
    usual = usual_epochs(*pruned(name, data, 0, device), data, recipe, device)
    works = {"usual loop": lambda: next(usual)}
    for way, execution in WAYS.items():
        if device.type == "cuda" or not execution.cuda_graphs:
            works[way] = lambda execution=execution: asp.train(model, here, recipe, masks, execution=execution)
    repetitions = 1 if options.quick else 4
    took: dict[str, list[float]] = {way: [] for way in works}
    for _ in range(repetitions):
        for way, work in works.items():
            took[way].append(seconds(work, device))
            measured = {way: times[1:] or times for way, times in took.items() if times}  # the first is a warm-up
            found.update(_figures(measured, model, data, peaks))


def _figures(
    took: dict[str, list[float]], model: torch.nn.Module, data: Dataset, peaks: dict[str, float]
) -> dict[str, Any]:
    flops = 3 * sum(asp.analysis.flops(model, data.input_shape).values())
    found: dict[str, Any] = {"images": len(data.train), "FLOPs per image": flops, "ways": {}}
    for way, times in took.items():
        rate = len(data.train) / statistics.median(times)
        peak = peaks["bfloat16" if way.startswith("bfloat16") else "float32"]
        found["ways"][way] = {
            "seconds": times,
            "images/s": rate,
            "achieved TFLOP/s": rate * flops / 1e12,
            "share of the matrix product's": rate * flops / 1e12 / peak,
            "times the usual loop": statistics.median(took["usual loop"]) / statistics.median(times),
        }
    return found
