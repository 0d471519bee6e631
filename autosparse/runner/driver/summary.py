"""Summarise an experiment as a whole: where it comes from, and what it is compared with."""

import functools
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from autosparse.analysis import survival_concordance
from autosparse.experiment.plan import Plan
from autosparse.experiment.record import Record
from autosparse.experiment.stages import SCORERS, SWEEPS
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell, IrpTask
from autosparse.irp import load_survival


def summarise(plan: Plan, store: Store) -> dict[str, Any]:
    """A summary as JSON values; the concordance of finished IRP runs is measured on all their weights.

    A part of an experiment has the summary of the whole.
    """
    plan = plan.whole or plan
    finished = store.finished((planned.task for planned in plan.irp), known=True)
    load = functools.lru_cache(maxsize=4)(lambda task_id: load_survival(store.fetched("irp", task_id) / "survival"))
    return {
        **plan.about,
        "layers": {  # in network order
            model: list(record["result"]["density_by_layer"])
            for model, record in first_finished([planned.task for planned in plan.cells], store).items()
        },
        "tasks": {stage.plural: len(planned) for stage, planned in plan.stages.items()},
        "named": {  # after an edit of the file, MLflow may have several runs of a label
            stage.kind: {planned.label: planned.task.id for planned in plan.stages[stage]}
            for stage in (SWEEPS, SCORERS)
        },
        "comparisons": [asdict(comparison) for comparison in plan.comparisons],
        "concordances": [
            asdict(pair)
            | {"measured": float(survival_concordance(*map(load, pair.irp))) if set(pair.irp) <= finished else None}
            for pair in plan.concordances
        ],
    }


def first_finished(tasks: Sequence[IrpTask | Cell], store: Store) -> dict[str, Record]:
    """The record of each model's first finished task."""
    found: dict[str, Record] = {}
    there = store.there(tasks)
    for task in tasks:
        if task.model not in found and task.id in there and (record := store.record(task)):
            found[task.model] = record
    return found
