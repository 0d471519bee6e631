"""IRP runs, scorer fits and cells: kinds of work that are each named by their content."""

import functools
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from autosparse.autos.backbones import BACKBONES, check_training
from autosparse.autos.dagger import Dagger
from autosparse.autos.features import INPUTS, check_inputs, rounds_for
from autosparse.autos.refine import Refinement
from autosparse.autos.regression import Training
from autosparse.autos.rows import FEWEST
from autosparse.criteria.briefly import Steps
from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.fields import (
    DISTINCT,
    Ablation,
    DatasetName,
    IrpCriterion,
    Level,
    MethodName,
    ModelName,
    Options,
    ScoreExamples,
    Seed,
    Sparsity,
    Strict,
    check_option_values,
    one_of,
)
from autosparse.files import content_id
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.mode import EVAL, MODES
from autosparse.schedule import SCHEDULES, density_after
from autosparse.training import Recipe


class Task(Strict):
    """Work whose ``id`` is a hash of what differs from the defaults, so that a new option orphans no old result."""

    kind: ClassVar[str]

    @property
    def spec(self) -> dict[str, Any]:
        """The task as JSON values, without what is left at its default."""
        values: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        return values

    @functools.cached_property
    def id(self) -> str:
        """16 hex digits that name the task by its content."""
        return content_id({"kind": self.kind, **self.spec})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy with other values, which are not checked; its id is its own."""
        copied = super().model_copy(update=update, deep=deep)
        copied.__dict__.pop("id", None)
        return copied

    @property
    def inputs(self) -> dict[str, str]:
        """The kinds of the tasks that it builds on, by their ids."""
        return {}


class IrpFields(Strict):
    """What IRP runs that differ in their seed share."""

    model: ModelName
    """The network that is trained, pruned and rewound; with arguments, {name: resnet20, width: 32}."""
    dataset: DatasetName
    """The data that it is trained and scored on."""
    criterion: IrpCriterion = "snip"
    """What decides, after each training, which weights go; one that only scores."""
    options: Options = Field(default_factory=dict)
    """Options of the criterion, by name; `autosparse list criteria` shows them."""
    iterations: Annotated[int, Field(ge=1)] = 20
    """How often to train, prune and rewind."""
    final_density: Annotated[float, Field(gt=0, le=1)] = 0.01
    """Share of weights kept after the last iteration."""
    init: Seed | None = None
    """Seed of the initial weights; None: each run's own."""
    schedule: Annotated[str, one_of("schedule", SCHEDULES)] = "geometric"
    """How the density falls: by the same factor, or by as many weights, in each iteration."""
    score_examples: ScoreExamples = SCORE_EXAMPLES
    """Training images that the criterion reads; None: all."""
    gradient_mode: Annotated[str, one_of("gradient_mode", MODES)] = EVAL
    """The network's mode when g_0 is taken. A scorer learns and reads gradients of one mode."""
    recipe: Recipe = Recipe()
    """How the network is trained in each iteration."""

    @model_validator(mode="after")
    def _options(self) -> Self:
        check_option_values(self.criterion, self.options)
        return self

    def sparsity_at(self, level: int) -> float:
        """Share of weights removed after iteration ``level``.

        It is rounded to 12 digits, so that rounding errors do not create a new sparsity.
        """
        return round(1 - density_after(level, self.iterations, self.final_density, self.schedule), 12) if level else 0.0


class IrpTask(Task, IrpFields):
    """One IRP run: a survival dataset."""

    kind: ClassVar[str] = "irp"
    seed: Seed = 0

    @property
    def init_seed(self) -> int:
        """Seed of the initial weights."""
        return self.seed if self.init is None else self.init


