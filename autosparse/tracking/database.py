"""Write new runs to MLflow's database many at a time, if this process writes it itself and not through a server.

MLflow makes a run in several transactions, each of which asks again what is there. A run that is known as a whole and
does not exist yet needs none of that. Here, one transaction inserts all rows of a batch of runs, so that all of them
are there or none is. The tables and the checks are MLflow's own. If a future MLflow wants more in its tables than is
written here, :meth:`Database.of` returns None, and MLflow's client makes each run instead.
"""

import time
import uuid
from collections.abc import Collection, Iterable, Sequence
from operator import itemgetter
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LifecycleStage, Metric, Param, RunTag
from mlflow.utils import validation
from sqlalchemy import insert, select

from autosparse.tracking.new_run import NewRun

Row = dict[str, Any]


class Database:
    """The database of an MLflow store, with the tables that runs are written to."""

    def __init__(self, store: Any, tables: Any):
        self.store, self.tables = store, tables

    @classmethod
    def of(cls, client: MlflowClient) -> "Database | None":
        """The database that ``client`` writes itself; None if it asks a server, or if the tables are unknown."""
        try:
            from mlflow.store.tracking.dbmodels import models
            from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

            store = client._tracking_client.store
            if type(store) is not SqlAlchemyStore:  # a subclass may keep more than its tables say
                return None
            found = cls(store, models)
            example = NewRun("x", 0, "FINISHED", {"x": ""}, {"x": ""}, [Metric("x", 0.0, 0, 0)])
            rows = found._rows("", "", [("", example)])
        except (ImportError, AttributeError, TypeError):
            return None
        return found if all(_takes(table, rows[0]) for table, rows in rows.items()) else None

    def tasks_with_runs(self, experiment_id: str, task_ids: Collection[str]) -> set[str]:
        """The tasks, of those given, that have a run in an experiment: of any status, but not a deleted one."""
        runs, tags = self.tables.SqlRun, self.tables.SqlTag
        having = select(tags.value).join(runs, runs.run_uuid == tags.run_uuid)
        having = having.where(tags.key == "task_id", tags.value.in_(task_ids))
        having = having.where(runs.experiment_id == int(experiment_id), runs.lifecycle_stage == LifecycleStage.ACTIVE)
        with self.store.ManagedSessionMaker() as session:
            return set(session.scalars(having))

    def add(self, experiment_id: str, runs: Iterable[NewRun]) -> list[str]:
        """Write new runs, all or none, as :class:`mlflow.MlflowClient` would; return their ids.

        :raises MlflowException: if the database cannot be written, the experiment is deleted, or a name or value is
            not one that MLflow takes.
        """
        experiment = self.store.get_experiment(experiment_id)
        self.store._check_experiment_is_active(experiment)
        named = [(uuid.uuid4().hex, run) for run in runs]
        rows = self._rows(experiment_id, experiment.artifact_location, named)
        with self.store.ManagedSessionMaker(read_only=False) as session:
            for table, content in rows.items():
                if content:
                    session.execute(insert(table.__table__), content)
        return [run_id for run_id, _ in named]

    def _rows(self, experiment_id: str, location: str, runs: Sequence[tuple[str, NewRun]]) -> dict[Any, list[Row]]:
        """The rows of each table, those of runs first."""
        tables, now = self.tables, int(1000 * time.time())
        every = tables.SqlRun, tables.SqlTag, tables.SqlParam, tables.SqlMetric, tables.SqlLatestMetric
        found: dict[Any, list[Row]] = {table: [] for table in every}
        for run_id, run in runs:
            metrics, params, tags = _checked(run)
            found[tables.SqlRun].append(
                {
                    "run_uuid": run_id,
                    "name": run.name,
                    "source_type": "UNKNOWN",
                    "source_name": "",
                    "entry_point_name": "",
                    "user_id": run.tags.get("mlflow.user", "unknown"),
                    "status": run.status,
                    "start_time": run.began,
                    "end_time": now,
                    "deleted_time": None,
                    "source_version": "",
                    "lifecycle_stage": LifecycleStage.ACTIVE,
                    "artifact_uri": f"{location.rstrip('/')}/{run_id}/{self.store.ARTIFACTS_FOLDER_NAME}",
                    "experiment_id": int(experiment_id or 0),
                }
            )
            found[tables.SqlTag] += [{"key": tag.key, "value": tag.value, "run_uuid": run_id} for tag in tags]
            found[tables.SqlParam] += [{"key": item.key, "value": item.value, "run_uuid": run_id} for item in params]
            points = [self._point(metric, run_id) for metric in metrics]
            found[tables.SqlMetric] += points
            found[tables.SqlLatestMetric] += latest(points)
        return found

    def _point(self, metric: Metric, run_id: str) -> Row:
        is_nan, value = self.store.sanitize_metric_value(metric.value)
        at = {"timestamp": metric.timestamp, "step": metric.step}
        return {"key": metric.key, "value": value, **at, "is_nan": is_nan, "run_uuid": run_id}


def latest(points: Iterable[Row]) -> list[Row]:
    """The last point of each metric: that of the highest step, then time, then value."""
    found: dict[str, Row] = {}
    for point in points:
        other = found.get(point["key"], point)
        found[point["key"]] = max(other, point, key=itemgetter("step", "timestamp", "value"))
    return list(found.values())


def _checked(run: NewRun) -> tuple[list[Metric], list[Param], list[RunTag]]:
    """A run's metrics (each point once), params and tags by MLflow's own checks, which cut off long values."""
    tags = [RunTag(name, value) for name, value in {**run.tags, "mlflow.runName": run.name}.items()]
    params = [Param(name, value) for name, value in run.params.items()]
    checked: tuple[list[Metric], list[Param], list[RunTag]] = validation._validate_batch_log_data(
        list(dict.fromkeys(run.metrics)), params, tags
    )
    return checked


def _takes(table: Any, row: Row) -> bool:
    """Whether a table has all columns of ``row``, and needs no other."""
    columns = table.__table__.columns
    needed = {c.name for c in columns if not c.nullable and c.default is None and c.server_default is None}
    return needed <= row.keys() <= set(columns.keys())
