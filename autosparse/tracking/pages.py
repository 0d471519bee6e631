"""Runs of MLflow, page by page."""

from collections.abc import Iterable
from typing import Any

from mlflow import MlflowClient


def all_runs(client: MlflowClient, experiment_id: str, filter_string: str = "") -> Iterable[Any]:
    """Every run of an experiment that matches, page by page."""
    token = None
    while True:
        page = client.search_runs([experiment_id], filter_string, max_results=10_000, page_token=token)
        yield from page
        token = page.token
        if not token:
            return
