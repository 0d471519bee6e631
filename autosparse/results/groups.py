"""Group the cells that may be averaged: those that differ only in their seed. All code that groups cells calls this.

Two cells belong together if these are the same:

- model, data set, sparsity, and the label of the method;
- the method's definition: its criterion, options, scorer, ablation, IRP run (the params in ``OF_METHOD``);
- how it was trained: every other param that MLflow has of it, including those that later versions add;
- the data, and the code of the user's own network, criterion or data set, by their fingerprints;
- the precision of its training: a grid that moves from a GPU to a CPU may change from bfloat16 to float32.

A run that an earlier version wrote may lack a param. It then gets the value that does the same as before the param
existed: revision 1 of its criterion; the default of an option in version 0.1.0, or today's if the option is newer; the
default of a newer field of a recipe; and today's rule of what is prunable, because networks for which that rule has
changed are done again. A run without a fingerprint or a precision counts as done with the same data, code and precision
as the others, unless these have several.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property, lru_cache
from typing import TypeVar

import numpy as np

from autosparse.criteria import CRITERIA
from autosparse.errors import AutosparseError
from autosparse.experiment.before_resolved import IRP, OPTIONS, RECIPE, REVISION
from autosparse.results.cells import Cells
from autosparse.results.runs import Run
from autosparse.tracking.entries import CODE, OF_METHOD_CODE
from autosparse.training import Recipe
from autosparse.weights import RULE

NEWER = {
    f"recipe.{each.name}": str(each.default)
    for each in fields(Recipe)
    if each.name not in RECIPE and each.default is not None
}
"""Fields of a recipe that version 0.1.0 did not have, and their defaults; MLflow holds no None."""

K = TypeVar("K")
Settings = tuple[tuple[str, str], ...]
"""Sorted pairs of a param, or whatever else tells groups apart, and its value."""
Key = tuple[str, str, float, str, Settings, Settings]
"""Model, data set, sparsity, label, method and training: what the cells of a group share."""

NOT_SETTING = frozenset({"model", "dataset", "sparsity", "level", "seed"})
"""Params that place and seed already cover. A branch's level is its sparsity."""
OF_METHOD = ("criterion", "options.", "scorer", "ablation", "irp")
"""Prefixes of the params that define a method."""
OF_CRITERION = ("criterion_revision", "options.", "scorer", "irp")
"""Prefixes of the params among them that can be compared only within the same criterion."""
DATA = "dataset_fingerprint"
PRECISION = "precision"
USED = {DATA: ("dataset",), CODE: ("model", "dataset"), OF_METHOD_CODE: ("method",), PRECISION: ()}
"""Tags with a fingerprint of what a cell was made from, and the tags that name what that is. The precision of its
training counts like such a fingerprint, and no tag names more of it."""
OF_GROUP = ("model", "dataset", "method", "sparsity", *USED)
"""The tags on which a cell's group depends, beside its params."""


@dataclass(frozen=True)
class Group:
    """Cells that differ only in their seed."""

    model: str
    dataset: str
    sparsity: float
    label: str
    """The experiment's name for the method."""
    name: str
    """The label; if it stands for several methods that were trained in one way, with what sets this one apart."""
    method: Settings
    """The definition of the method."""
    training: Settings
    """How the cells were trained, and on which data."""
    note: str
    """What sets the training apart from others of the same model and data set; empty if there is one."""
    cells: Cells = field(repr=False, compare=False)
    """All cells that were grouped."""
    at: np.ndarray = field(repr=False, compare=False)
    """The places of the group's cells among them; of several with the same seed, that of the last."""
    seeds: list[int] = field(repr=False, compare=False)
    """The seed of each of these, ascending."""

    @cached_property
    def runs(self) -> dict[int, Run]:
        """The runs by seed."""
        return dict(zip(self.seeds, self.cells.runs(self.at), strict=True))

    @property
    def place(self) -> tuple[str, str, float]:
        """Model, data set, sparsity."""
        return self.model, self.dataset, self.sparsity

    @property
    def scorer(self) -> str:
        """The task id of the scorer that pruned the group; empty for other methods."""
        return dict(self.method).get("scorer", "")

    @property
    def ablated(self) -> bool:
        """Whether the masks are not those of the method itself: shuffled or inverted, or with an input permuted."""
        method = dict(self.method)
        return any(method.get(name) not in (None, "", "None") for name in ("ablation", "options.permute"))

    def values(self, metric: str) -> dict[int, float]:
        """A metric of the runs that have it, by seed."""
        values, there = (column[self.at] for column in self.cells.metric(metric))
        found = zip(self.seeds, values.tolist(), there.tolist(), strict=True)
        return {seed: value for seed, value, has in found if has}

    @property
    def metrics(self) -> list[str]:
        """The metrics that any of the runs has."""
        return self.cells.metrics(self.at)


