"""The settings of a sweep: points to try, a space to draw from, how to choose, when to stop early, what counts."""

import itertools
import math
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from autosparse.data.validation import HELD_OUT
from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.fields import (
    DISTINCT,
    UNSIGNED,
    DatasetName,
    ModelName,
    ScoreExamples,
    Seed,
    Sparsity,
    Strict,
    values_of,
)
from autosparse.experiment.tasks import FitSpec, IrpTask, Task
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.training import Recipe

LARGEST = 1e100
"""The largest number of a distribution: what is computed with it stays finite."""
COMBINATIONS = 1000
"""How many combinations of choices are checked before a sweep starts."""

Scalar = Annotated[bool | int | float | str, UNSIGNED]
Value = Scalar | tuple[str, ...]

DISTRIBUTIONS = {
    "choice": "any number of values",
    "uniform": "lower, upper",
    "quniform": "lower, upper, step",
    "loguniform": "lower, upper",
    "qloguniform": "lower, upper, step",
    "randint": "lower, upper (excluded)",
    "qrandint": "lower, upper, step",
    "lograndint": "lower, upper (excluded)",
    "qlograndint": "lower, upper, step",
}
"""Functions of Ray Tune, and the list of values that each takes."""


def _known_distribution(given: dict[str, tuple[Value, ...]]) -> dict[str, tuple[Value, ...]]:
    if len(given) != 1:
        raise AutosparseError("give one distribution, such as {loguniform: [1.0e-4, 0.1]}")
    [(name, values)] = given.items()
    if name not in DISTRIBUTIONS:
        raise UnknownName("distribution", name, DISTRIBUTIONS)
    if name == "choice":
        if not values:
            raise AutosparseError("choice: has nothing to choose from")
        return given
    numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    expected = DISTRIBUTIONS[name].count(",") + 1
    if len(numbers) != len(values) or len(values) != expected:
        raise AutosparseError(f"{name} takes {expected} numbers: {DISTRIBUTIONS[name]}; got {list(values)}")
    if any(abs(number) > LARGEST for number in numbers):
        raise AutosparseError(f"{name}: takes no numbers above {LARGEST:g}")
    if not numbers[0] < numbers[1] or ("log" in name and numbers[0] <= 0):
        where = "above 0 and below" if "log" in name else "below"
        raise AutosparseError(f"{name}: the lower bound must be {where} the upper, got {numbers[:2]}")
    if name in ("quniform", "qloguniform") and not all(_is_step(bound, numbers[2]) for bound in numbers[:2]):
        raise AutosparseError(f"{name}: the bounds must be multiples of the step, got {numbers}")
    return given


def _is_step(bound: float, step: float) -> bool:
    """Whether Ray Tune takes ``bound`` for a multiple of the step."""
    steps = bound / step if step > 0 else math.inf
    return math.isfinite(steps) and math.isclose(steps, round(steps))


Distribution = Annotated[dict[str, tuple[Value, ...]], AfterValidator(_known_distribution)]
"""``{name of Ray Tune's function: its arguments}``."""


class Asha(Strict):
    """Asynchronous successive halving (Li et al. 2020, arXiv:1810.05934), by Ray Tune."""

    grace: Annotated[int, Field(ge=1)] = 1
    """Epochs that every trial runs."""
    reduction: Annotated[float, Field(gt=1)] = 3
    """One in this many trials continues at each rung; rungs are at ``grace * reduction ** k`` epochs."""


class Downstream(Strict):
    """What a sweep can maximise: validation accuracy of networks that the scorer prunes, mean over seeds.

    The validation images are training images that these networks are not trained on. So the test images choose nothing,
    and a grid's test accuracy of the winner is not optimistic.
    """

    model: ModelName
    """The network that the scorer prunes."""
    dataset: DatasetName
    """The data that it is trained and tested on."""
    sparsity: Sparsity
    """Share of its weights to remove."""
    seeds: Annotated[tuple[Seed, ...], Field(min_length=1), DISTINCT] = (0,)
    """One network each; not those of the grid, so that no scorer wins by what it is measured with."""
    score_examples: ScoreExamples = SCORE_EXAMPLES
    """Training images that the scorer's gradients are taken on; None: all."""
    recipe: Recipe = Recipe()
    """How the pruned networks are trained."""
    validation: Annotated[float, Field(ge=0, lt=1)] = HELD_OUT
    """Share of the training images that scorers are compared on; 0: compare on the test images, as version 0.1.0 did.
    The test accuracy of a winner that was chosen on test images is too high."""

    @property
    def metric(self) -> str:
        """What is maximised."""
        return "validation_accuracy" if self.validation else "test_accuracy"


