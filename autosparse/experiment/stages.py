"""The stages of an experiment, in the order in which they feed each other: the one list of them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Stage:
    """All tasks of one kind in an experiment."""

    kind: str
    """The kind of its tasks."""
    name: str
    """As users call it: in an experiment file, with ``--only``, and in tables of progress."""
    plural: str
    """As plans, JSON and the storage folder call its tasks."""
    title: str
    """A title for its work."""
    noun: str
    """What one of its tasks is called."""
    costs: str
    """What the report's table of costs calls its tasks."""


IRP = Stage("irp", "irp", "irp", "iterative rewind pruning", "run", "IRP runs")
SWEEPS = Stage("sweep", "sweeps", "sweeps", "searching for the best fit", "sweep", "sweeps")
SCORERS = Stage("scorer", "scorers", "scorers", "fitting scorers", "fit", "scorer fits")
CELLS = Stage("cell", "grid", "cells", "training the grid", "cell", "cells of the grid")
STAGES = (IRP, SWEEPS, SCORERS, CELLS)
OF_KIND = {stage.kind: stage for stage in STAGES}
NAMED = {stage.name: stage for stage in STAGES}
