"""The cost of an experiment: time, images, CPU-hours and GPU-hours."""

import contextlib
import statistics
from collections.abc import Iterable, Mapping, Sequence

from autosparse.report.collect import Point, Section
from autosparse.report.formats import duration, quantity
from autosparse.report.table import NOTHING, Table, texts
from autosparse.results.costs import NotRecorded, training_flops
from autosparse.results.runs import Run

NOT_KNOWN = NOTHING.text


def stage_costs(stages: Mapping[str, tuple[str, Sequence[Run]]], wall: Mapping[str, float]) -> Table | None:
    """One row per stage whose runs have times; None if there is none.

    :param stages: title and runs of each stage, by the name that it has in ``wall``.
    """
    rows = []
    for name, (title, runs) in stages.items():
        seconds = [run.metrics["seconds"] for run in runs if "seconds" in run.metrics]
        if seconds:
            time, work = duration(wall[name]) if name in wall else NOT_KNOWN, duration(sum(seconds))
            rows.append([title, str(len(runs)), time, work, _images(runs), _hours(runs, "cpu"), _hours(runs, "cuda")])
    columns = ["stage", "runs", "wall time", "work", "images trained on", "CPU-hours", "GPU-hours"]
    return _without_unknown("Cost by stage", columns, rows) if rows else None


def method_costs(section: Section) -> Table | None:
    """Mean seconds, images and FLOPs of a cell by method; None if no times were logged."""
    rows = []
    for method in section.methods:
        points = list(method.points.values())
        times = [_mean(points, name) for name in ("seconds_score", "seconds_train", "seconds")]
        if any(time is not None for time in times):
            images = [_mean(points, name) for name in ("images_score", "images")]
            count = str(sum(point.n for point in points))
            shown = [NOT_KNOWN if time is None else f"{time:.2f}" for time in times]
            numbers = [*images, *_flops(points)]
            shown += [NOT_KNOWN if number is None else quantity(number) for number in numbers]
            rows.append([method.name, count, *shown])
    columns = ["method", "cells", "seconds to prune", "to train", "in all", "images seen to prune", "images trained on"]
    columns += ["FLOPs to train, dense", "as computed"]
    return _without_unknown(f"Cost per cell, {section.title}", columns, rows) if rows else None


def _without_unknown(title: str, columns: list[str], rows: list[list[str]]) -> Table:
    """The table without unknown columns, and without hours on devices that nothing ran on."""
    shown = [i for i in range(len(columns)) if any(row[i] not in (NOT_KNOWN, "0") for row in rows)]
    return texts(title, [columns[i] for i in shown], [[row[i] for i in shown] for row in rows])


def _mean(points: Iterable[Point], metric: str) -> float | None:
    values = [value for point in points for value in point.values(metric)]
    return statistics.fmean(values) if values else None


def _flops(points: Iterable[Point]) -> tuple[float | None, float | None]:
    """Mean FLOPs of a cell's trainings: as if all were dense, and as computed, see :func:`training_flops`."""
    found = []
    for run in (run for point in points for run in point.runs):
        with contextlib.suppress(NotRecorded):
            found.append(training_flops(run))
    dense, computed = (statistics.fmean(values) for values in zip(*found, strict=True)) if found else (None, None)
    return dense, computed


def _images(runs: Sequence[Run]) -> str:
    """The sum over all runs; unknown if some runs have no number."""
    images = [run.metrics["images"] for run in runs if "images" in run.metrics]
    return quantity(sum(images)) if len(images) == len(runs) else NOT_KNOWN


def _hours(runs: Sequence[Run], device: str) -> str:
    """Hours on a device; a job takes one core, or a share of a GPU. Unknown if a run has no device, or several."""
    devices = {run.tags.get("device") for run in runs}
    mine = [run for run in runs if run.tags.get("device") == device]
    if devices - {"cpu", "cuda"} or any(device == "cuda" and "gpus_per_job" not in run.tags for run in mine):
        return NOT_KNOWN
    shares = (float(run.tags["gpus_per_job"]) if device == "cuda" else 1.0 for run in mine)
    hours = sum(run.metrics.get("seconds", 0.0) * share for run, share in zip(mine, shares, strict=True)) / 3600
    return "< 0.01" if 0 < hours < 0.01 else "0" if not hours else f"{hours:,.2f}"
