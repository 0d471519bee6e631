"""What a run says at its end: what is done, what is not and why, and what a user should know of the results."""

import contextlib
from collections import Counter

from autosparse.experiment.plan import Plan
from autosparse.experiment.store import Store
from autosparse.results.costs import NotRecorded, images_of_own_training
from autosparse.runner.driver.outcome import Outcome
from autosparse.runner.driver.summary import first_finished
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings
from autosparse.weights import LeftOut

LOOKED_AT = 500
"""Roughly how many records of a large grid are read to tell what compact training saved."""
MANY = 10_000
"""If more records than that have files of their own, gathering them pays."""


def tell(outcome: Outcome, plan: Plan, store: Store, settings: Settings, screen: Screen) -> None:
    """Print the outcome of a run, a line for each thing to know."""
    counts = {"done": outcome.done, "found finished": outcome.found, "failed": len(outcome.failed)}
    counts |= {"still to do": len(outcome.to_do)} if outcome.to_do else {}
    screen.say(f"{plan.name}: {', '.join(f'{count} {word}' for word, count in counts.items())}")
    for word, left in (("failed", outcome.failed), ("still to do", outcome.to_do)):
        for reason, count in Counter(reason for _, reason in left).items():
            example = next(p for p, r in left if r == reason)
            screen.warn(f"{count} {word}, such as {example.label} ({example.task.kind} {example.task.id}): {reason}")
    for planned in plan.scorers:
        record = store.record(planned.task)
        for warning in record["result"]["report"]["warnings"] if record else ():
            screen.warn(f"scorer {planned.label}: {warning}")
    for model, rest in left_out_of(plan, store).items():
        screen.say(f"{model}: never pruned, and not counted in its sparsity: {rest}")
    if saved := saved_by_compact(plan, store):
        screen.say(saved)
    if outcome.failed and not settings.retry_failed:
        screen.say("the next run skips failed tasks; use --retry-failed to try them again")
    if len(store.board.listed.get("cells", ())) > MANY:
        screen.say("this many records are found faster after `autosparse storage gather`")
    if plan.irp:
        screen.say(f"survival datasets are in {store.place}/irp, scorers in {store.place}/scorers")


def left_out_of(plan: Plan, store: Store) -> dict[str, LeftOut]:
    """The weights that no mask covers, for each model that has any, from its first finished IRP run or cell."""
    found = first_finished([*(p.task for p in plan.irp), *(p.task for p in plan.cells)], store)
    return {model: rest for model, record in found.items() if (rest := LeftOut.of(record["result"]))}


def saved_by_compact(plan: Plan, store: Store) -> str | None:
    """What compact training saved of the trainings under the cells' masks, in FLOPs; None if it saved nothing.

    If a grid is large, a sample tells, so that not all records are read once more.
    """
    there = store.there(planned.task for planned in plan.cells)
    done = [planned.task for planned in plan.cells if planned.task.id in there]
    dense = trained = 0.0
    for task in done[:: max(1, len(done) // LOOKED_AT)]:
        record = store.record(task)
        if record and "flops_trained" in record["result"]:
            result = record["result"]
            with contextlib.suppress(NotRecorded):
                images = images_of_own_training(task.criterion, result["images"], result.get("images_score"))
                dense += result["flops_dense"] * images
                trained += result["flops_trained"] * images
    if trained >= dense:
        return None
    return f"compact training computed {100 * trained / dense:.2g} % of the FLOPs that dense training takes"
