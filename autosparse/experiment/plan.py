"""Turn an experiment into its tasks: IRP runs, sweeps, scorers, cells, each with the label that reports show."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from autosparse.errors import AutosparseError
from autosparse.experiment.fields import DENSE, values_of
from autosparse.experiment.methods import MethodSpec
from autosparse.experiment.planned import Planned
from autosparse.experiment.publication import Comparison, Concordance, compared
from autosparse.experiment.schema import Experiment, FittedSpec, GridSpec, IrpSpec, data_of_fits
from autosparse.experiment.space import Search, SweepTask
from autosparse.experiment.stages import STAGES, Stage
from autosparse.experiment.tasks import Cell, FitSpec, IrpFields, IrpTask, ScorerTask, Task
from autosparse.plugins import NO_PLUGINS, Plugins

T = TypeVar("T", bound=Task)

MAX_CELLS = 1_000_000
"""A larger grid is taken for a mistake."""


@dataclass(frozen=True)
class Plan:
    """All tasks of an experiment, each once, in the order in which they feed each other."""

    name: str
    irp: list[Planned[IrpTask]] = field(default_factory=list)
    sweeps: list[Planned[SweepTask]] = field(default_factory=list)
    scorers: list[Planned[ScorerTask]] = field(default_factory=list)
    cells: list[Planned[Cell]] = field(default_factory=list)
    comparisons: list[Comparison] = field(default_factory=list)
    concordances: list[Concordance] = field(default_factory=list)
    plugins: Plugins = NO_PLUGINS
    """What workers import first."""
    about: dict[str, Any] = field(default_factory=dict)
    """What describes the experiment as a whole, such as its preset; JSON values."""
    whole: "Plan | None" = None
    """The plan that this one is a part of."""

    @property
    def stages(self) -> dict[Stage, Sequence[Planned[Task]]]:
        """The tasks of each stage, in the order of :data:`STAGES`."""
        return {stage: getattr(self, stage.plural) for stage in STAGES}

    def __iter__(self) -> Iterator[Planned[Task]]:
        return itertools.chain.from_iterable(self.stages.values())

    def only_sweeps(self, labels: Collection[str]) -> "Plan":
        """The part of the plan with these sweeps and the IRP runs that they need."""
        sweeps = [p for p in self.sweeps if p.label in labels]
        needed = {task_id for p in sweeps for task_id in p.task.irp}
        irp = [p for p in self.irp if p.task.id in needed]
        return replace(self, irp=irp, sweeps=sweeps, scorers=[], cells=[], whole=self)

    def only_stages(self, names: Collection[str]) -> "Plan":
        """The part of the plan with the stages of these names."""
        others: dict[str, Any] = {stage.plural: [] for stage in STAGES if stage.name not in names}
        return replace(self, **others, whole=self)

    @property
    def datasets(self) -> list[str]:
        """Names of all data sets that the tasks read."""
        return sorted({name for planned in self if (name := dataset_of(planned.task))})


def dataset_of(task: Task) -> str | None:
    """The data set that a task reads; None for a fit that reads nothing but survival datasets."""
    if isinstance(task, SweepTask):
        return task.downstream.dataset if task.downstream else task.dataset
    return task.dataset if isinstance(task, IrpTask | Cell | ScorerTask) else None


def make_plan(experiment: Experiment, paper: Experiment | None = None, folder: str | None = None, **about: Any) -> Plan:
    """Expand an experiment; a combination that two grids share is planned once.

    :param paper: the experiment at the scale of the publication, if that differs.
    :param folder: where its plugins may be, besides installed packages.
    :param about: see :attr:`Plan.about`.

    Raises :class:`AutosparseError` if the grids hold more than ``MAX_CELLS`` cells.
    """
    size = sum(
        len(g.models) * len(g.datasets) * sum(len(_points(g, m, experiment.irp)) for m in g.methods) * len(g.seeds)
        for g in experiment.grid
    )
    if size > MAX_CELLS:
        raise AutosparseError(f"{experiment.name}: the grid has {size:,} cells, more than {MAX_CELLS:,}: split it up")
    irp = {
        name: {seed: IrpTask(**values_of(spec, IrpFields), seed=seed) for seed in spec.seeds}
        for name, spec in experiment.irp.items()
    }

    def first_run(name: str) -> str:
        return irp[name][experiment.irp[name].seeds[0]].id

    def runs_of(spec: FittedSpec) -> tuple[str, ...]:
        return tuple(irp[run][seed].id for run in spec.irp for seed in spec.irp_seeds or experiment.irp[run].seeds[:1])

    sweeps = {
        name: SweepTask(
            irp=runs_of(spec),
            fit=FitSpec(**values_of(spec, FitSpec)),
            dataset=data_of_fits(spec, experiment),
            **values_of(spec, Search),
        )
        for name, spec in experiment.sweeps.items()
    }
    scorers = {
        name: ScorerTask(sweep=sweeps[spec.sweep].id, dataset=sweeps[spec.sweep].dataset)
        if spec.sweep
        else ScorerTask.on(runs_of(spec), FitSpec(**values_of(spec, FitSpec)), data_of_fits(spec, experiment))
        for name, spec in experiment.scorers.items()
    }
    scorer_ids = {name: task.id for name, task in scorers.items()}
    by_grid = [list(_cells(grid, scorer_ids, experiment.irp)) for grid in experiment.grid]
    return Plan(
        experiment.name,
        _once([Planned(task, name) for name, by_seed in irp.items() for task in by_seed.values()]),
        _once([Planned(task, name) for name, task in sweeps.items()]),
        _once([Planned(task, name) for name, task in scorers.items()]),
        _once([planned for cells in by_grid for planned in cells]),
        [
            comparison
            for position, cells in enumerate(by_grid)
            for comparison in compared(position, cells, experiment, paper or experiment)
        ],
        [
            Concordance(pair.name, (first_run(pair.irp[0]), first_run(pair.irp[1])), pair.published, pair.source)
            for pair in experiment.concordance
        ],
        Plugins(experiment.plugins, folder),
        about,
    )


def _once(planned: list[Planned[T]]) -> list[Planned[T]]:
    first: dict[str, Planned[T]] = {}
    for p in planned:
        first.setdefault(p.task.id, p)
    return list(first.values())


def _cells(grid: GridSpec, scorer_ids: dict[str, str], irp: dict[str, IrpSpec]) -> Iterator[Planned[Cell]]:
    for model, dataset, method in itertools.product(grid.models, grid.datasets, grid.methods):
        label = method.label
        for point in _points(grid, method, irp):
            first = Cell(
                model=model,
                dataset=dataset,
                criterion=method.criterion,
                options=method.options,
                scorer=scorer_ids[method.scorer] if method.scorer else None,
                ablation=method.ablation,
                seed=grid.seeds[0],
                score_examples=grid.score_examples,
                recipe=grid.recipe,
                **point,
            )
            for seed in grid.seeds:
                yield Planned(_with_seed(first, seed), label)


def _with_seed(first: Cell, seed: int) -> Cell:
    """Copy a cell with another seed. The grid has checked the seed; all else is shared, to save memory."""
    cell = first.model_copy(update={"seed": seed})
    object.__setattr__(cell, "__pydantic_fields_set__", first.__pydantic_fields_set__)
    return cell


def _points(grid: GridSpec, method: MethodSpec, irp: dict[str, IrpSpec]) -> list[dict[str, Any]]:
    """The sparsities of a method, each with the fields that its cells need; for a branch, the run and the level."""
    if method.irp is None:
        return [{"sparsity": sparsity} for sparsity in ((0.0,) if method.criterion == DENSE else grid.sparsities)]
    run = irp[method.irp]
    seed = run.seeds[0] if method.irp_seed is None and len(run.seeds) == 1 else method.irp_seed
    branch = {"irp": IrpFields(**values_of(run, IrpFields)), "irp_seed": seed}
    return [{**branch, "level": level, "sparsity": run.sparsity_at(level)} for level in method.levels or ()]
