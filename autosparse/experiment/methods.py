"""A pruning method in an experiment file: a criterion, a dense training, or a branch of an IRP run, with its controls.

A branch takes a run's masks after some of its iterations, and trains from the run's initial weights: the restart of a
lottery ticket (Frankle & Carbin 2019, arXiv:1803.03635), with or without an ablation.
"""

from typing import Annotated

from pydantic import Field, model_validator

from autosparse.criteria import CRITERIA
from autosparse.errors import AutosparseError
from autosparse.experiment.fields import (
    BRANCH,
    DENSE,
    DISTINCT,
    Ablation,
    Level,
    MethodName,
    Name,
    Options,
    Seed,
    Strict,
    check_option_values,
)


class MethodSpec(Strict):
    """A pruning method: a criterion with its options, under the name that reports show."""

    criterion: MethodName
    """A criterion of `autosparse list criteria`; dense: nothing is pruned; irp: a branch of an IRP run."""
    name: Name = ""
    """What reports call it; empty: made from its criterion, irp and ablation."""
    options: Options = Field(default_factory=dict)
    """Options of the criterion, by name; `autosparse list criteria` shows them."""
    scorer: Name | None = None
    """For autos, the name of a scorer under scorers:."""
    ablation: Ablation = None
    """A control: masks shuffled within layers, weights drawn anew, or scores inverted; None: the method as it is."""
    irp: Name | None = None
    """For ``irp``, the name of the run whose masks and initial weights are taken."""
    levels: Annotated[tuple[Level, ...], Field(min_length=1), DISTINCT] | None = None
    """For ``irp``, the iterations after which masks are taken, in place of the grid's sparsities."""
    irp_seed: Seed | None = None
    """For ``irp``, the seed that all cells start from: by default the run's only one or, if several, the cell's own."""

    @model_validator(mode="after")
    def _consistent(self) -> "MethodSpec":
        criterion = None if self.criterion in (DENSE, BRANCH) else CRITERIA[self.criterion]
        if criterion is not None:
            check_option_values(self.criterion, self.options)
        elif self.options:
            raise AutosparseError(f"{self.criterion} takes no options")
        needs_scorer = criterion is not None and "scorer" in criterion.needs
        if needs_scorer != (self.scorer is not None) and (criterion is None or criterion.imported):
            verb = "needs a `scorer:`, the name of one under `scorers:`" if needs_scorer else "takes no `scorer:`"
            raise AutosparseError(f"method {self.criterion!r} {verb}")
        _check_branch_keys(self)
        check_ablation(self.criterion, self.ablation)
        return self

    @property
    def label(self) -> str:
        """The name in reports."""
        return self.name or "-".join(part for part in (self.criterion, self.irp, self.ablation) if part)


def _check_branch_keys(method: MethodSpec) -> None:
    """Raise if a branch lacks a key, or if another method has one of its keys."""
    if method.criterion != BRANCH:
        for key in ("irp", "levels", "irp_seed"):
            if getattr(method, key) is not None:
                raise AutosparseError(f"method {method.criterion!r} takes no `{key}:`, only {BRANCH!r} does")
        return
    if method.irp is None:
        raise AutosparseError(f"method {BRANCH!r} needs an `irp:`, the name of a run under `irp:`")
    if method.levels is None:
        raise AutosparseError(
            f"method {BRANCH!r} needs `levels:`, iterations of its run: survival scores tie in between, so the grid's "
            f"sparsities do not apply"
        )


def check_ablation(method: str, ablation: Ablation) -> None:
    """Raise if ``ablation`` does not apply to the method."""
    if ablation is None:
        return
    if method == DENSE:
        raise AutosparseError("dense has no masks or scores to ablate")
    if method == BRANCH:
        if ablation == "invert":
            raise AutosparseError(
                f"{BRANCH!r} cannot be inverted: survival scores tie, so their inverse does not say which weights "
                "stay; invert a criterion instead"
            )
        return
    criterion = CRITERIA[method]
    if "changing masks" in criterion.needs:
        raise AutosparseError(
            f"{method!r} changes its masks while training, which would undo the ablation: drop `ablation:`"
        )
    structured = "channels" in criterion.needs
    if ablation == "invert" and "sparsity" in criterion.options:
        raise AutosparseError(f"{method!r} prunes in rounds or whole channels: its scores inverted mean nothing")
    if ablation == "shuffle" and structured:
        raise AutosparseError(
            f"{method!r} prunes whole channels, which a shuffle of single weights would take apart: "
            f"compare with random-structured instead"
        )
    if ablation == "reinit" and structured and criterion.changes_weights:
        raise AutosparseError(f"{method!r} sets the weights itself: drop `ablation: reinit`, or take 3sp")
