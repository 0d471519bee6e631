"""On which IRP runs a scorer was fitted: its own, or those of the sweep that it won."""

from collections.abc import Iterable

from autosparse.results.runs import Run
from autosparse.tracking.texts import names_in


def fitted_on(scorer: Run, sweeps: Iterable[Run]) -> list[str]:
    """The task ids of the IRP runs; empty if they are not known.

    :param sweeps: the finished sweeps of the scorer's experiment.
    """
    searched = (sweep for sweep in sweeps if sweep.tags.get("task_id") == scorer.params.get("sweep"))
    return next(filter(None, (names_in(run.params.get("irp", "")) for run in (scorer, *searched))), [])