class Search(Strict):
    """What a sweep tries: each of ``points``, and ``trials`` draws from ``space``."""

    points: tuple[dict[str, Value], ...] = ()
    """Settings of a fit, by name; the sweep's own values apply to the others."""
    space: dict[str, Distribution] = Field(default_factory=dict)
    """Settings of a fit to draw, each from one of Ray Tune's distributions: {lr: {loguniform: [1.0e-4, 0.1]}}."""
    trials: Annotated[int, Field(ge=1, le=10_000)] = 20
    """How many draws from the space."""
    search: Literal["random", "optuna"] = "random"
    """What draws from the space."""
    search_seed: Seed = 0
    """Seed of the draws."""
    asha: Asha | None = None
    """Early stopping; None: every trial runs all its epochs."""
    downstream: Downstream | None = None
    """The networks whose accuracy counts; None: the sweep maximises the held-out R^2."""

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not self.points and not self.space:
            raise AutosparseError("nothing to try: give `points:`, `space:`, or both")
        if self.search == "optuna" and not self.space:
            raise AutosparseError("optuna needs a `space:` to draw from")
        return self

    @property
    def searched(self) -> list[str]:
        """Names of the settings that differ between trials."""
        named = [list(point) for point in self.points] + [list(self.space)]
        return list(dict.fromkeys(name for names in named for name in names))

    @property
    def size(self) -> int:
        """Number of trials in all."""
        return len(self.points) + (self.trials if self.space else 0)

    @property
    def metric(self) -> str:
        """The metric that the sweep maximises."""
        return self.downstream.metric if self.downstream else "held_out_r2"


def candidate(base: FitSpec, values: dict[str, Any]) -> FitSpec:
    """The fit of a trial: ``base``, with ``values`` in place of its own.

    :raises AutosparseError: if a name is not a setting of a fit.
    """
    for name in values:
        if name not in FitSpec.model_fields:
            raise UnknownName("setting of a fit", name, FitSpec.model_fields)
    return FitSpec.model_validate({**values_of(base, FitSpec), **values}, strict=False)


def extremes(search: Search) -> list[dict[str, Any]]:
    """Points that a check should try.

    They are the ends of the space and values between them, one at a time, and all combinations of choices.
    """
    found: list[dict[str, Any]] = list(search.points)
    sides: list[list[tuple[str, Any]]] = []
    for name, distribution in search.space.items():
        [(kind, values)] = distribution.items()
        ends = values if kind == "choice" else values[:2]
        found += [{name: value} for value in ends]
        if kind.endswith("uniform"):
            found.append({name: _between(values)})
        sides.append([(name, value) for value in (ends if kind == "choice" else ends[:1])])
    return found + [dict(point) for point in itertools.islice(itertools.product(*sides), COMBINATIONS)]


def _between(values: tuple[Any, ...]) -> float:
    """A value that a distribution may draw above its lower bound; not a whole number unless its step is one."""
    lower, upper, *step = values
    return float(lower + (step[0] if step else (upper - lower) / math.pi))


class SweepTask(Task, Search):
    """A search for the settings of a fit on the survival datasets of IRP runs."""

    kind: ClassVar[str] = "sweep"
    irp: tuple[str, ...]
    """Ids of the IRP runs."""
    fit: FitSpec = FitSpec()
    """The settings that are not searched."""
    dataset: DatasetName | None = None
    """The data set of the IRP runs, if a fit rebuilds the states of their networks; None: none does."""

    @property
    def inputs(self) -> dict[str, str]:
        """The IRP runs."""
        return dict.fromkeys(self.irp, IrpTask.kind)
