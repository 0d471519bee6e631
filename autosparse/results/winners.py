"""Find which method or scorer wins, and how sure that is."""

import statistics
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from mlflow import MlflowClient

from autosparse.errors import AutosparseError, UnknownName
from autosparse.results.adjusted import adjusted_means
from autosparse.results.cell_table import finished_cells
from autosparse.results.direction import direction
from autosparse.results.groups import Group, Settings, apart, groups_of, none_found
from autosparse.results.significance import LEVEL, Difference, half_width, holm, holm_corrected, paired

Place = tuple[str, str, float]
"""Model, dataset, sparsity."""


@dataclass
class Contest:
    """The methods that compete at one place, with networks trained in one way on one version of the data."""

    place: Place
    note: str
    """What sets the training apart from others of the same model and data set."""
    methods: dict[str, Group] = field(default_factory=dict)

    def ranked(self, metric: str) -> list[Group]:
        """The methods, best first."""
        return [group for group, _ in sorted(self.means(metric), key=lambda each: -direction(metric) * each[1])]

    def means(self, metric: str) -> list[tuple[Group, float]]:
        """Each method, and its mean as if all had the same seeds, see :func:`adjusted_means`."""
        groups = list(self.methods.values())
        return list(zip(groups, adjusted_means([group.values(metric) for group in groups]), strict=True))


Contests = dict[tuple[Place, Settings], Contest]


def winners(
    client: MlflowClient,
    experiment: str,
    metric: str = "test_accuracy",
    sparsity: float | None = None,
    scorers_only: bool = False,
) -> list[dict[str, Any]]:
    """The best method for each model, dataset and sparsity, its lead over the next, and whether that is significant.

    Only cells that were trained in one way on the same data compete. If an experiment was edited and run again, a place
    has a row for each way of training. ``settings`` tells them apart, and is otherwise empty. An edited method counts
    as two methods. :mod:`autosparse.results.groups` decides what is averaged.

    If methods lack seeds, as in a grid that is half done, they are ranked as if all had all of them
    (:func:`autosparse.results.adjusted.adjusted_means`); ``mean`` is that of the seeds that there are. The lead is
    paired by seed: the mean difference over the seeds that both have. Because the lead is picked among several, ``p``
    has Holm's correction over the tests of the best method against each other one. A lead is significant only if it
    has the right sign.

    :param scorers_only: compare only learned scorers, as they are: their ablations do not compete.
    :return: rows with ``model, dataset, sparsity, settings, best, n, mean, half_width, next, pairs, lead,
        lead_half_width, p, significant``; a value that cannot be determined is None.
    :raises AutosparseError: if no cell matches or the metric is unknown.
    """
    found = contests(groups_of(finished_cells(client, experiment)), metric, experiment, sparsity, scorers_only)
    return [_row(contest, contest.ranked(metric), metric) for contest in found]


def contests(
    groups: Iterable[Group], metric: str, experiment: str, sparsity: float | None = None, scorers_only: bool = False
) -> list[Contest]:
    """The contests of :func:`winners`, ordered by place, without those in which the dense network is alone.

    :param experiment: name of the experiment, for errors.
    """
    chosen = [group for group in groups if not scorers_only or (group.scorer and not group.ablated)]
    every = _contests(chosen, metric, experiment).values()
    pruned = [contest for contest in every if contest.place[2] or len(contest.methods) > 1]
    found = [contest for contest in pruned if sparsity is None or abs(contest.place[2] - sparsity) <= 1e-9]
    if not found:
        raise none_found(experiment, sparsity, (contest.place[2] for contest in pruned))
    return sorted(found, key=lambda contest: contest.place)


def compare(
    client: MlflowClient, a: str, b: str, experiment: str | None = None, metric: str = "test_accuracy"
) -> list[dict[str, Any]]:
    """Compare two experiments method by method, or two methods (or scorers) of one experiment, paired by seed.

    Cells that were trained in one way on the same data are compared with each other. If two experiments share no way of
    training at a place, each way of one is compared with each way of the other. The same holds for what a label stands
    for: an experiment that was edited has several methods under one label. ``settings`` tells the ways apart if a place
    has several, and says what differs between the two that are compared.

    :param experiment: the experiment that has the methods ``a`` and ``b``; None: they are experiments.
    :return: rows with ``model, dataset, sparsity, settings, method, a, b, pairs, difference, half_width, p,
        significant``; ``difference`` is ``a - b``, and ``a`` and ``b`` are means over the seeds that both have. ``p``
        has Holm's correction over all rows.
    :raises AutosparseError: if the two have no cell in common.
    """
    rows = []
    found = pairs(client, a, b, experiment, metric)
    corrected = holm_corrected([difference for *_, difference in found])
    for (place, settings, method, one, other, _), difference in zip(found, corrected, strict=True):
        values = one.values(metric), other.values(metric)
        common = values[0].keys() & values[1].keys()
        means = {side: statistics.fmean(of[seed] for seed in common) for side, of in zip("ab", values, strict=True)}
        rows.append({**_placed(place, settings), "method": method, **means, **asdict(difference)})
    return rows


