"""Read everything that a report shows of the cells from MLflow, once, as plain values."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from autosparse.criteria import CRITERIA
from autosparse.results.adjusted import adjusted_means
from autosparse.results.groups import DATA, NOT_SETTING, OF_METHOD, Group, Settings, groups_of
from autosparse.results.runs import Run
from autosparse.tracking.entries import metric_name

METRIC = "test_accuracy"
DENSE, LEARNED = "dense", "autos"
"""Values of ``criterion`` that reports treat specially."""


@dataclass(frozen=True)
class Point:
    """The runs of one method at one sparsity, which differ only in their seed."""

    runs: list[Run]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.runs)

    @cached_property
    def mean(self) -> float:
        """Mean test accuracy in percent."""
        return statistics.fmean(run.metrics[METRIC] for run in self.runs)

    @cached_property
    def by_seed(self) -> dict[int, float]:
        """Test accuracy in percent, by seed."""
        return {int(run.tags.get("seed", -number)): run.metrics[METRIC] for number, run in enumerate(self.runs, 1)}

    @cached_property
    def std(self) -> float | None:
        """Standard deviation of the sample, in percentage points; None for one seed."""
        return statistics.stdev(run.metrics[METRIC] for run in self.runs) if self.n > 1 else None

    @property
    def collapsed(self) -> int:
        """Number of runs in which some layer lost every weight."""
        return sum(run.metrics.get("collapsed_layers", 0) > 0 for run in self.runs)

    @property
    def disconnected(self) -> int:
        """Number of runs in which no path is left from input to output."""
        return sum(kept == 0 for kept in self.values("effective_kept"))

    @property
    def sketches(self) -> dict[int, str]:
        """Mask sketches by seed."""
        return {int(run.tags["seed"]): run.tags["mask_sketch"] for run in self.runs if "mask_sketch" in run.tags}

    def values(self, metric: str) -> list[float]:
        """A metric of the runs that have it."""
        return [run.metrics[metric] for run in self.runs if metric in run.metrics]

    def densities(self) -> dict[str, list[float]]:
        """Density of each layer in each run."""
        found: dict[str, list[float]] = {}
        for run in self.runs:
            for name, value in run.metrics.items():
                if name.startswith("density/"):
                    found.setdefault(name.removeprefix("density/"), []).append(value)
        return found


@dataclass(frozen=True)
class Method:
    """A pruning method and its points, by sparsity in ascending order."""

    name: str
    criterion: str
    points: dict[float, Point]

    @property
    def dense(self) -> bool:
        """Whether this is the unpruned network."""
        return self.criterion == DENSE

    @property
    def learned(self) -> bool:
        """Whether this is AutoS, whatever it is called here."""
        return self.criterion == LEARNED

    @property
    def structured(self) -> bool:
        """Whether it prunes whole channels, so that sparsity is their share."""
        return self.criterion in CRITERIA and "channels" in CRITERIA[self.criterion].needs


@dataclass(frozen=True)
class Section:
    """The methods on one model and dataset, trained in one way: dense, then the best at the highest sparsity first."""

    model: str
    dataset: str
    note: str
    """What sets it apart from other sections of the same model and dataset; mostly empty."""
    settings: dict[str, str]
    methods: list[Method]
    layers: Sequence[str] = ()
    """Names of the model's layers in network order; empty if that is not known."""

    def in_order(self, names: Iterable[str]) -> list[str]:
        """Layers in network order; unknown ones last, in the natural order of their names."""
        place = {name: index for index, name in enumerate(self.layers)}
        return sorted(set(names), key=lambda name: (place.get(name, len(place)), natural(name)))

    @property
    def title(self) -> str:
        """``model on dataset``, with what sets it apart."""
        return f"{self.model} on {self.dataset}" + (f" ({self.note})" if self.note else "")

    @property
    def sparsities(self) -> list[float]:
        """All sparsities, ascending; 0 if there is a dense run."""
        return sorted({sparsity for method in self.methods for sparsity in method.points})

    @property
    def dense(self) -> Point | None:
        """The unpruned network, if it was trained."""
        return next((point for method in self.methods if method.dense for point in method.points.values()), None)

    @property
    def pruned(self) -> list[Method]:
        """The methods without dense."""
        return [method for method in self.methods if not method.dense]

    @property
    def pruned_sparsities(self) -> list[float]:
        """The sparsities of the pruned methods, ascending."""
        return sorted({sparsity for method in self.pruned for sparsity in method.points})

    @property
    def top_sparsity(self) -> float | None:
        """The highest sparsity of a pruned method; None if only dense ran."""
        return max(self.pruned_sparsities, default=None)

    @property
    def points(self) -> list[Point]:
        """The points of all methods."""
        return [point for method in self.methods for point in method.points.values()]

    def best(self, sparsity: float) -> list[Method]:
        """The pruned methods with the best mean at a sparsity, as if all had the same seeds; several only if equal."""
        means = _means(self.pruned, sparsity)
        return [method for method in self.pruned if method.name in means and means[method.name] == max(means.values())]

    @property
    def counts(self) -> list[int]:
        """The different numbers of seeds behind its points, ascending."""
        return sorted({point.n for point in self.points})

    @property
    def seeds(self) -> list[int]:
        """All seeds, ascending."""
        return sorted({int(run.tags["seed"]) for point in self.points for run in point.runs})


