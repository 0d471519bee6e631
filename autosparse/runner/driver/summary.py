"""Summarise an experiment as a whole: where it comes from, and what it is compared with."""

import functools
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from autosparse.analysis import survival_concordance
from autosparse.experiment.plan import Plan
from autosparse.experiment.publication import Concordance
from autosparse.experiment.store import Store
from autosparse.irp import Survival, load_survival


def summarise(plan: Plan, store: Store) -> dict[str, Any]:
    """A summary as JSON values; the concordance of finished IRP runs is measured on all their weights.

    A part of an experiment has the summary of the whole.
    """
    plan = plan.whole or plan
    finished = store.finished((planned.task for planned in plan.irp), known=True)
    load = functools.lru_cache(maxsize=4)(lambda task_id: load_survival(store.fetched("irp", task_id) / "survival"))
    return {
        **plan.about,
        "layers": _layers(plan, store),
        "tasks": {stage.plural: len(planned) for stage, planned in plan.stages.items()},
        "comparisons": [asdict(comparison) for comparison in plan.comparisons],
        "concordances": [
            {**asdict(pair), "measured": _measured(pair, load) if set(pair.irp) <= finished else None}
            for pair in plan.concordances
        ],
    }


def _layers(plan: Plan, store: Store) -> dict[str, list[str]]:
    """The layers of each model in network order, from the model's first finished cell."""
    layers: dict[str, list[str]] = {}
    there = store.there(planned.task for planned in plan.cells)
    for planned in plan.cells:
        model = planned.task.model
        if model not in layers and planned.task.id in there and (record := store.record(planned.task)):
            layers[model] = list(record["result"]["density_by_layer"])
    return layers


def _measured(pair: Concordance, load: Callable[[str], Survival]) -> float:
    return float(survival_concordance(*map(load, pair.irp)))