Pair = tuple[Place, str, str, Group, Group]
"""Place, settings, method, and the two groups that are compared."""


def pairs(
    client: MlflowClient, a: str, b: str, experiment: str | None, metric: str
) -> list[tuple[Place, str, str, Group, Group, Difference]]:
    """The groups of cells that :func:`compare` compares, each pair with its place, settings, method and difference."""
    every = _across(client, a, b, metric) if experiment is None else _within(client, a, b, experiment, metric)
    found = []
    for place, settings, method, one, other in every:
        difference = paired(one.values(metric), other.values(metric))
        if difference is not None:
            found.append((place, settings, method, one, other, difference))
    if not found:
        raise AutosparseError(f"{a!r} and {b!r} have no cell of the same model, dataset, sparsity and seed in common")
    return found


def _across(client: MlflowClient, a: str, b: str, metric: str) -> Iterator[Pair]:
    cells = {name: finished_cells(client, name) for name in (a, b)}
    first = _contests(groups_of(cells[a], cells[b]), metric, a)
    second = _contests(groups_of(cells[b], cells[a]), metric, b)
    for place in sorted({place for place, _ in first} & {place for place, _ in second}):
        mine, theirs = ([training for at, training in found if at == place] for found in (first, second))
        shared = [(training, training) for training in mine if training in theirs]
        for one, other in shared or [(one, other) for one in mine for other in theirs]:
            here, there = first[place, one], second[place, other]
            for name, left, right in _rivals(here, there):
                yield place, _between(here.note, there.note, left, right), name, left, right


def _rivals(here: Contest, there: Contest) -> Iterator[tuple[str, Group, Group]]:
    """The methods of one label in two contests: those that are the same; if none are, each with each."""
    sides = [_by_label(contest) for contest in (here, there)]
    for label in sorted(sides[0].keys() & sides[1].keys()):
        mine, theirs = (side[label] for side in sides)
        same = [(a.name, a, b) for a in mine for b in theirs if a.method == b.method]
        yield from same or [(label, a, b) for a in mine for b in theirs]


def _by_label(contest: Contest) -> dict[str, list[Group]]:
    found: dict[str, list[Group]] = {}
    for _, group in sorted(contest.methods.items()):
        found.setdefault(group.label, []).append(group)
    return found


def _between(note: str, other_note: str, left: Group, right: Group) -> str:
    """What sets the two apart; if nothing does, what sets both apart from others at their place."""
    sides = apart([dict(left.training + left.method), dict(right.training + right.method)])
    return " against ".join(dict.fromkeys(filter(None, sides if any(sides) else (note, other_note))))


def _within(client: MlflowClient, a: str, b: str, experiment: str, metric: str) -> Iterator[Pair]:
    found = _contests(groups_of(finished_cells(client, experiment)), metric, experiment)
    methods = {name for contest in found.values() for name in contest.methods}
    for name in (a, b):
        if name not in methods:
            raise UnknownName("method", name, methods)
    for contest in sorted(found.values(), key=lambda contest: contest.place):
        if a in contest.methods and b in contest.methods:
            yield contest.place, contest.note, "", contest.methods[a], contest.methods[b]


def _contests(groups: Iterable[Group], metric: str, experiment: str) -> Contests:
    found: Contests = {}
    groups = list(groups)
    for group in groups:
        if group.values(metric):
            contest = found.setdefault((group.place, group.training), Contest(group.place, group.note))
            contest.methods[group.name] = group
    if not found:
        if known := {name for group in groups for name in group.metrics}:
            raise UnknownName("metric", metric, known)
        raise none_found(experiment, None, ())
    return found


def _row(contest: Contest, ranked: list[Group], metric: str) -> dict[str, Any]:
    best, *others = ranked
    values = best.values(metric)
    row = {**_placed(contest.place, contest.note), "best": best.name, "n": len(values)}
    row |= {"mean": statistics.fmean(values.values()), "half_width": half_width(list(values.values()))}
    leads = [paired(values, other.values(metric)) for other in others]
    lead = leads[0] if leads else None
    tests = [each.p for each in leads if each and each.p is not None]
    p = holm(tests)[0] if lead and lead.p is not None else None
    return {
        **row,
        "next": others[0].name if others else None,
        "pairs": lead.pairs if lead else 0,
        "lead": lead.difference if lead else None,
        "lead_half_width": lead.half_width if lead else None,
        "p": p,
        "significant": p is not None and p < 1 - LEVEL and lead is not None and lead.difference * direction(metric) > 0,
    }


def _placed(place: Place, settings: str) -> dict[str, Any]:
    return {**dict(zip(("model", "dataset", "sparsity"), place, strict=True)), "settings": settings}
