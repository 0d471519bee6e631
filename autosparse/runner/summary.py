"""What is told of an experiment as a whole, beside its tasks: where it comes from, and what it is compared with."""

from dataclasses import asdict
from typing import Any

from autosparse.analysis import survival_concordance
from autosparse.experiment.compared import Concordance
from autosparse.experiment.plan import Plan
from autosparse.experiment.store import Store
from autosparse.irp import load_survival


def summarise(plan: Plan, store: Store) -> dict[str, Any]:
    """JSON values; the concordance of IRP runs that have finished is measured on all their weights."""
    finished = {planned.task.id for planned in plan.irp if store.record(planned.task) is not None}
    return {
        **plan.about,
        "tasks": {"irp": len(plan.irp), "scorers": len(plan.scorers), "cells": len(plan.cells)},
        "comparisons": [asdict(comparison) for comparison in plan.comparisons],
        "concordances": [
            {**asdict(pair), "measured": _measured(pair, store) if set(pair.irp) <= finished else None}
            for pair in plan.concordances
        ],
    }


def _measured(pair: Concordance, store: Store) -> float:
    a, b = (load_survival(store.files_path("irp", own) / "survival") for own in pair.irp)
    return float(survival_concordance(a, b))
