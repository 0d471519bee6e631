"""Put published figures beside measured ones: a table per source, from the experiment's parent run."""

import statistics
from collections.abc import Iterable
from typing import Any

from autosparse.report.collect import METRIC
from autosparse.report.formats import percent
from autosparse.report.table import NOTHING, Cell, Row, Table
from autosparse.results.groups import apart, groups_of
from autosparse.results.runs import Run


def published_tables(summary: dict[str, Any], cells: Iterable[Run]) -> list[Table]:
    """One table per source, model and data set, in the order of the file.

    A method has a row for each way in which its cells were trained or pruned, named by what differs: for example, if
    the data changed before some of its seeds.
    """
    planned = {cell for comparison in summary.get("comparisons", []) for cell in comparison["cells"]}
    compared = groups_of(run for run in cells if METRIC in run.metrics and run.tags["task_id"] in planned)
    measured = {
        run.tags["task_id"]: (group.method + group.training, run.metrics[METRIC])
        for group in compared
        for run in group.runs.values()
    }
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for comparison in summary.get("comparisons", []):
        key = (comparison["source"], comparison["model"], comparison["dataset"])
        groups.setdefault(key, []).append(comparison)
    return [_table(f"{source}: {model} on {data}", group, measured) for (source, model, data), group in groups.items()]


Way = tuple[tuple[str, str], ...]
"""How a cell was pruned and trained, and on which data."""
Measured = dict[str, tuple[Way, float]]
"""The way and the accuracy of each cell, by the cell's id."""


def _table(title: str, comparisons: list[dict[str, Any]], measured: Measured) -> Table:
    sparsities = sorted({entry["sparsity"] for entry in comparisons})
    rows: dict[str, dict[float, Cell]] = {}
    for method, names in _names(comparisons, measured).items():
        for entry in comparisons:
            if entry["method"] != method:
                continue
            other = any(difference.startswith("models:") for difference in entry["differences"])
            for way, name in names.items():
                values = [measured[cell][1] for cell in entry["cells"] if cell in measured and measured[cell][0] == way]
                beside = _beside(entry["published"], entry["spread"], values, other)
                rows.setdefault(name, {})[entry["sparsity"]] = beside
    listed = [Row(name, [cells.get(sparsity, NOTHING) for sparsity in sparsities]) for name, cells in rows.items()]
    columns = ["method", *map(percent, sparsities)]
    return Table(title, columns, listed, "wide stacked", notes=tuple(_notes(comparisons)))


def _names(comparisons: list[dict[str, Any]], measured: Measured) -> dict[str, dict[Way, str]]:
    """The ways in which the cells of each method were made, and the name of each."""
    names: dict[str, dict[Way, str]] = {}
    for entry in comparisons:
        ways = names.setdefault(entry["method"], {})
        ways |= {measured[cell][0]: "" for cell in entry["cells"] if cell in measured}
    for method, ways in names.items():
        told = apart([dict(way) for way in ways])
        names[method] = {w: f"{method} ({note})" if note else method for w, note in zip(ways, told, strict=True)}
    return {method: ways or {(): method} for method, ways in names.items()}


def _beside(published: float, spread: float | None, values: list[float], another_network: bool) -> Cell:
    """A published figure, what was measured for it, and the difference unless another network was measured."""
    stated = f"{published:.2f}" + (f" ± {spread:.2f}" if spread is not None else "")
    if not values:
        return Cell(stated, ("not measured",))
    mean = statistics.fmean(values)
    text = f"{mean:.2f}" + (f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else "")
    difference = () if another_network else (f"{mean - published:+.2f}",)
    return Cell(stated, (f"{text} ({len(values)})", *difference))


def _notes(comparisons: list[dict[str, Any]]) -> list[str]:
    """The differences from the paper that all methods share, then those of single methods."""
    by_method = {entry["method"]: entry["differences"] for entry in comparisons}
    shared = [d for d in next(iter(by_method.values()), []) if all(d in other for other in by_method.values())]
    notes = [*shared]
    for method, differences in by_method.items():
        rest = [difference for difference in differences if difference not in shared]
        if rest:
            notes.append(f"{method}: {'; '.join(rest)}")
    return notes


def concordance_table(summary: dict[str, Any]) -> Table | None:
    """A row per pair of IRP runs, in the order of the file, with the concordance correlation of their survival scores.

    None if there are none. If a figure is missing, the page says so and files leave the cell empty.
    """
    rows = [
        Row(pair["name"], [_signed(pair["published"], "–"), _signed(pair["measured"], "not yet"), Cell(pair["source"])])
        for pair in summary.get("concordances", [])
    ]
    return Table("Concordance of IRP runs", ["runs", "published", "measured", "source"], rows) if rows else None


def _signed(value: float | None, missing: str) -> Cell:
    return Cell(missing, plain="") if value is None else Cell(f"{value:+.5f}")
