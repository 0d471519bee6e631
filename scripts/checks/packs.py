"""Compare networks trained together with each of them alone: losses, masks, speed, and how many a run would take."""

from collections.abc import Callable
from typing import Any

import torch
from benchmarks.harness import Options, seconds, side_by_side
from benchmarks.images import noise

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.training import Execution, History, Member, train_together, why_not_together
from autosparse.training.group_size import group_size
from checks.report import Problem, Report
from checks.subjects import few, rounded

NEAR = {"float32": 0.02, "bfloat16": 0.05}
"""Relative difference of a mean loss from the lone network's that is allowed on top of twice what rounding changes."""
AUGMENTED = asp.Recipe(optimizer="momentum", lr=0.05, epochs=1, batch_size=64, augmentation="crop-flip")


def check(options: Options, report: Report) -> None:
    """Compare each kind of network in each precision; then see what a run would decide."""
    count, images = (2, 64) if options.quick else (8, 1280)
    for model, data, recipe in kinds(images):
        data = data.to(options.device)
        for precision in NEAR:
            with report.entry(f"{count} of {model}/{data.name} in {precision}") as found:
                beside_alone(model, data, recipe, Execution(precision), count, found)
                allowed = NEAR[precision] + 2 * found["off with rounded weights"]
                if found["off"] > allowed:
                    raise Problem(
                        f"mean losses are off by {found['off']:.2%}, more than {allowed:.2%}, from those alone"
                    )
        with report.entry(f"how many of {model}/{data.name} a run takes together") as found:
            make = maker(model, data)
            found["networks"] = group_size(make, data, recipe, Execution())


def kinds(images: int) -> list[tuple[str, Dataset, asp.Recipe]]:
    """Networks of linear layers, of convolutions, and with BatchNorm."""
    digits = few(asp.load_dataset("digits"), images, 50)
    plain = asp.Recipe(epochs=1, batch_size=64)
    return [
        ("lenet-300-100", digits, plain),
        ("lenet-5", few(noise(images, 50), images, 50), plain),
        ("resnet20", digits, AUGMENTED),
    ]


def maker(model: str, data: Dataset) -> Any:
    """A function that builds the network from a seed, on the data's device."""
    return lambda seed: asp.build_model(model, data.num_classes, data.input_shape, seed).to(data.train.device)


def beside_alone(
    model: str, data: Dataset, recipe: asp.Recipe, execution: Execution, count: int, found: dict[str, Any]
) -> None:
    """Train the same pruned networks both ways; on a GPU, time both in turns."""
    members, alone, near = (made(model, data, count) for _ in range(3))
    reason = why_not_together(members, data)
    if reason:
        raise Problem(f"they are not trained together: {reason}")

    def one_by_one(some: list[Member]) -> list[History]:
        return [asp.train(m.model, data, recipe, m.masks, m.seed, execution=execution) for m in some]

    def together(some: list[Member]) -> list[Any]:
        return train_together(some, data, recipe, execution=execution)

    histories = {"together": together(members), "alone": one_by_one(alone)}
    found.update(compared(members, alone, histories))
    with torch.no_grad():
        for parameter in near[0].model.parameters():
            parameter.copy_(rounded(parameter, 10))
    found["off with rounded weights"] = off(one_by_one(near[:1]), histories["alone"][:1])
    if data.train.device.type == "cuda":

        def rate(work: Callable[[list[Member]], Any]) -> float:
            fresh = made(model, data, count)
            return count / seconds(lambda: work(fresh), data.train.device)

        alone_rate = ("one by one", lambda: rate(one_by_one))
        found["speed"] = side_by_side(model, alone_rate, lambda: rate(together), "model-epochs/s", 2).as_json()


def made(model: str, data: Dataset, count: int) -> list[Member]:
    """Networks pruned by magnitude."""
    networks = map(maker(model, data), range(count))
    return [Member(network, asp.prune(network, "magnitude", 0.9), seed) for seed, network in enumerate(networks)]


def off(histories: list[Any], others: list[Any]) -> float:
    """The largest difference of a mean loss, relative to the others'."""
    pairs = zip(histories, others, strict=True)
    return max(abs(a.train_loss[-1] - b.train_loss[-1]) / b.train_loss[-1] for a, b in pairs)


def compared(members: list[Member], alone: list[Member], histories: dict[str, list[Any]]) -> dict[str, Any]:
    """Losses, accuracies, and the largest difference of a weight; raise if a mask does not hold or a training fails."""
    wrong = [history for run in histories.values() for history in run if not isinstance(history, History)]
    if wrong:
        raise wrong[0]
    for member in members:
        for name, mask in (member.masks or {}).items():
            if member.model.get_parameter(name).detach()[~mask].any():
                raise Problem(f"pruned weights of {name} are not 0 after the training")
    losses = {name: [history.train_loss[-1] for history in run] for name, run in histories.items()}
    apart = [
        float((a - b).abs().max())
        for one, other in zip(members, alone, strict=True)
        for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True)
    ]
    return {
        "losses": losses,
        "accuracies": {name: [history.last for history in run] for name, run in histories.items()},
        "off": off(histories["together"], histories["alone"]),
        "largest difference of a weight": max(apart),
    }