def make_sections(cells: Iterable[Run], layers: Mapping[str, Sequence[str]] | None = None) -> list[Section]:
    """The finished cells of an experiment by model, dataset and settings, in that order.

    Cells are averaged only if nothing but the seed differs, see :mod:`autosparse.results.groups`. If an experiment was
    edited and run again, or if its data changed, cells that were trained in different ways become different sections,
    and different methods under one label become different methods. Cells without a test accuracy are left out.

    :param layers: names of the layers of each model, in network order.
    """
    found: dict[tuple[str, str, Settings], list[Group]] = {}
    for group in groups_of(run for run in cells if METRIC in run.metrics):
        found.setdefault((group.model, group.dataset, group.training), []).append(group)
    sections = []
    for (model, dataset, _), groups in sorted(found.items()):
        order = [metric_name(layer) for layer in (layers or {}).get(model, ())]
        sections.append(Section(model, dataset, groups[0].note, _settings(groups), _methods(groups), order))
    return sections


def natural(name: str) -> list[tuple[bool, int, str]]:
    """Sort key that puts ``layer2`` before ``layer10``."""
    return [(part.isdigit(), int(part) if part.isdigit() else 0, part) for part in re.split(r"(\d+)", name)]


def _settings(groups: Iterable[Group]) -> dict[str, str]:
    """How the groups were trained, according to MLflow; with the data's fingerprint if the note mentions it."""
    groups = list(groups)
    params = dict(pair for group in groups for run in group.runs.values() for pair in run.params.items())
    if DATA in groups[0].note:
        params |= {DATA: dict(groups[0].training).get(DATA, "none")}
    return {k: v for k, v in params.items() if k not in NOT_SETTING and not k.startswith(OF_METHOD)}


def _methods(groups: Iterable[Group]) -> list[Method]:
    by_name: dict[str, list[Group]] = {}
    for group in groups:
        by_name.setdefault(group.name, []).append(group)
    methods = []
    for name, of_method in by_name.items():
        points = {group.sparsity: Point(list(group.runs.values())) for group in of_method}
        criterion = dict(of_method[0].method).get("criterion", of_method[0].label)
        methods.append(Method(name, criterion, dict(sorted(points.items()))))
    top = max((sparsity for method in methods for sparsity in method.points), default=0.0)
    means = _means(methods, top)
    return sorted(methods, key=lambda m: (not m.dense, -means[m.name] if m.name in means else 1.0, m.name))


def _means(methods: Sequence[Method], sparsity: float) -> dict[str, float]:
    """Mean test accuracy at a sparsity, by method: as if all had the same seeds, see :func:`adjusted_means`."""
    there = {method.name: method.points[sparsity].by_seed for method in methods if sparsity in method.points}
    return dict(zip(there, adjusted_means(list(there.values())), strict=True)) if there else {}
