"""The schema of an experiment file.

It may name code: modules under ``plugins:``, and models as ``package.module:factory``. A run imports them, here and in
every worker, and importing a module runs it: trust somebody else's file only as you would trust a script of theirs.
Within :func:`autosparse.plugins.withholding`, as in a dry run, nothing is imported, and only the form of such names is
checked.
"""

from typing import Annotated

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.fields import (
    DENSE,
    DISTINCT,
    DatasetName,
    ModelName,
    Name,
    ScoreExamples,
    Seed,
    Sparsity,
    Strict,
    values_of,
)
from autosparse.experiment.methods import MethodSpec
from autosparse.experiment.space import Search, candidate, extremes
from autosparse.experiment.tasks import FitSpec, IrpFields
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.training import Recipe


def check_name(name: str, option: str) -> None:
    """Raise if ``name``, given with a command-line option, is not a :data:`Name`."""
    try:
        TypeAdapter(Name).validate_python(name)
    except ValidationError as error:
        rule = "is not a name of letters, digits, dots, dashes and underscores"
        raise AutosparseError(f"{option}: {name!r} {rule}") from error


class IrpSpec(IrpFields):
    """IRP runs that differ in their seed."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), DISTINCT] = (0,)
    """One run for each; preferably none of the grid's seeds."""


class FittedSpec(FitSpec):
    """How a scorer is fitted, and on which IRP runs."""

    irp: Annotated[tuple[Name, ...], DISTINCT] = ()
    """Names of IRP runs; several are merged into one dataset."""
    irp_seeds: Annotated[tuple[Seed, ...], Field(min_length=1), DISTINCT] | None = None
    """Which seeds of each to fit on; by default the first."""


def data_of_fits(spec: FittedSpec, experiment: "Experiment") -> str | None:
    """The data set of the networks that a fit, or one of a sweep's fits, rebuilds; None if it rebuilds none.

    :raises AutosparseError: if the IRP runs, or the networks that a sweep trains, have more than one.
    """
    base = FitSpec(**values_of(spec, FitSpec))
    points = [candidate(base, point) for point in extremes(spec)] if isinstance(spec, Search) else [base]
    if not any(point.in_rounds for point in points):
        return None
    names = {experiment.irp[irp].dataset for irp in spec.irp}
    if isinstance(spec, Search) and spec.downstream:
        names.add(spec.downstream.dataset)
    if len(names) > 1:
        several = ", ".join(sorted(names))
        raise AutosparseError(f"a scorer that prunes in rounds is fitted on one data set, not on {several}")
    return names.pop()


class ScorerSpec(FittedSpec):
    """A scorer: a fit, or the winner of a sweep over fits."""

    sweep: Name | None = None
    """Name of the sweep whose winner it is; stands alone."""

    @model_validator(mode="after")
    def _one_origin(self) -> "ScorerSpec":
        if self.sweep is None and not self.irp:
            raise AutosparseError("give `irp:`, the IRP runs to fit on, or `sweep:`, whose winner it is")
        if self.sweep is not None and self.model_fields_set != {"sweep"}:
            raise AutosparseError("`sweep:` stands alone: its winner brings its own settings")
        return self


class SweepSpec(FittedSpec, Search):
    """A search for the best settings of a fit: points, or draws from a space, in place of its single values."""

    @model_validator(mode="after")
    def _candidates(self) -> "SweepSpec":
        if not self.irp:
            raise AutosparseError("give `irp:`, the IRP runs to fit on")
        base = FitSpec(**values_of(self, FitSpec))
        for point in extremes(self):
            try:
                candidate(base, point)
            except ValidationError as error:
                mistake = error.errors()[0]
                raise AutosparseError(f"{point}: {'.'.join(map(str, mistake['loc']))}: {mistake['msg']}") from error
        return self


Stated = Annotated[float, Field(ge=0, le=100)] | tuple[float, float] | None
"""A published accuracy in percent, alone or with its spread; None if nothing was published."""


class Published(Strict):
    """Accuracies that a paper prints for a grid; reports show them beside what was measured."""

    source: Annotated[str, Field(min_length=1)]
    """Paper and table."""
    sparsities: Annotated[tuple[Sparsity, ...], Field(min_length=1), DISTINCT]
    """Those of the table's columns."""
    accuracy: Annotated[dict[str, tuple[Stated, ...]], Field(min_length=1)]
    """In percent, by method as the grid calls it, one for each of ``sparsities``; for ``dense`` only one."""

    @model_validator(mode="after")
    def _in_line(self) -> "Published":
        for method, values in self.accuracy.items():
            expected = 1 if method == DENSE else len(self.sparsities)
            if len(values) != expected:
                raise AutosparseError(f"{method!r} has {len(values)} values for {expected} sparsities")
        return self


