"""How an experiment compares with the publication whose figures its file holds."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from autosparse.experiment.fields import DENSE, Strict
from autosparse.experiment.methods import MethodSpec
from autosparse.experiment.planned import Planned
from autosparse.experiment.schema import Experiment, FittedSpec, GridSpec, ScorerSpec
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
    position: int, cells: Sequence[Planned[Cell]], experiment: Experiment, paper: Experiment
) -> Iterator[Comparison]:
    """Each accuracy published for the grid at a position, with the ids of those of its cells that measure it.

    If a preset gives the grid several models or data sets, there are none.
    """
    grid, theirs = experiment.grid[position], _counterpart(position, experiment, paper)
    if theirs is None or len(grid.models) != 1 or len(grid.datasets) != 1:
        return  # a mean over several networks stands beside no published figure
    for published in theirs.published:
        for label, values in published.accuracy.items():
            differing = tuple(_differences(label, grid, theirs, experiment, paper))
            sparsities = (0.0,) if label == DENSE else published.sparsities
            for sparsity, value in zip(sparsities, values, strict=True):
                if value is None:
                    continue
                mean, spread = value if isinstance(value, tuple) else (float(value), None)
                model, dataset = theirs.models[0], theirs.datasets[0]
                ids = tuple(p.task.id for p in cells if p.label == label and p.task.sparsity == sparsity)
                yield Comparison(published.source, model, dataset, label, sparsity, mean, spread, ids, differing)


def _counterpart(position: int, experiment: Experiment, paper: Experiment) -> GridSpec | None:
    """The paper's version of a grid: that of the same name, else at the same position.

    None if a preset has dropped or added grids, so that the position says nothing: another network's figures would
    stand beside the grid's.
    """
    name = experiment.grid[position].name
    alike = paper.grid[position] if len(experiment.grid) == len(paper.grid) else None
    return next((theirs for theirs in paper.grid if name and theirs.name == name), alike)


def _differences(
    label: str, grid: GridSpec, theirs: GridSpec, experiment: Experiment, paper: Experiment
) -> Iterator[str]:
    yield from _mismatches("", grid, theirs, NOT_COMPARED)
    mine, their = _method(grid, label), _method(theirs, label)
    if mine is None or their is None:
        return
    yield from _mismatches("", mine, their, ("name",))
    if mine.scorer and their.scorer:
        yield from _of_scorers(experiment.scorers[mine.scorer], paper.scorers[their.scorer], experiment, paper)
    if mine.irp and their.irp:
        yield from _mismatches("irp.", experiment.irp[mine.irp], paper.irp[their.irp], ("seeds",))


def _of_scorers(mine: ScorerSpec, theirs: ScorerSpec, experiment: Experiment, paper: Experiment) -> Iterator[str]:
    """The differences between two scorers, the sweeps that they won, and the IRP runs behind them."""
    yield from _mismatches("scorer.", mine, theirs, ("irp", "irp_seeds"))
    fit: FittedSpec = experiment.sweeps[mine.sweep] if mine.sweep else mine
    published: FittedSpec = paper.sweeps[theirs.sweep] if theirs.sweep else theirs
    if mine.sweep and theirs.sweep:
        yield from _mismatches("sweep.", fit, published, ("irp", "irp_seeds"))
    here, there = (len(spec.irp) * len(spec.irp_seeds or (0,)) for spec in (fit, published))
    if here != there:
        yield f"scorer.irp: {here} runs (published: {there})"
    for run, original in zip(fit.irp, published.irp, strict=False):
        yield from _mismatches("irp.", experiment.irp[run], paper.irp[original], ("seeds",))


def _method(grid: GridSpec, label: str) -> MethodSpec | None:
    return next((method for method in grid.methods if method.label == label), None)


def _plain(spec: Strict, leave_out: Sequence[str]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in spec.model_dump(mode="json").items():
        if name in leave_out:
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value[0] if isinstance(value, list) and len(value) == 1 else value
    return flat


def _mismatches(prefix: str, spec: Strict, published: Strict, leave_out: Sequence[str]) -> Iterator[str]:
    mine, theirs = _plain(spec, leave_out), _plain(published, leave_out)
    for key in {**theirs, **mine}:
        here, there = mine.get(key), theirs.get(key)
        if here != there:
            yield f"{prefix}{key}: {here} (published: {there})"
