"""Runs of MLflow, page by page."""

import contextlib
import gc
from collections.abc import Iterable, Iterator
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import ViewType


def all_runs(
    client: MlflowClient, experiment_id: str, filter_string: str = "", view: str = ViewType.ACTIVE_ONLY
) -> Iterable[Any]:
    """Every run of an experiment that matches, page by page, newest first."""
    token = None
    while True:
        with _uncollected():
            page = client.search_runs([experiment_id], filter_string, view, max_results=10_000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection: to look through MLflow's dozens of objects per run takes longer than to make them."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
