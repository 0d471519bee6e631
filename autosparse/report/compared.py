"""What the page of a comparison shows: differences paired by seed, what sets the two apart, and what only one has."""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from mlflow import MlflowClient

from autosparse.errors import AutosparseError
from autosparse.report.collect import METRIC
from autosparse.results.cell_table import finished_cells
from autosparse.results.groups import Group, Settings, groups_of
from autosparse.results.runs import facts_of
from autosparse.results.significance import LEVEL, Difference, holm_corrected
from autosparse.results.winners import Place, pairs

SHOWN = 6
"""Most values of one side that are shown if the two differ in them."""


@dataclass(frozen=True)
class Pair:
    """One method at one sparsity of one network and data set, in A and in B."""

    place: Place
    settings: str
    """What sets the two apart in how they were made, or which way of training it is; mostly empty."""
    method: str
    """Empty if A and B are methods themselves."""
    a: Group
    b: Group
    difference: Difference
    """``A - B``; its p is without correction."""
    p: float | None = None
    """With Holm's correction for the number of tests on the page; None if one seed is all that they have in common."""

    @property
    def means(self) -> tuple[float, float]:
        """Mean accuracies of A and B over the seeds that both have, so that they differ by the difference."""
        a, b, seeds = self.a.values(METRIC), self.b.values(METRIC), self.seeds
        return statistics.fmean(a[seed] for seed in seeds), statistics.fmean(b[seed] for seed in seeds)

    @property
    def seeds(self) -> list[int]:
        """The seeds that both have."""
        return sorted(self.a.values(METRIC).keys() & self.b.values(METRIC).keys())

    @property
    def by_seed(self) -> dict[int, float]:
        """``A - B`` of each seed."""
        a, b = self.a.values(METRIC), self.b.values(METRIC)
        return {seed: a[seed] - b[seed] for seed in self.seeds}

    @property
    def better(self) -> str:
        """``A`` or ``B`` if that one is significantly better after the correction, else empty."""
        if self.p is None or self.p >= 1 - LEVEL:
            return ""
        return "A" if self.difference.difference > 0 else "B"


@dataclass(frozen=True)
class Apart:
    """Something in which A and B differ."""

    what: str
    a: str
    b: str
    where: str
    """How many of the comparisons it concerns."""


@dataclass(frozen=True)
class Alone:
    """Cells that only one of the two has."""

    network: str
    sparsities: tuple[float, ...]
    method: str
    a: tuple[int, ...]
    """Seeds that only A has."""
    b: tuple[int, ...]


@dataclass(frozen=True)
class Comparison:
    """Two experiments, or two methods of one."""

    a: str
    b: str
    experiment: str | None
    """The experiment that has both methods; None if A and B are experiments."""
    pairs: list[Pair]
    apart: list[Apart]
    alone: list[Alone]

    @property
    def name(self) -> str:
        """The name of a row that compares the two methods themselves."""
        return f"{self.a} − {self.b}"

    @property
    def networks(self) -> dict[str, list[Pair]]:
        """The pairs by ``MODEL on DATASET``."""
        found: dict[str, list[Pair]] = {}
        for pair in self.pairs:
            found.setdefault(f"{pair.place[0]} on {pair.place[1]}", []).append(pair)
        return found

    @property
    def tests(self) -> int:
        """Number of tests that the p-values are corrected for."""
        return sum(pair.p is not None for pair in self.pairs)

    @property
    def settings(self) -> str:
        """What sets the two apart in all pairs alike; empty if it is not the same in all."""
        told = {pair.settings for pair in self.pairs}
        return next(iter(told)) if len(told) == 1 else ""

    def better(self, side: str) -> int:
        """Number of pairs in which ``A`` or ``B`` is significantly better."""
        return sum(pair.better == side for pair in self.pairs)


def comparison_of(client: MlflowClient, a: str, b: str, experiment: str | None = None) -> Comparison:
    """Compare the test accuracies of two experiments, or of two methods of ``experiment``.

    :func:`autosparse.results.winners.compare` decides which cells are compared with which.

    :raises AutosparseError: if both are the same, or one is not known, or they have no cell in common.
    """
    if a == b:
        raise AutosparseError(f"{a!r} is named twice: name what to compare it with")
    found = [Pair(*pair) for pair in pairs(client, a, b, experiment, METRIC)]
    corrected = holm_corrected([pair.difference for pair in found])
    tested = [replace(pair, p=difference.p) for pair, difference in zip(found, corrected, strict=True)]
    return Comparison(a, b, experiment, tested, list(_apart(tested)), _alone(client, a, b, experiment, tested))


def _apart(found: Sequence[Pair]) -> Iterator[Apart]:
    """Settings that differ between compared cells; then versions, machines and data."""
    told: Counter[tuple[str, str, str]] = Counter()
    for pair in found:
        a, b = (dict(group.training + group.method) for group in (pair.a, pair.b))
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                told[key, a.get(key, "none"), b.get(key, "none")] += 1
    for (key, one, other), count in told.items():
        yield Apart(key, one, other, "all" if count == len(found) else f"{count} of {len(found)}")
    sides = [pair.a for pair in found], [pair.b for pair in found]
    facts = [facts_of(run for group in side for run in group.runs.values()) for side in sides]
    for name in dict.fromkeys([*facts[0], *facts[1]]):
        ours, theirs = (set(of.get(name, ())) for of in facts)
        if ours != theirs:
            yield Apart(name, _listed(ours), _listed(theirs), "–")


def _listed(values: Iterable[str]) -> str:
    values = sorted(values)
    more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
    return (", ".join(values[:SHOWN]) or "none") + more


def _alone(client: MlflowClient, a: str, b: str, experiment: str | None, found: Sequence[Pair]) -> list[Alone]:
    """The seeds that only one has, by place, method and training; without the method if A and B are methods."""
    if experiment is None:
        cells = [finished_cells(client, name) for name in (a, b)]
        groups = groups_of(cells[0], cells[1]), groups_of(cells[1], cells[0])
    else:
        every = groups_of(finished_cells(client, experiment))
        groups = [group for group in every if group.name == a], [group for group in every if group.name == b]
    notes: dict[tuple[str, str, Settings], str] = {}
    ours, theirs = (defaultdict[tuple[Place, str, Settings], set[int]](set) for _ in range(2))

    def key_of(group: Group) -> tuple[Place, str, Settings]:
        return group.place, group.name if experiment is None else "", group.training

    for held, side in zip((ours, theirs), groups, strict=True):
        for group in side:
            held[key_of(group)].update(group.values(METRIC))
            told = group.model, group.dataset, group.training
            notes[told] = group.note or notes.get(told, "")
    for pair in found:  # one method may have two names, if a label stands for several methods in one experiment
        for held, group in ((ours, pair.a), (theirs, pair.b)):
            held[key_of(group)].difference_update(pair.seeds)
    alone = defaultdict[tuple[str, str, tuple[int, ...], tuple[int, ...]], list[float]](list)
    for key in sorted(ours.keys() | theirs.keys()):
        (model, dataset, sparsity), method, training = key
        of_a, of_b = (tuple(sorted(held[key])) for held in (ours, theirs))
        if of_a or of_b:
            note = notes[model, dataset, training]
            network = f"{model} on {dataset} ({note})" if note else f"{model} on {dataset}"
            alone[network, method, of_a, of_b].append(sparsity)
    return [Alone(network, tuple(at), method, *only) for (network, method, *only), at in alone.items()]
