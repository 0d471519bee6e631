"""A grid that still runs, in MLflow."""

from typing import Any

from fake_runs import FakeRuns

from autosparse.tracking.search import SUMMARY, WHOLE


class LiveRuns:
    """An experiment whose parent run goes on, and two of whose cells have finished."""

    def __init__(self, runs: FakeRuns, total: int) -> None:
        self.runs = runs
        self.parent = runs.client.create_run(runs.experiment_id, tags={"kind": WHOLE}).info.run_id
        runs.client.log_dict(self.parent, {"tasks": {"cells": total}}, SUMMARY)
        self.cell("snip", 0.9, 91.5)
        self.cell("random", 0.9, 71.5)

    def cell(self, method: str, sparsity: float, accuracy: float, status: str = "FINISHED", **more: Any) -> None:
        """Write a cell that ends now."""
        run_id = self.runs.cell(method, sparsity, 0, accuracy, **more)
        self.runs.client.set_terminated(run_id, status)

    def end(self) -> None:
        """End the experiment."""
        self.runs.client.set_terminated(self.parent, "FINISHED")
