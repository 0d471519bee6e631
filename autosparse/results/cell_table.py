"""Keep an experiment's finished cells in one artifact of its parent run, so that asking about a million takes seconds.

MLflow returns a cell as some sixty objects. The file has columns, and a question needs few of them. MLflow is asked
only which cells have finished since the file was written, and which were deleted. A finished run that somebody changed
by hand, or purged, is seen as it was until the next table is written.
"""

import gzip
import itertools
import json
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
from mlflow import MlflowClient
from mlflow.entities import RunTag, ViewType

from autosparse.results.cell_file import read_cells, write_cells
from autosparse.results.cells import Cells
from autosparse.results.columns import BATCH, table_of
from autosparse.results.runs import Run, newest_first, runs_of
from autosparse.tracking import curves
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.described import SHOWN
from autosparse.tracking.known import FINISHED
from autosparse.tracking.log import Tracker
from autosparse.tracking.search import parent_run

ARTIFACT = "cells.parquet"
OLDER = "cells.json.gz"
"""The artifact of earlier versions, which has an object for each run."""
COUNT = "cells_in_table"
"""Tag of a parent run that has a table: the number of finished cells when it was written."""
WORTH = 1000
"""Number of finished cells that are worth a table, and of new ones that are worth another."""
MARGIN = 60_000
"""Milliseconds by which the clocks of two drivers may differ. If they differ by more, all runs are asked for."""
FINISHED_COUNT = "cells_finished"
"""Tag of the parent run: the least number of finished cells."""
MOST = 1 << 30
"""Most bytes of an older table that are read: half a million cells. A larger one is not ours."""
LEFT_OUT = ("mask_sketch", curves.TAG, *SHOWN)
"""Long tags that no query needs."""


def finished_cells(client: MlflowClient, experiment: str) -> Cells:
    """The cells of ``finished_runs(client, experiment, "cell")``, perhaps without the tags in ``LEFT_OUT``."""
    with tracking_errors(client.tracking_uri):
        experiment_id = find_experiment(client, experiment)
        known, count = _read(client, experiment_id)
        if not known:
            return Cells.of(runs_of(client, experiment_id, "cell")).one_per_task()
        news = {run.run_id: run for run in runs_of(client, experiment_id, "cell", known.last_end - MARGIN)}
        gone = {run.run_id for run in runs_of(client, experiment_id, "cell", view=ViewType.DELETED_ONLY)}
        found = known.without(news.keys() | gone).joined(news.values()).by_start().one_per_task()
        if len(found) + len(gone) < count:
            return Cells.of(runs_of(client, experiment_id, "cell")).one_per_task()
    return found


def write_cell_table(tracker: Tracker) -> bool:
    """Write the table of all finished cells if the last one lacks enough of them; return whether it was written."""
    client = tracker.client
    with tracking_errors(client.tracking_uri):
        finished = sum(known.kind == "cell" and known.status == FINISHED for known in tracker.known.values())
        count, tags = str(finished), client.get_run(tracker.parent.id).data.tags
        if tracker.renewed < WORTH and 0 <= finished - int(tags.get(COUNT, 0)) < WORTH:
            if COUNT in tags and tags.get(FINISHED_COUNT) != count:
                client.log_batch(tracker.parent.id, tags=[RunTag(FINISHED_COUNT, count)])
            return False
        with tempfile.TemporaryDirectory() as folder:
            write_cells(_table(client, tracker.experiment_id), Path(folder) / ARTIFACT)
            client.log_artifact(tracker.parent.id, str(Path(folder) / ARTIFACT))
        client.log_batch(tracker.parent.id, tags=[RunTag(COUNT, count), RunTag(FINISHED_COUNT, count)])
    return True


def _table(client: MlflowClient, experiment_id: str) -> pa.Table:
    """All finished cells, oldest first, then the deleted ones, which may be restored.

    Only one batch of runs is in memory at a time.
    """
    parts = [table_of([])]
    for view in (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY):
        runs, begin = newest_first(client, experiment_id, "cell", view=view), len(parts)
        while batch := list(itertools.islice(runs, BATCH)):
            parts.insert(begin, table_of(map(_shortened, batch[::-1])))
    return pa.concat_tables(parts, promote_options="default")


def _shortened(run: Run) -> Run:
    return replace(run, tags={name: value for name, value in run.tags.items() if name not in LEFT_OUT})


def _read(client: MlflowClient, experiment_id: str) -> tuple[Cells, int]:
    """The cells in the table, none if it is missing or being written; and how many cells had finished."""
    parent = parent_run(client, experiment_id)
    readers: dict[str, Callable[[Path], Cells]] = {ARTIFACT: lambda path: Cells([read_cells(path)]), OLDER: _older}
    if parent is not None and COUNT in parent.data.tags:
        for artifact, read in readers.items():
            try:
                with tempfile.TemporaryDirectory() as folder:
                    found = read(Path(client.download_artifacts(parent.info.run_id, artifact, folder)))
                return found, int(parent.data.tags.get(FINISHED_COUNT, 0))
            except Exception:  # whatever is wrong with the file, MLflow has the runs themselves
                continue
    return Cells.of([]), 0


def _older(path: Path) -> Cells:
    """The cells in a table of an earlier version; none if it is too large."""
    with gzip.open(path) as file:
        content = file.read(MOST + 1)
    return Cells.of(Run(**row) for row in json.loads(content)) if len(content) <= MOST else Cells.of([])
