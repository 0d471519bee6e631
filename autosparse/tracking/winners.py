"""Which method, or which scorer, wins: with how sure one can be of it."""

import statistics
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.tracking.query import LOWER_IS_BETTER, Run, finished_runs
from autosparse.tracking.significance import half_width, paired

Place = tuple[str, str, float]
"""Model, dataset, sparsity."""
BySeed = dict[int, float]


def winners(
    client: MlflowClient,
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    scorers_only: bool = False,
) -> list[dict[str, Any]]:
    """The best method for each model, dataset and sparsity, its lead over the next, and whether that is significant.

    The lead is paired by seed: the mean difference over the seeds that both have. ``p`` is that of one test between the
    two, not corrected for their having been picked among several.

    :param scorers_only: compare learned scorers alone.
    :return: rows with ``model, dataset, sparsity, best, n, mean, half_width, next, pairs, lead, lead_half_width, p,
        significant``; None where it cannot be told.
    :raises AutosparseError: where no cell matches or the metric is unknown.
    """
    cells = [run for run in finished_runs(client, experiment, "cell") if not scorers_only or "scorer" in run.params]
    measured = _measured(cells, metric, experiment)
    sign = 1 if metric.startswith(LOWER_IS_BETTER) else -1
    rows = []
    for place in sorted(measured):
        if sparsity is not None and abs(place[2] - sparsity) > 1e-9:
            continue
        if place[2] == 0 and len(measured[place]) == 1:
            continue  # the dense network, which nothing contends with
        ranked = sorted(measured[place].items(), key=lambda item: sign * statistics.fmean(item[1].values()))
        rows.append(_row(place, ranked))
    if not rows:
        raise AutosparseError(f"no finished cells of experiment {experiment!r} match; run it with `autosparse run`")
    return rows


def compare(
    client: MlflowClient, a: str, b: str, experiment: str | None = None, metric: str = "test_accuracy"
) -> list[dict[str, Any]]:
    """Two experiments method by method, or two methods (or scorers) of one experiment, paired by seed.

    :param experiment: where ``a`` and ``b`` are methods of it; None: they are experiments.
    :return: rows with ``model, dataset, sparsity, method, a, b, pairs, difference, half_width, p, significant``;
        ``difference`` is ``a - b``.
    :raises AutosparseError: where the two have no cell in common.
    """
    if experiment is None:
        first, second = (_measured(finished_runs(client, own, "cell"), metric, own) for own in (a, b))
        listed = [
            (place, method, first[place][method], second[place][method])
            for place in sorted(first.keys() & second.keys())
            for method in sorted(first[place].keys() & second[place].keys())
        ]
    else:
        measured = _measured(finished_runs(client, experiment, "cell"), metric, experiment)
        methods = {method for by_method in measured.values() for method in by_method}
        for name in (a, b):
            if name not in methods:
                raise UnknownName("method", name, methods)
        listed = [
            (place, "", by_method[a], by_method[b])
            for place, by_method in sorted(measured.items())
            if a in by_method and b in by_method
        ]
    rows = []
    for place, method, mine, theirs in listed:
        difference = paired(mine, theirs)
        if difference is not None:
            means = {"a": statistics.fmean(mine.values()), "b": statistics.fmean(theirs.values())}
            rows.append({**_placed(place), "method": method, **means, **difference.row})
    if not rows:
        raise AutosparseError(f"{a!r} and {b!r} have no cell of the same model, dataset, sparsity and seed in common")
    return rows


def _measured(cells: Iterable[Run], metric: str, experiment: str) -> dict[Place, dict[str, BySeed]]:
    """The metric by place, method and seed; of two cells that differ in their recipe, the newer counts."""
    found: dict[Place, dict[str, BySeed]] = defaultdict(lambda: defaultdict(dict))
    known: set[str] = set()
    for run in cells:
        known |= run.metrics.keys()
        if metric in run.metrics:
            tags = run.tags
            place = (tags["model"], tags["dataset"], float(tags["sparsity"]))
            found[place][tags["method"]][int(tags["seed"])] = run.metrics[metric]
    if not found:
        if known:
            raise UnknownName("metric", metric, known)
        raise AutosparseError(f"no finished cells of experiment {experiment!r} match; run it with `autosparse run`")
    return found


def _row(place: Place, ranked: list[tuple[str, BySeed]]) -> dict[str, Any]:
    (best, values), *others = ranked
    row = {**_placed(place), "best": best, "n": len(values), "mean": statistics.fmean(values.values())}
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


def _placed(place: Place) -> dict[str, Any]:
    return dict(zip(("model", "dataset", "sparsity"), place, strict=True))
