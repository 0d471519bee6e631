"""Branches of IRP runs: a run's masks after some of its iterations, trained from its initial weights.

A lottery ticket's restart (Frankle & Carbin 2019, arXiv:1803.03635), and the trunk of its ablations.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from autosparse.errors import AutosparseError
from autosparse.experiment.tasks import BRANCH, IrpFields

if TYPE_CHECKING:
    from autosparse.experiment.schema import GridSpec, IrpSpec, MethodSpec


def check_branch_keys(method: "MethodSpec") -> None:
    """Raise where the keys of a branch are missing, or stand where they mean nothing."""
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


def check_branch(method: "MethodSpec", run: "IrpSpec", grid: "GridSpec") -> None:
    """Raise where the IRP run is of another network than the grid, or has no such level or seed."""
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


def branches(method: "MethodSpec", run: "IrpSpec") -> Iterator[dict[str, Any]]:
    """What the cells of a branch have at each of its levels, beside what all cells have."""
    origin = IrpFields(**{name: getattr(run, name) for name in IrpFields.model_fields})
    paired = method.irp_seed is None and len(run.seeds) > 1
    seed = None if paired else run.seeds[0] if method.irp_seed is None else method.irp_seed
    for level in method.levels or ():
        yield {"irp": origin, "irp_seed": seed, "level": level, "sparsity": run.sparsity_at(level)}
