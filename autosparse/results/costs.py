"""What finished work cost, in seconds, images or FLOPs, as far as its records tell.

- **Seconds** are those that its process measured: scoring and training of a cell; all of an IRP run, a fit, or a sweep.
- **Images** count each time that a network was shown one, in scoring and in training. For an IRP run, and for a fit
  that trains networks (DAgger, a refinement), records tell the images of training alone.
- **FLOPs** are those of Linear and convolution layers on these images: forward FLOPs times images times three, because
  the backward pass takes twice what the forward pass takes. In a cell's own training, the forward FLOPs are those of
  the network that was computed with (``flops_trained``): the dense one, masks and all, or a compact one. All else
  counts as dense. For scoring, this is an approximation: some criteria do less (no backward pass), some more (a
  Hessian). For the trainings before a cell's own, for IRP runs and for fits, it is an upper bound: no record tells what
  compact networks saved. What else a fit computes is in its seconds only.

A branch of an IRP run needs the iterations up to its level, so it bears that share of the run's cost.
"""

from collections.abc import Iterable

from mlflow import MlflowClient

from autosparse.criteria import CRITERIA
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.results.runs import Run, history_of
from autosparse.tracking.parent import WALL_SECONDS
from autosparse.tracking.texts import names_in

UNITS = ("seconds", "images", "flops")
PASSES = 3
"""Forward and backward, in forward passes."""
TRAINS_NETWORKS = (".dagger.", ".refine.", "downstream.")
"""If a param of a fit or sweep has one of these in its name, it trains networks."""


def wall_seconds(client: MlflowClient, parent: str | None, stages: Iterable[str]) -> dict[str, float]:
    """Seconds that each stage took from start to end, summed over the times that it ran, if the parent run knows."""
    if parent is None:
        return {}
    points = {stage: history_of(client, parent, WALL_SECONDS + stage) for stage in stages}
    return {stage: sum(value for _, value in found) for stage, found in points.items() if found}


class NotRecorded(Exception):
    """Why a cost is not known."""


class Ledger:
    """Looks up costs in the finished runs of an experiment.

    :param cells, irp, scorers, sweeps: its runs by kind; costs that need a missing one are unknown.
    """

    def __init__(
        self, cells: Iterable[Run], irp: Iterable[Run] = (), scorers: Iterable[Run] = (), sweeps: Iterable[Run] = ()
    ):
        self._runs = {run.tags.get("task_id", run.run_id): run for run in (*irp, *scorers, *sweeps)}
        self._dense = {_network(cell): cell.metrics["flops_dense"] for cell in cells if "flops_dense" in cell.metrics}

    def of_cell(self, cell: Run, unit: str) -> float:
        """What a cell cost to score and train; for a branch, with its share of the IRP run.

        :param unit: one of UNITS.
        :raises NotRecorded: if its records do not tell.
        """
        if unit == "seconds":
            cost = _metric(cell, "seconds")
        elif unit == "images":
            cost = sum(_images_of_cell(cell))
        else:
            dense = _metric(cell, "flops_dense")
            trained = cell.metrics.get("flops_trained", dense)  # absent in a version that had no compact networks
            before, training = _images_of_cell(cell)
            cost = PASSES * (dense * before + trained * training)
        if cell.params.get("criterion") != BRANCH:
            return cost
        level, iterations = (_param(cell, name) for name in ("level", "irp.iterations"))
        return cost + level / iterations * self._of_run(self._found("IRP run", cell.tags.get("irp_id", "")), unit)

    def once(self, cell: Run, unit: str) -> float:
        """What was spent once for all cells with the scorer of this one: IRP runs, fit, sweep; 0 without a scorer.

        :param unit: one of UNITS.
        :raises NotRecorded: if the records do not tell.
        """
        if not cell.params.get("scorer"):
            return 0.0
        scorer = self._found("scorer", cell.params["scorer"])
        made_by, last = [scorer], scorer
        if scorer.params.get("sweep"):
            last = self._found("sweep", scorer.params["sweep"])
            made_by.append(last)
        irp = [self._found("IRP run", task_id) for task_id in names_in(last.params.get("irp", ""))]
        if not irp:
            raise NotRecorded(f"MLflow does not tell the IRP runs of scorer {scorer.tags.get('label', scorer.name)}")
        networks = {_network(run) for run in irp}
        fits = sum(self._of_run(run, unit, networks) for run in made_by)
        return fits + sum(self._of_run(run, unit) for run in irp)

    def _found(self, what: str, task_id: str) -> Run:
        if task_id not in self._runs:
            raise NotRecorded(f"MLflow has no finished {what}{f' {task_id}' if task_id else ''}")
        return self._runs[task_id]

    def _of_run(self, run: Run, unit: str, networks: Iterable[tuple[str, str]] = ()) -> float:
        """The cost of an IRP run, a fit or a sweep.

        :param networks: those that it trained, if it does not say so itself.
        """
        if unit == "seconds":
            return _metric(run, "seconds")
        images = _images_of_run(run)
        if unit == "images" or images == 0:
            return images
        forward = {self._dense.get(network) for network in networks or (_network(run),)}
        if len(forward) != 1 or None in forward:
            raise NotRecorded(f"no cell tells the FLOPs of the networks of {run.name}")
        return PASSES * images * sum(filter(None, forward))


