"""How an experiment compares with the publication whose figures its file holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autosparse.experiment.fields import DENSE
from autosparse.experiment.methods import MethodSpec
from autosparse.experiment.planned import Planned
from autosparse.experiment.schema import Experiment, GridSpec, IrpSpec
from autosparse.experiment.tasks import Cell

NOT_COMPARED = ("name", "published", "methods", "sparsities", "seeds")
"""Keys of a grid that are not compared: methods are compared one by one, and reports count seeds anyway."""


@dataclass(frozen=True)
class Comparison:
    """A published accuracy, and the cells that are measured for it."""

    source: str
    model: str
    dataset: str
    """As published."""
    method: str
    sparsity: float
    published: float
    spread: float | None
    cells: tuple[str, ...]
    """Ids, one per seed; empty if the preset leaves it out."""
    differences: tuple[str, ...]
    """What is not as published, as ``key: here (published: there)``."""


@dataclass(frozen=True)
class Concordance:
    """Two IRP runs whose survival scores are compared, and the published figure."""

    name: str
    irp: tuple[str, str]
    """Ids."""
    published: float | None
    source: str


def compared(
    grid: GridSpec, cells: "Sequence[Planned[Cell]]", experiment: Experiment, paper: Experiment
) -> Iterator[Comparison]:
    """Each accuracy published for a grid, with the ids of the cells that measure it."""
    theirs = _counterpart(grid, experiment, paper)
    if theirs is None:
        return
    for published in theirs.published:
        for label, values in published.accuracy.items():
            sparsities = (0.0,) if label == DENSE else published.sparsities
            for sparsity, value in zip(sparsities, values, strict=True):
                if value is None:
                    continue
                mean, spread = value if isinstance(value, tuple) else (float(value), None)
                yield Comparison(
                    published.source,
                    theirs.models[0],
                    theirs.datasets[0],
                    label,
                    sparsity,
                    mean,
                    spread,
                    tuple(p.task.id for p in cells if p.label == label and p.task.sparsity == sparsity),
                    tuple(_differences(label, grid, theirs, experiment, paper)),
                )


def _counterpart(grid: GridSpec, experiment: Experiment, paper: Experiment) -> GridSpec | None:
    """The paper's version of a grid: that of the same name, else at the same position.

    None if a preset has dropped or added grids, so that the position says nothing: another network's figures would
    stand beside the grid's.
    """
    named = [ours for ours in paper.grid if grid.name and ours.name == grid.name]
    if named:
        return named[0]
    return paper.grid[experiment.grid.index(grid)] if len(experiment.grid) == len(paper.grid) else None


def _differences(
    label: str, grid: GridSpec, theirs: GridSpec, experiment: Experiment, paper: Experiment
) -> Iterator[str]:
    yield from _mismatches("", _plain(grid, NOT_COMPARED), _plain(theirs, NOT_COMPARED))
    mine, their = _method(grid, label), _method(theirs, label)
    if mine is None or their is None:
        return
    yield from _mismatches("", _plain(mine, ("name",)), _plain(their, ("name",)))
    if mine.scorer and their.scorer:
        scorer, original = experiment.scorers[mine.scorer], paper.scorers[their.scorer]
        yield from _mismatches("scorer.", _plain(scorer, ("irp", "irp_seeds")), _plain(original, ("irp", "irp_seeds")))
        for ours, other in zip(scorer.irp, original.irp, strict=False):
            yield from _irp_mismatches(experiment.irp[ours], paper.irp[other])
    if mine.irp and their.irp:
        yield from _irp_mismatches(experiment.irp[mine.irp], paper.irp[their.irp])


def _irp_mismatches(mine: IrpSpec, theirs: IrpSpec) -> Iterator[str]:
    return _mismatches("irp.", _plain(mine, ("seeds",)), _plain(theirs, ("seeds",)))


def _method(grid: GridSpec, label: str) -> MethodSpec | None:
    return next((method for method in grid.methods if method.label == label), None)


def _plain(spec: Any, leave_out: Sequence[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        if name in leave_out:
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return flat


def _mismatches(prefix: str, mine: dict[str, Any], theirs: dict[str, Any]) -> Iterator[str]:
    for key in {**theirs, **mine}:
        here, there = mine.get(key), theirs.get(key)
        if here != there:
            yield f"{prefix}{key}: {here} (published: {there})"