class RefineSpec(Strict):
    """A search for coefficients that prune better, by CMA-ES: :class:`autosparse.autos.refine.Refinement`."""

    generations: Annotated[int, Field(ge=1, le=10_000)] = Refinement.generations
    """Number of generations."""
    population: Annotated[int, Field(ge=4, le=10_000)] = Refinement.population
    """Candidates in each generation."""
    sparsities: Annotated[tuple[Sparsity, ...], Field(min_length=1), DISTINCT] = Refinement.sparsities
    """Each candidate prunes one network to each of them."""
    epochs: Annotated[int, Field(ge=1)] = Refinement.epochs
    """How long each of these networks is trained."""
    spread: Annotated[float, Field(gt=0)] = Refinement.spread
    """Standard deviation of the first candidates' coefficients, relative to the norm of those they start from."""
    start: tuple[str, ...] = ()
    """The inputs of the fit that the search starts from; the others' coefficients are 0 there. Empty: all inputs."""


class DaggerSpec(Strict):
    """Learning from networks that the scorer pruned itself: :class:`autosparse.autos.dagger.Dagger`."""

    passes: Annotated[int, Field(ge=1)] = Dagger.passes
    """How often rows are added and the scorer is fitted again."""
    networks: Annotated[int, Field(ge=1)] = Dagger.networks
    """How many networks are drawn in each pass for each IRP run."""
    epochs: Annotated[int, Field(ge=1)] = Dagger.epochs
    """How long each network is trained after each round of pruning."""


OF_ROUNDS = ("rounds", "steps", "step_lr", "step_batch_size", "examples", "dagger", "refine")
"""Settings of a fit that mean something only for a scorer that prunes in rounds."""