def training_flops(cell: Run) -> tuple[float, float]:
    """FLOPs of all trainings of a cell: as if each were dense, and with its own training as it was computed.

    :raises NotRecorded: if its records do not tell.
    """
    images = _metric(cell, "images")
    own = images_of_own_training(cell.params.get("criterion", ""), images, cell.metrics.get("images_score"))
    dense, trained = _metric(cell, "flops_dense"), _metric(cell, "flops_trained")
    return PASSES * images * dense, PASSES * ((images - own) * dense + own * trained)


def images_of_own_training(criterion: str, images: float, images_score: float | None) -> float:
    """Images of the training under a cell's masks. ``images`` includes those of trainings on the way to the masks.

    :param images_score: None: not recorded.
    :raises NotRecorded: if the criterion is not installed, or trains on the way and ``images_score`` is not recorded.
    """
    if criterion in (DENSE, BRANCH) or images_score == 0:
        return images
    if criterion not in CRITERIA:
        raise NotRecorded(f"criterion {criterion!r} is not installed here: its trainings cannot be told from scoring")
    if "training" not in CRITERIA[criterion].options:
        return images
    if images_score is None:
        raise NotRecorded("its records lack 'images_score', as those of earlier versions do")
    return images - images_score


def _images_of_cell(cell: Run) -> tuple[float, float]:
    """Images that a cell's network was shown before it had its masks, and after."""
    images, name = _metric(cell, "images"), cell.params.get("criterion", "")
    before = 0.0 if name in (DENSE, BRANCH) else _metric(cell, "images_score")
    return before, images_of_own_training(name, images, before)


def _images_of_run(run: Run) -> float:
    if "images" in run.metrics:
        return run.metrics["images"]
    if run.tags.get("kind") == "irp" or any(part in f".{name}" for name in run.params for part in TRAINS_NETWORKS):
        raise NotRecorded(f"{run.name} does not tell how many images it took")
    return 0.0  # a fit on rows


def _network(run: Run) -> tuple[str, str]:
    """Model and data set, on which forward FLOPs depend."""
    model, dataset = (run.tags.get(name) or run.params.get(name, "") for name in ("model", "dataset"))
    return model, dataset


def _metric(run: Run, name: str) -> float:
    if name not in run.metrics:
        raise NotRecorded(f"its records lack {name!r}, as those of earlier versions do")
    return run.metrics[name]


def _param(run: Run, name: str) -> float:
    try:
        return float(run.params[name])
    except (KeyError, ValueError) as error:
        raise NotRecorded(f"its records lack {name!r}, as those of earlier versions do") from error
