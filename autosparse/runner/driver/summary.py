"""What is told of an experiment as a whole, beside its tasks: where it comes from, and what it is compared with."""

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
    """JSON values; the concordance of IRP runs that have finished is measured on all their weights.

    Of a part of an experiment, what is told of the whole.
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
    """The layers of each model in the order of the network, from the first of its cells that has finished."""
    layers: dict[str, list[str]] = {}
    recorded = store.recorded(planned.task for planned in plan.cells)
    for planned in plan.cells:
        model = planned.task.model
        if planned.task.id in recorded and model not in layers and (record := store.record(planned.task)):
            layers[model] = list(record["result"]["density_by_layer"])
    return layers


def _measured(pair: Concordance, load: Callable[[str], Survival]) -> float:
    return float(survival_concordance(*map(load, pair.irp)))
