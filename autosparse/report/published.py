"""Published figures beside measured ones: a table per source, from what the experiment's parent run says."""

import json
import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from autosparse.report.collect import METRIC
from autosparse.report.tables import percent
from autosparse.tracking.client import find_experiment, tracking_errors
from autosparse.tracking.log import SUMMARY, WHOLE
from autosparse.tracking.pages import all_runs
from autosparse.tracking.runs import Run


@dataclass(frozen=True)
class Beside:
    """One published figure and what was measured for it; texts are empty where nothing was."""

    published: str
    measured: str
    n: int
    difference: str
    """Empty, too, where another network was measured."""


@dataclass(frozen=True)
class Table:
    """The figures of one source: methods as rows, sparsities as columns."""

    title: str
    columns: list[str]
    rows: list[tuple[str, list[Beside | None]]]
    notes: list[str]
    """What was not done as published."""


def summary_of(client: MlflowClient, experiment: str) -> tuple[str | None, dict[str, Any]]:
    """The id of an experiment's parent run, and what it says; empty where there is none, as in an older store."""
    with tracking_errors(client.tracking_uri), tempfile.TemporaryDirectory() as folder:
        filter_string = f"tags.kind = '{WHOLE}'"
        for run in all_runs(client, find_experiment(client, experiment), filter_string):
            try:
                path = client.download_artifacts(run.info.run_id, SUMMARY, folder)
            except (MlflowException, OSError):
                continue
            found: dict[str, Any] = json.loads(Path(path).read_text("utf-8"))
            return run.info.run_id, found
    return None, {}


def published_tables(summary: dict[str, Any], cells: Iterable[Run]) -> list[Table]:
    """One table per source, model and data set, in the order of the file."""
    accuracy = {run.tags["task_id"]: run.metrics[METRIC] for run in cells if METRIC in run.metrics}
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for comparison in summary.get("comparisons", []):
        key = (comparison["source"], comparison["model"], comparison["dataset"])
        groups.setdefault(key, []).append(comparison)
    return [_table(f"{source}: {model} on {data}", group, accuracy) for (source, model, data), group in groups.items()]


def _table(title: str, comparisons: list[dict[str, Any]], accuracy: dict[str, float]) -> Table:
    sparsities = sorted({own["sparsity"] for own in comparisons})
    rows: dict[str, dict[float, Beside]] = {}
    for own in comparisons:
        values = [accuracy[cell] for cell in own["cells"] if cell in accuracy]
        other = any(difference.startswith("models:") for difference in own["differences"])
        rows.setdefault(own["method"], {})[own["sparsity"]] = _beside(own["published"], own["spread"], values, other)
    listed = [(method, [by_sparsity.get(s) for s in sparsities]) for method, by_sparsity in rows.items()]
    return Table(title, [percent(s) for s in sparsities], listed, _notes(comparisons))


def _beside(published: float, spread: float | None, values: list[float], another_network: bool) -> Beside:
    stated = f"{published:.2f}" + (f" ± {spread:.2f}" if spread is not None else "")
    if not values:
        return Beside(stated, "", 0, "")
    mean = statistics.fmean(values)
    text = f"{mean:.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")
    return Beside(stated, text, len(values), "" if another_network else f"{mean - published:+.2f}")


def _notes(comparisons: list[dict[str, Any]]) -> list[str]:
    """Differences that all share, then those of single methods."""
    by_method = {own["method"]: own["differences"] for own in comparisons}
    shared = [d for d in next(iter(by_method.values()), []) if all(d in other for other in by_method.values())]
    notes = [*shared]
    for method, differences in by_method.items():
        rest = [difference for difference in differences if difference not in shared]
        if rest:
            notes.append(f"{method}: {'; '.join(rest)}")
    return notes


@dataclass(frozen=True)
class Concordant:
    """A pair of IRP runs: concordance correlation of their survival scores as published and as measured."""

    name: str
    published: str
    measured: str
    source: str


def concordant_pairs(summary: dict[str, Any]) -> list[Concordant]:
    """In the order of the file."""
    return [
        Concordant(pair["name"], _signed(pair["published"]), _signed(pair["measured"]), pair["source"])
        for pair in summary.get("concordances", [])
    ]


def _signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.5f}"
