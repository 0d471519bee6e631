"""Runs as the tracker writes them, for the price of a few inserts."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from autosparse.analysis import mask_sketch
from autosparse.masks import Masks
from autosparse.tracking.client import open_experiment

VERSIONS = {"git_commit": "abc1234", "host": "here", "version.torch": "2.6.0", "version.autosparse": "0.1.0"}


class FakeRuns:
    """Writes runs of one experiment through the real client."""

    def __init__(self, client: MlflowClient, experiment: str, scratch: Path):
        self.client, self.scratch = client, scratch
        self.experiment_id = open_experiment(client, experiment)
        self.count = 0

    def cell(
        self,
        method: str,
        sparsity: float,
        seed: int,
        accuracy: float,
        *,
        model: str = "lenet-300-100",
        dataset: str = "digits",
        densities: Mapping[str, float] | None = None,
        params: Mapping[str, str] | None = None,
        measures: Mapping[str, float] | None = None,
        masks: Masks | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> str:
        """A finished cell; its criterion is its method unless ``params`` say otherwise."""
        metrics = {"test_accuracy": accuracy, "collapsed_layers": sum(d == 0 for d in (densities or {}).values())}
        metrics |= {f"density/{layer}": density for layer, density in (densities or {}).items()}
        metrics |= measures or {}
        tags = {"method": method, "label": method, "model": model, "dataset": dataset, **(tags or {})}
        tags |= {"mask_sketch": mask_sketch(masks)} if masks else {}
        fixed = {"criterion": method, "model": model, "dataset": dataset, "recipe.epochs": "10"}
        point = {"sparsity": str(sparsity), "seed": str(seed)}
        return self.run("cell", f"{method} {sparsity}", tags | point, fixed | point | dict(params or {}), metrics)

    def irp(self, label: str = "a", seed: int = 0, model: str = "lenet-300-100", **sample: int) -> str:
        """A finished IRP run of 4 iterations with its sample, in which the weights follow from the seed."""
        tags = {"label": label, "model": model, "dataset": "digits", "criterion": "snip", "seed": str(seed)}
        params = {"iterations": "4", "final_density": "0.01", "schedule": "geometric"}
        run_id = self.run("irp", f"irp {label} seed {seed}", tags, params, {"kept": 10.0})
        for step, accuracy in enumerate((95.0, 94.0, 90.0, 80.0), 1):
            self.client.log_metric(run_id, "accuracy", accuracy, step=step)
        self._log_sample(run_id, ("snip", "grasp"), seed, **sample)
        return run_id

    def scorer(self, label: str, warning: str = "", irp: str = "", **sample: int) -> str:
        """A finished fit with its sample."""
        tags = {"label": label, "trusted": str(not warning)} | ({"warning": warning} if warning else {})
        params = {"fit.backbone": "mlp", "fit.inputs": "['param', 'grad']", "fit.epochs": "10", "irp": f"['{irp}']"}
        metrics = {"train_r2": 0.5, "held_out_r2": 0.4321, "binned_mean_r2": 0.45}
        run_id = self.run("scorer", f"scorer {label}", tags, params, metrics)
        self._log_sample(run_id, ("predicted",), 0, **sample)
        return run_id

    def run(
        self,
        kind: str,
        name: str,
        tags: Mapping[str, str],
        params: Mapping[str, str],
        metrics: Mapping[str, float],
        status: str = "FINISHED",
    ) -> str:
        """One run in full."""
        self.count += 1
        task_id = f"{self.count:016x}"
        run_id = str(self.client.create_run(self.experiment_id, run_name=name, tags={"task_id": task_id}).info.run_id)
        every = {"kind": kind, f"{kind}_id": task_id, **VERSIONS, **tags}
        self.client.log_batch(
            run_id,
            metrics=[Metric(key, float(value), 0, 0) for key, value in metrics.items()],
            params=[Param(key, value) for key, value in params.items()],
            tags=[RunTag(key, value) for key, value in every.items()],
        )
        self.client.set_terminated(run_id, status=status)
        return run_id

    def _log_sample(
        self, run_id: str, extra: tuple[str, ...], seed: int, layers: int = 2, rows: int = 30, survival: int = 0
    ) -> None:
        random, n = np.random.default_rng(seed), layers * rows
        names = pa.array([f"fc{1 + i // rows}.weight" for i in range(n)]).dictionary_encode()
        columns = {name: random.normal(size=n).astype(np.float32) for name in ("param", "grad", *extra)}
        survived = np.random.default_rng(survival).integers(0, 5, size=n).astype(np.float32) / 4
        folder = self.scratch / run_id
        folder.mkdir()
        position = np.tile(np.arange(rows), layers)
        pq.write_table(
            pa.table({"layer": names, "position": position, "survival": survived, **columns}), folder / "sample.parquet"
        )
        self.client.log_artifact(run_id, str(folder / "sample.parquet"))
