"""Networks trained together, beside each of them alone: losses, masks, speed, and how many a run would take."""

import copy
from dataclasses import replace
from typing import Any

from benchmarks.convolutions import noise
from benchmarks.harness import Options, seconds

import autosparse as asp
from autosparse.data.split import Dataset
from autosparse.training import Execution, History, Member, train_together, why_not_together
from autosparse.training.company import company
from checks.report import Problem, Report
from checks.subjects import few

NEAR = {"float32": 0.02, "bfloat16": 0.05}
"""How far a mean loss may be from that of the network alone, relative."""
AUGMENTED = asp.Recipe(optimizer="momentum", lr=0.05, epochs=1, batch_size=64, augmentation="crop-flip")


def check(options: Options, report: Report) -> None:
    """Each kind of network in each precision; then what a run would decide."""
    count, images = (2, 64) if options.quick else (8, 1280)
    for model, data, recipe in kinds(images):
        data = data.to(options.device)
        for precision in NEAR:
            with report.entry(f"{count} of {model}/{data.name} in {precision}") as found:
                beside_alone(model, data, recipe, Execution(precision), count, found)
                if found["off"] > NEAR[precision]:
                    raise Problem(f"mean losses are off by {found['off']:.2%} from those of the networks alone")
        with report.entry(f"how many of {model}/{data.name} a run takes together") as found:
            make = maker(model, data)
            found["networks"] = company(make, data, recipe, Execution())


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
    """What builds such a network on the data's device from a seed."""
    return lambda seed: asp.build_model(model, data.num_classes, data.input_shape, seed).to(data.train.device)


def beside_alone(
    model: str, data: Dataset, recipe: asp.Recipe, execution: Execution, count: int, found: dict[str, Any]
) -> None:
    """Train the same pruned networks both ways."""
    device, make = data.train.device, maker(model, data)
    members = [
        Member(network, asp.prune(network, "magnitude", 0.9), seed)
        for seed, network in enumerate(map(make, range(count)))
    ]
    reason = why_not_together(members, data)
    if reason:
        raise Problem(f"they are not trained together: {reason}")
    alone = [replace(member, model=copy.deepcopy(member.model)) for member in members]
    histories: dict[str, list[Any]] = {"together": [], "alone": []}

    def one_by_one() -> None:
        histories["alone"] += [asp.train(m.model, data, recipe, m.masks, m.seed, execution=execution) for m in alone]

    for name, work in (
        ("alone", one_by_one),
        ("together", lambda: histories["together"].extend(train_together(members, data, recipe, execution=execution))),
    ):
        found[f"seconds {name}"] = seconds(work, device)
    found.update(compared(members, alone, histories))
    found["models/s together over alone, first epoch"] = found["seconds alone"] / found["seconds together"]


def compared(members: list[Member], alone: list[Member], histories: dict[str, list[Any]]) -> dict[str, Any]:
    """Losses, accuracies, and the largest difference of a weight; raises where a mask does not hold or one diverges."""
    wrong = [history for run in histories.values() for history in run if not isinstance(history, History)]
    if wrong:
        raise wrong[0]
    for member in members:
        for name, mask in (member.masks or {}).items():
            if member.model.get_parameter(name).detach()[~mask].any():
                raise Problem(f"pruned weights of {name} are not 0 after the training")
    losses = {name: [history.train_loss[-1] for history in run] for name, run in histories.items()}
    pairs = zip(losses["together"], losses["alone"], strict=True)
    apart = [
        float((a - b).abs().max())
        for one, other in zip(members, alone, strict=True)
        for a, b in zip(one.model.parameters(), other.model.parameters(), strict=True)
    ]
    return {
        "losses": losses,
        "accuracies": {name: [history.last for history in run] for name, run in histories.items()},
        "off": max(abs(a - b) / b for a, b in pairs),
        "largest difference of a weight": max(apart),
    }
