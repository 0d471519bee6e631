"""Find runs in MLflow: an experiment's parent run, the summary it holds, and all other runs page by page."""

import contextlib
import gc
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run, ViewType
from mlflow.store.entities import PagedList

from autosparse.tracking.client import all_pages

WHOLE = "experiment"
"""The kind of a parent run."""
SUMMARY = "experiment.json"
"""The parent run's artifact: a summary of the whole experiment, for the report."""


def parent_run(client: MlflowClient, experiment_id: str) -> Any | None:
    """Find the run of the whole experiment; return None if nobody has made it, or somebody has deleted it."""
    return next(iter(all_runs(client, experiment_id, f"tags.kind = '{WHOLE}'")), None)


def has_summary(client: MlflowClient, run_id: str) -> bool:
    """Whether a parent run describes its experiment; that of single fits does not."""
    return any(file.path == SUMMARY for file in client.list_artifacts(run_id))


def summary_of(client: MlflowClient, run_id: str) -> dict[str, Any]:
    """The summary of an experiment from its parent run; {} if it has none."""
    if not has_summary(client, run_id):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path = client.download_artifacts(run_id, SUMMARY, folder)
        found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
    return found


def all_runs(
    client: MlflowClient, experiment_id: str, filter_string: str = "", view: str = ViewType.ACTIVE_ONLY
) -> Iterable[Any]:
    """Every run of an experiment that matches, page by page, newest first."""

    def ask(token: str | None) -> PagedList[Run]:
        with _uncollected():
            return client.search_runs([experiment_id], filter_string, view, max_results=10_000, page_token=token)

    return all_pages(ask)


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Suspend garbage collection: scanning MLflow's dozens of objects per run takes longer than making them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