class GridSpec(Strict):
    """All combinations of models, datasets, methods, sparsities and seeds, trained by one recipe.

    Among the methods, ``dense`` stands for one unpruned training per model, dataset and seed; ``irp`` stands for one
    per level.
    """

    name: Name | None = None
    """What presets and errors call this grid."""
    published: tuple[Published, ...] = ()
    """What papers print for the grid, which then has one model and one data set."""
    models: Annotated[tuple[ModelName, ...], Field(min_length=1), DISTINCT]
    """Networks; `autosparse list models`. One with arguments is {name: resnet20, width: 32} or "resnet20(width=32)"."""
    datasets: Annotated[tuple[DatasetName, ...], Field(min_length=1), DISTINCT]
    """Data sets; `autosparse list datasets`."""
    methods: Annotated[tuple[MethodSpec, ...], Field(min_length=1)]
    """Ways to prune."""
    sparsities: Annotated[tuple[Sparsity, ...], Field(min_length=1), DISTINCT]
    """Shares of weights to remove, over the whole network."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), DISTINCT]
    """One network for each: its initial weights, the order of its images, its method's draws."""
    score_examples: ScoreExamples = SCORE_EXAMPLES
    """Training images that a method reads to score; None: all."""
    recipe: Recipe = Recipe()
    """How the pruned networks are trained."""

    @model_validator(mode="after")
    def _distinct_labels(self) -> "GridSpec":
        labels = [method.label for method in self.methods]
        for position, label in enumerate(labels):
            if label in labels[:position]:
                raise AutosparseError(f"two methods are called {label!r}: give one of them another `name:`")
        if self.published and len(self.models) * len(self.datasets) > 1:
            raise AutosparseError("published accuracies belong to one model and data set: split the grid")
        return self

    def check_published(self) -> None:
        """Raise if a published accuracy is of a method that the grid lacks; a preset may leave one out."""
        labels = [method.label for method in self.methods]
        for published in self.published:
            for method in published.accuracy:
                if method not in labels:
                    raise UnknownName(f"method (of {published.source})", method, labels)


def _check_branch(method: MethodSpec, run: IrpSpec, grid: GridSpec) -> None:
    """Raise if the IRP run is of another network than the grid, or has no such level or seed."""
    where = f"method {method.label!r}: irp {method.irp!r}"
    if grid.models != (run.model,) or grid.datasets != (run.dataset,):
        others = f"{', '.join(grid.models)} on {', '.join(grid.datasets)}"
        raise AutosparseError(
            f"{where} is of {run.model} on {run.dataset}, the grid of {others}: give the method a grid of its own"
        )
    for level in method.levels or ():
        if level > run.iterations:
            raise AutosparseError(f"{where} has levels 0 (dense) to {run.iterations}, not {level}")
    if method.irp_seed is not None and method.irp_seed not in run.seeds:
        raise AutosparseError(f"{where} has no seed {method.irp_seed}")
    unpaired = [seed for seed in grid.seeds if seed not in run.seeds]
    if method.irp_seed is None and len(run.seeds) > 1 and unpaired:
        raise AutosparseError(
            f"{where} has several seeds, but not the grid's {unpaired[0]}: add it, or say with `irp_seed:` which one "
            f"all cells start from"
        )


class ConcordanceSpec(Strict):
    """Two IRP runs whose survival scores are compared (AutoSparse eq. 5)."""

    name: Annotated[str, Field(min_length=1)]
    """What reports call the pair."""
    irp: tuple[Name, Name]
    """Names of the two runs."""
    published: float | None = None
    """The concordance correlation that a paper prints, -1 to 1; None if it prints none."""
    source: str = ""
    """Paper and table or figure."""


class Experiment(Strict):
    """One experiment file: IRP runs feed sweeps and scorers, scorers feed the grid."""

    name: Name
    """What MLflow and reports call the experiment, followed by the preset if the file has some."""
    description: str = ""
    """What it is about, in a line."""
    notes: tuple[str, ...] = ()
    """What a reader of the results should know, such as a claim of a paper that is not a number."""
    plugins: tuple[Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*$")], ...] = ()
    """Modules whose import registers further methods, models or data sets, here and in every worker: code that runs."""
    irp: dict[Name, IrpSpec] = Field(default_factory=dict)
    """Runs of iterative rewind pruning, by name; each gives a survival dataset."""
    sweeps: dict[Name, SweepSpec] = Field(default_factory=dict)
    """Searches for the best settings of a scorer's fit, by name."""
    scorers: dict[Name, ScorerSpec] = Field(default_factory=dict)
    """Learned criteria, by name; each is fitted on survival datasets, or wins a sweep."""
    grid: tuple[GridSpec, ...] = ()
    """Networks to prune at initialisation and train: all combinations of what it lists."""
    concordance: tuple[ConcordanceSpec, ...] = ()
    """Pairs of IRP runs whose survival scores are compared."""

    @model_validator(mode="after")
    def _references(self) -> "Experiment":
        fitted: list[tuple[str, FittedSpec]] = [(f"sweep {name!r}", spec) for name, spec in self.sweeps.items()]
        fitted += [(f"scorer {name!r}", spec) for name, spec in self.scorers.items()]
        for which, spec in fitted:
            for irp in spec.irp:
                self._known_irp(irp, f"of {which}")
                for seed in spec.irp_seeds or ():
                    if seed not in self.irp[irp].seeds:
                        raise AutosparseError(f"{which}: irp {irp!r} has no seed {seed}")
            try:
                if spec.irp:
                    data_of_fits(spec, self)
            except AutosparseError as error:
                raise AutosparseError(f"{which}: {error}") from error
        for name, scorer in self.scorers.items():
            if scorer.sweep is not None and scorer.sweep not in self.sweeps:
                raise UnknownName(f"sweep (of scorer {name!r})", scorer.sweep, self.sweeps)
        for pair in self.concordance:
            for irp in pair.irp:
                self._known_irp(irp, f"of concordance {pair.name!r}")
        for grid in self.grid:
            for method in grid.methods:
                if method.scorer is not None and method.scorer not in self.scorers:
                    raise UnknownName(f"scorer (of method {method.label!r})", method.scorer, self.scorers)
                if method.irp is not None:
                    self._known_irp(method.irp, f"of method {method.label!r}")
                    _check_branch(method, self.irp[method.irp], grid)
        if not self.irp and not self.grid:
            raise AutosparseError("nothing to do: give `irp:`, `grid:`, or both")
        return self

    def _known_irp(self, name: str, where: str) -> None:
        if name not in self.irp:
            raise UnknownName(f"irp ({where})", name, self.irp)