def none_found(experiment: str, sparsity: float | None, there: Iterable[float]) -> AutosparseError:
    """The error if no cell has finished, or none at ``sparsity``; it names the sparsities that there are."""
    known = ", ".join(f"{value:g}" for value in sorted(set(there)))
    if sparsity is None or not known:
        return AutosparseError(f"no finished cells of experiment {experiment!r} match; run it with `autosparse run`")
    return AutosparseError(
        f"no finished cells of experiment {experiment!r} at sparsity {sparsity:g}: there are {known}"
    )


def groups_of(cells: Iterable[Run], beside: Iterable[Run] = ()) -> list[Group]:
    """Group cells; the groups are in the order of their first cells.

    :param cells: finished cells, the oldest first.
    :param beside: cells of another experiment that they will be compared with. A cell of either without a fingerprint
        of its data counts as done on the same data.
    """
    cells, beside = Cells.of(cells), Cells.of(beside)
    alike, kinds = cells.alike(OF_GROUP, NOT_SETTING)
    of_both = [*kinds, *beside.alike(OF_GROUP, NOT_SETTING)[1]]
    known = {tag: _only(tag, of_both) for tag in USED}
    numbers: dict[Key, int] = {}
    of_kind = [numbers.setdefault(_key(run, known), len(numbers)) for run in kinds]
    found = dict(zip(numbers, _by_seed(cells, np.array(of_kind, np.int64)[alike], len(numbers)), strict=True))
    methods = _apart_by(((model, data, training, label), method) for model, data, _, label, method, training in found)
    trainings = _apart_by(((model, data), training) for model, data, *_, training in found)
    groups = []
    for (model, data, sparsity, label, method, training), (at, seeds) in found.items():
        note = methods[model, data, training, label][method]
        name, how = f"{label} ({note})" if note else label, trainings[model, data][training]
        groups.append(Group(model, data, sparsity, label, name, method, training, how, cells, at, seeds))
    return groups


def _key(run: Run, known: Mapping[str, Mapping[tuple[str, ...], str]]) -> Key:
    """What a run shares with the others of its group.

    :param run: one without the params in ``NOT_SETTING``.
    :param known: for each tag in ``USED``, the fingerprints that :func:`_only` returns.
    """
    tags = run.tags
    told, method = _settings(tuple(sorted(run.params.items())))
    used = {tag: value for tag in USED if (value := tags.get(tag) or known[tag].get(_of(tag, run)))}
    if OF_METHOD_CODE in used:
        method = tuple(sorted((*method, (OF_METHOD_CODE, used.pop(OF_METHOD_CODE)))))
    training = tuple(sorted((*told, *used.items())))
    place = tags.get("model", ""), tags.get("dataset", ""), float(tags["sparsity"])
    return *place, tags["method"], method, training


