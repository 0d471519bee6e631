"""Compare masks of every criterion and of IRP, and accuracies of short trainings, with those of the CPU.

In float64, a GPU's masks must equal the CPU's: sums in another order move no weight across the threshold. In float32,
they may differ as much as rounding makes them, which can be almost completely for criteria that prune a deep network in
rounds. The CPU measures how much by scoring the same network with rounded weights. Criteria that train on the way are
compared only in float32.
"""

import os
from concurrent.futures import Executor, Future
from typing import Any

import torch
from benchmarks.harness import Options, seconds

from checks.report import Problem, Report
from checks.subjects import Subject, subjects
from checks.twins import Case, cases, cpu, masks_of, masks_on_cpu, trained, trained_on_cpu

SAME = 0.999
"""Least IoU of masks in float64."""
TOLERANCE, CHANNEL_TOLERANCE = 0.01, 0.05
"""Share of the union that may differ in float32, on top of twice what rounding changes; a channel has many weights."""
NEAR = {"float32": 0.05, "auto": 0.1}
"""Largest relative difference of a mean training loss from the CPU's; 200 times this, in points, for accuracies."""
FEW = ("magnitude", "snip", "grasp", "synflow", "3sp-reinit", "irp")
"""What is tried on ResNet-20 on a machine without a GPU."""


def check(options: Options, report: Report) -> None:
    """Compare masks, then trainings."""
    chosen = subjects(options.data_root, *((300, 100) if options.quick else (4000, 1000)))
    asked = [(number, case) for number in range(len(chosen)) for case in cases()]
    if options.quick:
        asked = [(number, case) for number, case in asked if number == 0 or case.name in FEW]
    epochs = 3 if options.quick else 8
    with cpu(chosen, 1 if options.quick else max(1, min(14, (os.cpu_count() or 1) - 2))) as pool:
        trainings = [pool.submit(trained_on_cpu, number, epochs) for number in range(len(chosen))]
        awaited = [(number, case, _submit(pool, number, case)) for number, case in asked]
        for number, case, futures in awaited:
            with report.entry(f"{chosen[number].name}: {case}") as found:
                compare(chosen[number], case, futures, options.device, found)
        for subject, future in zip(chosen, trainings, strict=True):
            for precision, near in NEAR.items():
                with report.entry(f"{subject.name}: training in {precision}") as found:
                    found["device"] = trained(subject, epochs, options.device, precision)
                    found["cpu"] = future.result()
                    judge_training(found["device"], found["cpu"], near)


def _submit(pool: Executor, number: int, case: Case) -> dict[str, Future]:
    """Futures of the CPU's masks in float32, with rounded weights and, if possible, in float64."""
    kinds = ("float32", "rounded", "float64") if case.in_double else ("float32", "rounded")
    return {kind: pool.submit(masks_on_cpu, number, case, kind) for kind in kinds}


def compare(
    subject: Subject, case: Case, futures: dict[str, Future], device: torch.device, found: dict[str, Any]
) -> None:
    """Write the figures of a criterion to ``found``, then judge them."""
    mine = {kind: masks_of(subject, case, device, kind) for kind in ("float32", "float64") if kind in futures}
    found["seconds again"] = seconds(lambda: masks_of(subject, case, device), device)
    theirs = {kind: torch.from_numpy(future.result()) for kind, future in futures.items()}
    for kind, mask in mine.items():
        kept, expected = int(mask.sum()), int(theirs[kind].sum())
        found[kind] = {"iou": iou(mask, theirs[kind]), "kept": kept, "kept on the cpu": expected}
    found["iou of rounded weights"] = iou(theirs["rounded"], theirs["float32"])
    for kind, figures in found.items():
        if kind in mine:
            least = SAME if kind == "float64" else least_of(found["iou of rounded weights"], case)
            judge_masks(kind, figures, least, case)


def judge_masks(kind: str, figures: dict[str, Any], least: float, case: Case) -> None:
    """Raise if masks differ by more than they may."""
    figures["least iou"] = least
    if figures["iou"] < least:
        raise Problem(f"in {kind} the masks' IoU with the CPU's is {figures['iou']:.4f}, less than {least:.4f}")
    if figures["kept"] != figures["kept on the cpu"] and not case.by_channel:
        raise Problem(f"in {kind} {figures['kept']} weights are kept, {figures['kept on the cpu']} on the CPU")


def least_of(of_rounded: float, case: Case) -> float:
    """The least IoU in float32; 1 if the masks depend on nothing that a device computes."""
    if case.needs <= {"channels"}:
        return 1.0
    return max(0.0, 1 - 2 * (1 - of_rounded) - (CHANNEL_TOLERANCE if case.by_channel else TOLERANCE))


def iou(mine: torch.Tensor, theirs: torch.Tensor) -> float:
    """Share of the weights in either mask that are in both."""
    return float((mine & theirs).sum() / (mine | theirs).sum().clamp(min=1))


def judge_training(mine: dict[str, list[float]], theirs: dict[str, list[float]], near: float) -> None:
    """Raise if a training differs from the CPU's by more than arithmetic explains."""
    loss, expected = (sum(run["train_loss"]) / len(run["train_loss"]) for run in (mine, theirs))
    if abs(loss - expected) > near * expected:
        raise Problem(f"the mean training loss is {loss:.4g}, {expected:.4g} on the CPU")
    accuracy, wanted = mine["test_accuracy"][-1], theirs["test_accuracy"][-1]
    if abs(accuracy - wanted) > 200 * near:
        raise Problem(f"the accuracy is {accuracy:.2f} %, {wanted:.2f} % on the CPU")
