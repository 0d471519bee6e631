"""Keep an experiment's finished cells in one artifact of its parent run, so that reading thousands takes a second.

MLflow returns a cell as some sixty objects; a file of all cells is read at once. MLflow is asked only which cells have
finished since the file was written, and which were deleted. A finished run that was changed by hand, or purged for
good, is seen as it was until the next table is written.
"""

import gzip
import json
import tempfile
from dataclasses import asdict
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import RunTag, ViewType

from autosparse.results.runs import Run, one_per_task, runs_of
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.described import SHOWN
from autosparse.tracking.log import FINISHED, Tracker
from autosparse.tracking.search import parent_run

ARTIFACT = "cells.json.gz"
COUNT = "cells_in_table"
"""Tag of a parent run that has a table: the number of cells in it."""
WORTH = 1000
"""Number of finished cells that are worth a table, and of new ones that are worth another."""
MARGIN = 60_000
"""Milliseconds by which the clocks of two drivers may differ. If they differ by more, all runs are asked for."""
FINISHED_COUNT = "cells_finished"
"""Tag of the parent run: the least number of finished cells."""
MOST = 1 << 30
"""Most bytes of a table that are read: half a million cells. A larger one is not ours."""
VIEWS = (ViewType.ACTIVE_ONLY, ViewType.DELETED_ONLY)
"""The table has deleted runs, too, because they may be restored."""
LEFT_OUT = ("mask_sketch", *SHOWN)
"""Long tags that no query needs."""


def finished_cells(client: MlflowClient, experiment: str) -> list[Run]:
    """The same as ``finished_runs(client, experiment, "cell")``, but maybe without the tags in ``LEFT_OUT``."""
    with tracking_errors(client.tracking_uri):
        experiment_id = find_experiment(client, experiment)
        known, count = _read(client, experiment_id)
        if not known:
            return one_per_task(runs_of(client, experiment_id, "cell"))
        since = max(run.end for run in known) - MARGIN
        news = {run.run_id: run for run in runs_of(client, experiment_id, "cell", since)}
        gone = {run.run_id for run in runs_of(client, experiment_id, "cell", view=ViewType.DELETED_ONLY)}
        runs = [run for run in known if run.run_id not in news.keys() | gone] + list(news.values())
        if len(one_per_task(runs)) + len(gone) < count:
            return one_per_task(runs_of(client, experiment_id, "cell"))
    return one_per_task(sorted(runs, key=lambda run: run.start))


def write_cell_table(tracker: Tracker) -> bool:
    """Write the table of all finished cells if the last one lacks enough of them; return whether it was written."""
    client = tracker.client
    with tracking_errors(client.tracking_uri):
        finished = [known.kind for known in tracker.known.values() if known.status == FINISHED]
        count, tags = str(finished.count("cell")), client.get_run(tracker.parent).data.tags
        if tracker.renewed < WORTH and 0 <= len(finished) - int(tags.get(COUNT, 0)) < WORTH:
            if COUNT in tags and tags.get(FINISHED_COUNT) != count:
                client.log_batch(tracker.parent, tags=[RunTag(FINISHED_COUNT, count)])
            return False
        runs = [run for view in VIEWS for run in runs_of(client, tracker.experiment_id, "cell", view=view)]
        rows = [
            {**asdict(run), "tags": {name: value for name, value in run.tags.items() if name not in LEFT_OUT}}
            for run in runs
        ]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / ARTIFACT
            file.write_bytes(gzip.compress(json.dumps(rows).encode(), compresslevel=6))
            client.log_artifact(tracker.parent, str(file))
        client.log_batch(tracker.parent, tags=[RunTag(COUNT, str(len(rows))), RunTag(FINISHED_COUNT, count)])
    return True


def _read(client: MlflowClient, experiment_id: str) -> tuple[list[Run], int]:
    """The runs in the table, none if it is missing or being written; and how many cells had finished."""
    parent = parent_run(client, experiment_id)
    if parent is None or COUNT not in parent.data.tags:
        return [], 0
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            gzip.open(client.download_artifacts(parent.info.run_id, ARTIFACT, folder)) as file,
        ):
            content = file.read(MOST + 1)
        runs = [Run(**row) for row in json.loads(content)] if len(content) <= MOST else []
        return runs, int(parent.data.tags.get(FINISHED_COUNT, 0))
    except Exception:  # whatever is wrong with the file, MLflow has the runs themselves
        return [], 0
