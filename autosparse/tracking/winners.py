"""Which method, or which scorer, wins: with how sure one can be of it."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.tracking.cell_table import finished_cells
from autosparse.tracking.query import LOWER_IS_BETTER, Settings, apart, settings_of
from autosparse.tracking.runs import Run
from autosparse.tracking.significance import half_width, paired

Place = tuple[str, str, float]
"""Model, dataset, sparsity."""
BySeed = dict[int, float]
ByMethod = dict[str, BySeed]
Measured = dict[Place, dict[Settings, ByMethod]]
"""The metric by place, by how it was trained there, by method, by seed: cells of two recipes never meet."""


def winners(
    client: MlflowClient,
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    scorers_only: bool = False,
) -> list[dict[str, Any]]:
    """The best method for each model, dataset and sparsity, its lead over the next, and whether that is significant.

    Only cells of one recipe compete: where an experiment was edited and run again, a place has a row per recipe, told
    apart by ``settings``, which is otherwise empty; a method that was edited is two methods.

    The lead is paired by seed: the mean difference over the seeds that both have. ``p`` is that of one test between the
    two, not corrected for their having been picked among several.

    :param scorers_only: compare learned scorers alone.
    :return: rows with ``model, dataset, sparsity, settings, best, n, mean, half_width, next, pairs, lead,
        lead_half_width, p, significant``; None where it cannot be told.
    :raises AutosparseError: where no cell matches or the metric is unknown.
    """
    cells = [run for run in finished_cells(client, experiment) if not scorers_only or "scorer" in run.params]
    measured = _measured(cells, metric, experiment)
    sign = 1 if metric.startswith(LOWER_IS_BETTER) else -1
    rows = []
    for place in sorted(measured):
        if sparsity is not None and abs(place[2] - sparsity) > 1e-9:
            continue
        notes = _notes(measured[place])
        for settings, by_method in measured[place].items():
            if place[2] == 0 and len(by_method) == 1:
                continue  # the dense network, which nothing contends with
            ranked = sorted(by_method.items(), key=lambda item: sign * statistics.fmean(item[1].values()))
            rows.append(_row(place, notes[settings], ranked))
    if not rows:
        raise AutosparseError(f"no finished cells of experiment {experiment!r} match; run it with `autosparse run`")
    return rows


def compare(
    client: MlflowClient, a: str, b: str, experiment: str | None = None, metric: str = "test_accuracy"
) -> list[dict[str, Any]]:
    """Two experiments method by method, or two methods (or scorers) of one experiment, paired by seed.

    Cells of one recipe are compared with each other; where two experiments have no recipe of a place in common, each of
    the one with each of the other. ``settings`` tells recipes apart where a place has several.

    :param experiment: where ``a`` and ``b`` are methods of it; None: they are experiments.
    :return: rows with ``model, dataset, sparsity, settings, method, a, b, pairs, difference, half_width, p,
        significant``; ``difference`` is ``a - b``.
    :raises AutosparseError: where the two have no cell in common.
    """
    found = _across(client, a, b, metric) if experiment is None else _within(client, a, b, experiment, metric)
    rows = []
    for place, settings, method, mine, theirs in found:
        difference = paired(mine, theirs)
        if difference is not None:
            means = {"a": statistics.fmean(mine.values()), "b": statistics.fmean(theirs.values())}
            rows.append({**_placed(place, settings), "method": method, **means, **difference.row})
    if not rows:
        raise AutosparseError(f"{a!r} and {b!r} have no cell of the same model, dataset, sparsity and seed in common")
    return rows


Pair = tuple[Place, str, str, BySeed, BySeed]
"""Place, settings, method, and the two that are compared."""


def _across(client: MlflowClient, a: str, b: str, metric: str) -> Iterator[Pair]:
    first, second = (_measured(finished_cells(client, own), metric, own) for own in (a, b))
    for place in sorted(first.keys() & second.keys()):
        mine, theirs = first[place], second[place]
        notes = _notes(mine), _notes(theirs)
        shared = [(settings, settings) for settings in mine if settings in theirs]
        for one, other in shared or [(one, other) for one in mine for other in theirs]:
            told = " against ".join(dict.fromkeys(filter(None, (notes[0][one], notes[1][other]))))
            for method in sorted(mine[one].keys() & theirs[other].keys()):
                yield place, told, method, mine[one][method], theirs[other][method]


def _within(client: MlflowClient, a: str, b: str, experiment: str, metric: str) -> Iterator[Pair]:
    measured = _measured(finished_cells(client, experiment), metric, experiment)
    methods = {name for variants in measured.values() for by_method in variants.values() for name in by_method}
    for name in (a, b):
        if name not in methods:
            raise UnknownName("method", name, methods)
    for place, variants in sorted(measured.items()):
        notes = _notes(variants)
        for settings, by_method in variants.items():
            if a in by_method and b in by_method:
                yield place, notes[settings], "", by_method[a], by_method[b]


def method_names(cells: Iterable[Run]) -> Callable[[Run], str]:
    """What to call the method of a cell: its label, with what sets it apart where two of that label would compete."""
    variants: dict[tuple[Any, ...], dict[Settings, str]] = defaultdict(dict)
    for run in cells:
        variants[_contest(run)][_definition(run)] = ""
    for (*_, label), found in variants.items():
        for definition, note in zip(found, apart([dict(own) for own in found]), strict=True):
            found[definition] = f"{label} ({note})" if note else label
    return lambda run: variants[_contest(run)][_definition(run)]


def _contest(run: Run) -> tuple[Any, ...]:
    return run.tags["model"], run.tags["dataset"], settings_of(run, of_method=False), run.tags["method"]


def _definition(run: Run) -> Settings:
    return tuple(pair for pair in settings_of(run, of_method=True) if pair not in settings_of(run, of_method=False))


def _measured(cells: list[Run], metric: str, experiment: str) -> Measured:
    found: Measured = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    known: set[str] = set()
    name = method_names(cells)
    for run in cells:
        known |= run.metrics.keys()
        if metric in run.metrics:
            tags = run.tags
            place = (tags["model"], tags["dataset"], float(tags["sparsity"]))
            found[place][settings_of(run, of_method=False)][name(run)][int(tags["seed"])] = run.metrics[metric]
    if not found:
        if known:
            raise UnknownName("metric", metric, known)
        raise AutosparseError(f"no finished cells of experiment {experiment!r} match; run it with `autosparse run`")
    return found


def _notes(variants: Mapping[Settings, ByMethod]) -> dict[Settings, str]:
    """What sets each variant of a place apart; empty where there is one."""
    return dict(zip(variants, apart([dict(settings) for settings in variants]), strict=True))


def _row(place: Place, settings: str, ranked: list[tuple[str, BySeed]]) -> dict[str, Any]:
    (best, values), *others = ranked
    row = {**_placed(place, settings), "best": best, "n": len(values), "mean": statistics.fmean(values.values())}
    row["half_width"] = half_width(list(values.values()))
    lead = paired(values, others[0][1]) if others else None
    return {
        **row,
        "next": others[0][0] if others else None,
        "pairs": lead.pairs if lead else 0,
        "lead": lead.difference if lead else None,
        "lead_half_width": lead.half_width if lead else None,
        "p": lead.p if lead else None,
        "significant": bool(lead and lead.significant),
    }


def _placed(place: Place, settings: str) -> dict[str, Any]:
    return {**dict(zip(("model", "dataset", "sparsity"), place, strict=True)), "settings": settings}
