"""CUDA graphs beside eager steps: the same training, and steps per second."""

import logging
import math
from typing import Any

import torch
from benchmarks.harness import Options, seconds, side_by_side
from benchmarks.images import noise

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.training import Execution
from checks.packs import AUGMENTED, maker
from checks.report import Problem, Report, Skipped
from checks.subjects import few

FLOOR = {"float32": 1e-3, "bfloat16": 1e-2}
"""Relative difference of mean losses that is always allowed, even if two eager trainings differ less."""


class Warnings(logging.Handler):
    """Collects warnings, because a capture that fails logs one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text."""
        self.found.append(record.getMessage())


def check(options: Options, report: Report) -> None:
    """Compare each kind of network in each precision."""
    images = 64 if options.quick else 6400
    digits, colours = few(asp.load_dataset("digits"), images, 50), few(noise(images, 50), images, 50)
    warnings = Warnings()
    logging.getLogger("autosparse").addHandler(warnings)
    kinds = [("lenet-300-100", digits), ("lenet-5", colours), ("resnet20", digits if options.quick else colours)]
    for model, data in kinds:
        for precision in FLOOR:
            with report.entry(f"{model}/{data.name} in {precision}") as found:
                warnings.found.clear()
                found["warnings"] = warnings.found
                beside_eager(model, data.to(options.device), precision, found)
                judge(found, FLOOR[precision])
                if options.device.type != "cuda":
                    raise Skipped("a CPU has no graphs: both sides ran eagerly")


def beside_eager(model: str, data: Dataset, precision: str, found: dict[str, Any]) -> None:
    """Train three times from the same start, two of these eagerly; then time both ways."""
    eager, graphed = Execution(precision), Execution(precision, cuda_graphs=True)
    first, again, other = (trained(model, data, execution) for execution in (eager, eager, graphed))
    found["loss"] = {"eager": first[0], "eager again": again[0], "graph": other[0]}
    found["largest difference of a weight"] = {
        "eager again": apart(first[1], again[1]),
        "graph": apart(first[1], other[1]),
    }
    steps = math.ceil(len(data.train) / AUGMENTED.batch_size)

    def rate(execution: Execution) -> float:
        return steps / trained(model, data, execution)[2]

    if data.train.device.type == "cuda":
        found["speed"] = side_by_side(
            model, ("eager", lambda: rate(eager)), lambda: rate(graphed), "steps/s", repetitions=2
        ).as_json()


def trained(model: str, data: Dataset, execution: Execution) -> tuple[float, dict[str, torch.Tensor], float]:
    """Train a pruned network for one epoch; return its mean loss, its weights, and the seconds it took."""
    network = maker(model, data)(0)
    masks = asp.prune(network, "magnitude", 0.9)
    history: list[asp.History] = []
    took = seconds(
        lambda: history.append(asp.train(network, data, AUGMENTED, masks, execution=execution)), data.train.device
    )
    return history[0].train_loss[-1], {name: value.detach() for name, value in network.named_parameters()}, took


def apart(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of a weight."""
    return max(float((value - other[name]).abs().max()) for name, value in one.items())


def judge(found: dict[str, Any], floor: float) -> None:
    """Raise if the capture failed, or if the graph's training differs more than a second eager training does."""
    if found["warnings"]:
        raise Problem(found["warnings"][0])
    loss = found["loss"]
    allowed = max(floor * loss["eager"], 3 * abs(loss["eager again"] - loss["eager"]))
    if abs(loss["graph"] - loss["eager"]) > allowed:
        raise Problem(f"the graph's mean loss is {loss['graph']:.5g}, {loss['eager']:.5g} eagerly")