def _by_seed(cells: Cells, groups: np.ndarray, count: int) -> list[tuple[np.ndarray, list[int]]]:
    """The places of each group's cells, and their seeds; a cell without a seed gets a negative one, from its place.

    :param groups: the number of each cell's group.
    """
    codes, texts = cells.tag("seed")
    lacking = np.flatnonzero([text is None for text in texts])
    unseeded = np.flatnonzero(np.isin(codes, lacking))
    codes[unseeded] = np.arange(len(texts), len(texts) + len(unseeded))
    seeds = np.array([*(0 if text is None else int(text) for text in texts), *(-unseeded - 1).tolist()], object)
    known, ranks = np.unique(seeds, return_inverse=True)  # of Python's integers: a seed may have any number of digits
    keys = groups * max(len(known), 1) + ranks[codes]
    order = np.argsort(keys, kind="stable")
    order = order[np.append(keys[order][1:] != keys[order][:-1], True)[: len(order)]]
    parts = np.split(order, np.searchsorted(groups[order], np.arange(1, count)))
    return [(at, known[ranks[codes[at]]].tolist()) for at in parts[:count]]


def apart(groups: Sequence[Mapping[str, str]]) -> list[str]:
    """What sets each of several mappings apart from the others, as ``key=value, ...``; empty if nothing does.

    A key that belongs to a criterion appears only if others of that criterion have another value.
    """
    values: dict[tuple[str, str | None], set[str | None]] = defaultdict(set)
    keys = sorted({key for group in groups for key in group})
    for group in groups:
        for key in keys:
            values[key, _rivals(key, group)].add(group.get(key))
    return [
        ", ".join(f"{key}={group.get(key, 'none')}" for key in keys if len(values[key, _rivals(key, group)]) > 1)
        for group in groups
    ]


def _rivals(key: str, group: Mapping[str, str]) -> str | None:
    return group.get("criterion", "") if key.startswith(OF_CRITERION) else None


def _of(tag: str, run: Run) -> tuple[str, ...]:
    """The names of what a run's fingerprint under ``tag`` belongs to."""
    return tuple(run.tags.get(name, "") for name in USED[tag])


def _only(tag: str, cells: Iterable[Run]) -> dict[tuple[str, ...], str]:
    """The fingerprint of each thing that has only one fingerprint among its cells."""
    found: dict[tuple[str, ...], set[str]] = defaultdict(set)
    for run in cells:
        if run.tags.get(tag):
            found[_of(tag, run)].add(run.tags[tag])
    return {of: next(iter(told)) for of, told in found.items() if len(told) == 1}


@lru_cache(maxsize=1024)
def _settings(params: Settings) -> tuple[Settings, Settings]:
    """The training and the method of a cell, from its params and those that a run of an earlier version lacks."""
    given = dict(params)
    newer = NEWER if any(name.startswith("recipe.") for name in given) else {}
    told = {"prunable_rule": str(RULE), **newer, **_defaults(given, ""), **_defaults(given, "irp."), **given}
    method = tuple(sorted(item for item in told.items() if item[0].startswith(OF_METHOD)))
    return tuple(sorted(item for item in told.items() if not item[0].startswith(OF_METHOD))), method


def _defaults(params: Mapping[str, str], prefix: str) -> dict[str, str]:
    criterion = params.get(f"{prefix}criterion", "")
    if criterion not in CRITERIA:  # dense, a branch, or a plugin's criterion
        return {}
    chosen = CRITERIA[criterion]
    options = {**chosen.defaults, **OPTIONS.get(criterion, {})}
    told = {name: str(value) for name, value in options.items() if name not in chosen.given and value is not None}
    fixed = {"criterion_revision": str(REVISION)} | ({"gradient_mode": str(IRP["gradient_mode"])} if prefix else {})
    return {
        **{f"{prefix}{name}": value for name, value in fixed.items()},
        **{f"{prefix}options.{name}": value for name, value in told.items()},
    }


def _apart_by(pairs: Iterable[tuple[K, Settings]]) -> dict[K, dict[Settings, str]]:
    """What sets each of the settings that have a key apart from the others of that key."""
    told: dict[K, dict[Settings, str]] = defaultdict(dict)
    for key, settings in pairs:
        told[key][settings] = ""
    for notes in told.values():
        notes.update(zip(list(notes), apart([dict(settings) for settings in notes]), strict=True))
    return told
