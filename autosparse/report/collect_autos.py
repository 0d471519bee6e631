"""Read IRP runs and scorers from MLflow as plain values, with the samples of weights that were logged with them."""

from dataclasses import dataclass

from mlflow import MlflowClient

from autosparse.report.collect import natural
from autosparse.results.fitted_on import fitted_on
from autosparse.results.runs import Run, finished_runs, history_of
from autosparse.results.samples import Sample, sample_of
from autosparse.schedule import density_after
from autosparse.tracking.texts import names_in


@dataclass(frozen=True)
class IrpRun:
    """An IRP run: accuracy in percent and density of the network trained in each iteration."""

    run: Run
    accuracy: list[float]
    density: list[float]
    sample: Sample | None
    problem: str
    """Why there is no sample; empty if there is one."""

    @property
    def iterations(self) -> int:
        """N, the number of pruning iterations."""
        return int(self.run.params["iterations"])


@dataclass(frozen=True)
class Fit:
    """A scorer."""

    run: Run
    sources: list[str]
    """The IRP runs that it was fitted on, by name if they are in this experiment, else by id."""
    sample: Sample | None
    problem: str

    @property
    def inputs(self) -> list[str]:
        """Names of the features that it reads."""
        return names_in(self.run.params.get("fit.inputs", ""))

    @property
    def refined(self) -> str:
        """How its coefficients were refined; empty if they were not."""
        if not (found := self._settings("fit.refine.")):
            return ""
        reached = self.run.metrics.get("validation_accuracy")
        told = ""
        if reached is not None:
            told = f"; networks pruned by the final mean reach {reached:.2f} % on validation images"
        return f"{found['generations']} generations of {found['population']} candidates{told}"

    @property
    def dagger(self) -> str:
        """What it learned from networks that it had pruned itself; empty if it did not."""
        if not (found := self._settings("fit.dagger.")):
            return ""
        return (
            f"{found['passes']} passes, {found['networks']} networks each, trained for {found['epochs']} epochs a state"
        )

    @property
    def trusted(self) -> bool:
        """Whether the fit came near what the data allow; see :mod:`autosparse.autos.diagnostics`."""
        return self.run.tags.get("trusted") != "False"

    def _settings(self, prefix: str) -> dict[str, str]:
        params = self.run.params.items()
        return {name.removeprefix(prefix): value for name, value in params if name.startswith(prefix)}


def fits_of(client: MlflowClient, experiment: str, irp: list[Run]) -> list[Fit]:
    """The finished scorers of an experiment by name, with sample."""
    names = {run.tags["irp_id"]: run.name for run in irp if "irp_id" in run.tags}
    fits, sweeps = [], finished_runs(client, experiment, "sweep")
    for run in in_order(finished_runs(client, experiment, "scorer")):
        ids = fitted_on(run, sweeps)
        fits.append(Fit(run, [names.get(i, i) for i in ids], *sample_of(client, run)))
    return fits


def in_order(runs: list[Run]) -> list[Run]:
    """The runs by name, because the order in which they ended means nothing."""
    return sorted(runs, key=lambda run: (natural(run.name), run.tags.get("task_id", run.run_id)))


def irp_run(client: MlflowClient, run: Run) -> IrpRun:
    """An IRP run with accuracy and sample; slow if the artifacts are far away."""
    steps = dict(history_of(client, run.run_id, "accuracy"))
    shape = (int(run.params["iterations"]), float(run.params["final_density"]), run.params["schedule"])
    # the network of iteration i was trained before the pruning of iteration i
    density = [1.0 if step == 1 else density_after(step - 1, *shape) for step in sorted(steps)]
    return IrpRun(run, [steps[step] for step in sorted(steps)], density, *sample_of(client, run))
