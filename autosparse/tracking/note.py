"""Note in a file of the parent run which runs MLflow has, so that a start asks only for the others.

MLflow returns a run as some sixty objects, which takes most of a millisecond. A note has five values of it. A start
asks MLflow which runs have ended since the note, which have not finished, which were deleted, and whether there are as
many others as the note says. If not, because runs were purged or restored, or because clocks differ, it reads all runs.
So if a driver was killed before or while it wrote a note, the next start takes longer, and that is all. Changes that
people make by hand in a finished run go unseen until all runs are read.
"""

import contextlib
import json
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from mlflow import MlflowClient
from mlflow.entities import RunTag, ViewType
from mlflow.utils.search_utils import SearchUtils

from autosparse.tracking.known import FINISHED, Known
from autosparse.tracking.search import all_runs

ARTIFACT = "runs.parquet"
NOTED = "runs_noted"
"""Tag of a parent run that has a note: the number of runs in it."""
WORTH = 1000
"""Number of finished runs that are worth a note, and of new ones that are worth another."""
SHARE = 100
"""If there are many runs, another note is worth writing once one in this many is new."""
TASKS = "tags.task_id != ''"
"""The condition that finds the runs of tasks."""
ABOUT = b"autosparse.note"
"""The key in the file's metadata of what concerns all its runs."""


class Note(NamedTuple):
    """What MLflow had at some time."""

    until: int
    """Runs that ended later are not in the note, or have changed since; in milliseconds since 1970."""
    known: dict[str, Known]
    """The finished runs, by the ids of their tasks."""


def write_note(client: MlflowClient, parent: str, known: Mapping[str, Known]) -> int:
    """Write down the finished runs; return how many. If it fails, the next start takes longer."""
    until = int(time.time() * 1000) - 1  # what ends in this very millisecond is asked for again
    finished = [(task_id, run) for task_id, run in list(known.items()) if run.status == FINISHED]
    names = {found: number for number, found in enumerate(dict.fromkeys(run.params for _, run in finished))}
    about = {"until": until, "params": [sorted(found) for found in names]}
    columns = {"task_id": [task_id for task_id, _ in finished]}
    columns |= {field: [getattr(run, field) for _, run in finished] for field in ("run_id", "label", "kind", "made")}
    table = pa.table({**columns, "params": pa.array([names[run.params] for _, run in finished], pa.int32())})
    with contextlib.suppress(Exception), tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / ARTIFACT
        table = table.replace_schema_metadata({ABOUT: json.dumps(about)})
        pq.write_table(table, path, compression="zstd", write_page_checksum=True)
        client.log_artifact(parent, str(path))
        client.log_batch(parent, tags=[RunTag(NOTED, str(len(finished)))])
    return len(finished)


def read_note(client: MlflowClient, parent: str) -> Note | None:
    """Read the note of a parent run; None if it has none, or if the note is damaged or incomplete."""
    if NOTED not in client.get_run(parent).data.tags:
        return None
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = client.download_artifacts(parent, ARTIFACT, folder)
            table = pq.read_table(path, memory_map=False, page_checksum_verification=True)
        about = json.loads(table.schema.metadata[ABOUT])
        params = [frozenset(names) for names in about["params"]]
        columns = (table.column(name).to_pylist() for name in ("task_id", "run_id", "label", "kind", "made", "params"))
        rows = zip(*columns, strict=True)
        known = {id: Known(run, FINISHED, label, kind, made, params[of]) for id, run, label, kind, made, of in rows}
        return Note(int(about["until"]), known)
    except Exception:  # whatever is wrong with the file, MLflow has the runs themselves
        return None


def noted_and_others(client: MlflowClient, experiment_id: str, parent: str) -> tuple[dict[str, Known], Iterable[Any]]:
    """What the note says of runs that are still as they were, and all other runs of tasks as MLflow has them."""
    note = read_note(client, parent)
    if note is None:
        return {}, all_runs(client, experiment_id, TASKS)
    news = {
        run.info.run_id: run
        for condition in (f"attributes.end_time > {note.until}", f"attributes.status != '{FINISHED}'")
        for run in all_runs(client, experiment_id, f"{TASKS} and {condition}")
    }
    gone = {run.info.run_id for run in all_runs(client, experiment_id, TASKS, ViewType.DELETED_ONLY)}
    still = {task_id: run for task_id, run in note.known.items() if run.run_id not in news.keys() | gone}
    unchanged = f"{TASKS} and attributes.status = '{FINISHED}' and attributes.end_time <= {note.until}"
    if not _there_are(len(still), client, experiment_id, unchanged):
        return {}, all_runs(client, experiment_id, TASKS)
    return still, news.values()


def _there_are(count: int, client: MlflowClient, experiment_id: str, condition: str) -> bool:
    """Whether ``count`` runs match, without reading them: the last of them is there, and no page follows it."""
    token = SearchUtils.create_page_token(max(count - 1, 0))
    page = client.search_runs([experiment_id], condition, max_results=1, page_token=token)
    return len(page) == min(count, 1) and not page.token
