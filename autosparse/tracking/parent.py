"""The run that stands for a whole experiment; the runs of its tasks are its children."""

import time

from mlflow import MlflowClient
from mlflow.entities import RunTag

from autosparse.experiment.record import Json
from autosparse.tracking.client import tracking_errors
from autosparse.tracking.described import source_tags
from autosparse.tracking.search import SUMMARY, WHOLE, has_summary, parent_run

RUNNING, KILLED = "RUNNING", "KILLED"
SCHEDULED = "SCHEDULED"
"""The status of an experiment that has work left and no running driver, such as after a run of one stage."""
WALL_SECONDS = "wall_seconds/"
"""Prefix of the metrics for the wall time of each stage, with a point for each time that it ran."""


class ParentRun:
    """The parent run of an experiment, which is made if MLflow has none, or if somebody has deleted it."""

    def __init__(self, client: MlflowClient, experiment_id: str, experiment: str):
        self.client, self.experiment_id, self.experiment = client, experiment_id, experiment
        self.source = ""
        """The experiment file; empty until :meth:`describe` tells it."""
        self.id = self._found()

    def _found(self) -> str:
        found = parent_run(self.client, self.experiment_id)
        if found is None:
            tags = {"kind": WHOLE, **source_tags(self.source, {})}
            found = self.client.create_run(self.experiment_id, run_name=self.experiment, tags=tags)
        return str(found.info.run_id)

    def describe(self, summary: Json, status: str) -> None:
        """Write the summary of the whole experiment, and its status."""
        shown = ("preset", "source", "command", "file", "description")
        self.source = str(summary.get("file") or "")
        told = {name: str(summary[name])[:5000] for name in shown if summary.get(name)}
        told |= source_tags(self.source, {})
        tags = [RunTag(name, value) for name, value in told.items()]
        with tracking_errors(self.client.tracking_uri):
            self.id = self._found()
            self.client.log_batch(self.id, tags=tags)
            self.client.log_dict(self.id, summary, SUMMARY)
            if status == RUNNING:
                self.client.update_run(self.id, status=status)
            else:
                self.client.set_terminated(self.id, status=status)

    def spent(self, stage: str, seconds: float) -> None:
        """Add the wall time of a stage, or of a part of it."""
        with tracking_errors(self.client.tracking_uri):
            self.id = self._found()
            self.client.log_metric(self.id, f"{WALL_SECONDS}{stage}", seconds, step=int(time.time()))

    def end_untold(self) -> None:
        """End the run if nothing describes the experiment as a whole, as after single fits."""
        with tracking_errors(self.client.tracking_uri):
            if not has_summary(self.client, self.id):
                self.client.set_terminated(self.id)