class FitSpec(Strict):
    """How a scorer is fitted."""

    backbone: Annotated[str, one_of("backbone", BACKBONES)] = "mlp"
    """What learns to predict the survival score."""
    inputs: Annotated[tuple[str, ...], AfterValidator(check_inputs)] = INPUTS
    """What it reads of each weight: param, grad, context, prospect, or names of `autosparse list features`."""
    epochs: Annotated[int, Field(ge=1)] = Training.epochs
    """Passes over the rows, for backbones that are networks."""
    batch_size: Annotated[int, Field(ge=1)] = Training.batch_size
    """Rows in each step, for backbones that are networks."""
    lr: Annotated[float, Field(gt=0)] = Training.lr
    """Adam's learning rate at the start, which falls to 0 along a cosine."""
    rows: Annotated[int, Field(ge=FEWEST)] | None = None
    """Rows to fit on, drawn by layer and survival count; None: all that are not held out."""
    seed: Seed = 0
    """Seed of the initialisation, the order of the rows and those held out."""
    rounds: Annotated[int, Field(ge=1)] | None = None
    """How many rounds the scorer prunes in; None: 10, or one shot if it reads no more than the paper's inputs."""
    steps: Annotated[int, Field(ge=0)] | None = None
    """How many steps of training each round takes; None: 10 if it reads features after training, else none."""
    step_lr: Annotated[float, Field(gt=0)] = Steps.lr
    """Learning rate of these steps."""
    step_batch_size: Annotated[int, Field(ge=1)] = Steps.batch_size
    """Images in each of these steps."""
    examples: Annotated[int, Field(ge=1)] | None = None
    """How many examples each round takes gradients and activations on; None: all that the scorer is given."""
    dagger: DaggerSpec | None = None
    """Rows from networks that the scorer prunes itself; None: only from those of IRP."""
    refine: RefineSpec | None = None
    """A search for better coefficients by the accuracy of the networks that they prune; None: no search."""

    @model_validator(mode="after")
    def _training_applies(self) -> Self:
        check_training(self.backbone, Training(self.epochs, self.batch_size, self.lr), len(self.inputs))
        for name in ("dagger", "refine"):
            if getattr(self, name) is not None and not self.in_rounds:
                raise AutosparseError(f"{name}: is for a scorer that prunes in rounds: give `rounds:` or other inputs")
        for name in self.refine.start if self.refine else ():
            if name not in self.inputs:
                raise UnknownName("input to start from", name, self.inputs)
        if self.refine is not None and self.backbone != "linear":
            raise AutosparseError(f"refine: backbone {self.backbone!r} has no coefficients: use backbone linear")
        return self

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments of :func:`autosparse.autos.fit_scorer`; a refinement comes after it."""
        values = self.model_dump(exclude={"refine", "dagger"})
        return {**values, "dagger": Dagger(**dict(self.dagger)) if self.dagger else None}

    @property
    def in_rounds(self) -> bool:
        """Whether the scorer prunes in rounds, and its fit rebuilds the states of IRP's network."""
        return rounds_for(self.inputs, self.rounds, self.steps, self.examples) is not None

    @model_serializer(mode="wrap")
    def _what_applies(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out the settings that do not apply to the fit, so that no record shows them."""
        values: dict[str, Any] = dump(self)
        if not BACKBONES[self.backbone].by_gradient:
            values = {name: value for name, value in values.items() if name not in Training.__dataclass_fields__}
        if not self.in_rounds:
            values = {name: value for name, value in values.items() if name not in OF_ROUNDS}
        return values


class ScorerTask(Task):
    """One scorer: a fit on the survival datasets of IRP runs, or the winner of a sweep over such fits."""

    kind: ClassVar[str] = "scorer"
    irp: tuple[str, ...] = ()
    """Ids of the IRP runs."""
    fit: FitSpec = FitSpec()
    sweep: str | None = None
    """Id of the sweep, whose winner has its own ``irp`` and ``fit``."""
    dataset: DatasetName | None = None
    """The data set of the IRP runs, if the fit rebuilds the states of their networks."""
    streamed: bool = False
    """Whether the fit streams the rows of all weights in all states, and holds some rows out, chosen by a hash."""

    @classmethod
    def on(cls, irp: tuple[str, ...], fit: FitSpec, dataset: str | None, streamed: bool = False) -> "ScorerTask":
        """A fit on IRP runs of ``dataset``, which the task names only if the fit rebuilds their networks' states."""
        return cls(irp=irp, fit=fit, dataset=dataset if fit.in_rounds else None, streamed=streamed)

    @property
    def inputs(self) -> dict[str, str]:
        """The IRP runs, or the sweep."""
        return dict.fromkeys(self.irp, IrpTask.kind) if self.sweep is None else {self.sweep: "sweep"}


class Cell(Task):
    """One point of a grid: a network, pruned at initialisation by one method to one sparsity, then trained."""

    kind: ClassVar[str] = "cell"
    model: ModelName
    dataset: DatasetName
    criterion: MethodName
    options: Options = Field(default_factory=dict)
    scorer: str | None = None
    """Id of the scorer task, for ``autos``."""
    ablation: Ablation = None
    irp: IrpFields | None = None
    """For a branch, the IRP run whose masks and initial weights it has."""
    irp_seed: Seed | None = None
    """For a branch, the IRP run's seed; None: the cell's own."""
    level: Level | None = None
    """For a branch, the iteration after which the masks are taken."""
    sparsity: Sparsity
    seed: Seed
    score_examples: ScoreExamples = SCORE_EXAMPLES
    recipe: Recipe = Recipe()

    @property
    def trunk(self) -> IrpTask | None:
        """The IRP run that a branch starts from; None for every other cell."""
        if self.irp is None:
            return None
        return IrpTask(**dict(self.irp), seed=self.seed if self.irp_seed is None else self.irp_seed)

    @property
    def init_seed(self) -> int:
        """Seed of the initial weights: the cell's own, but a branch has those of its IRP run."""
        trunk = self.trunk
        return self.seed if trunk is None else trunk.init_seed

    @property
    def inputs(self) -> dict[str, str]:
        """The scorer, or the IRP run of a branch."""
        found, trunk = {self.scorer: ScorerTask.kind} if self.scorer else {}, self.trunk
        return found if trunk is None else {**found, trunk.id: IrpTask.kind}


TASKS: dict[str, type[Task]] = {task.kind: task for task in (IrpTask, ScorerTask, Cell)}


def task_from(kind: str, spec: dict[str, Any]) -> Task:
    """Rebuild a task from :attr:`Task.spec`, e.g. in a worker."""
    if kind not in TASKS:
        raise AutosparseError(f"unknown kind of task {kind!r}")
    return TASKS[kind].model_validate(spec, strict=False)
