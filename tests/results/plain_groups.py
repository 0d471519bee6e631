"""Cells grouped run by run in plain Python, with which the columns of :mod:`autosparse.results.cells` must agree."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from autosparse.results import groups as rule
from autosparse.results.frame import PLACE
from autosparse.results.runs import Run


@dataclass(frozen=True)
class Plain:
    """A group with the runs themselves."""

    model: str
    dataset: str
    sparsity: float
    label: str
    name: str
    method: rule.Settings
    training: rule.Settings
    note: str
    runs: dict[int, Run]

    @property
    def place(self) -> tuple[str, str, float]:
        return self.model, self.dataset, self.sparsity

    def values(self, metric: str) -> dict[int, float]:
        return {seed: run.metrics[metric] for seed, run in self.runs.items() if metric in run.metrics}

    @property
    def metrics(self) -> set[str]:
        return {name for run in self.runs.values() for name in run.metrics}


def plain_groups(cells: Iterable[Run], beside: Iterable[Run] = ()) -> list[Plain]:
    """Groups by the rule, a run at a time."""
    cells = list(cells)
    known = {tag: rule._only(tag, [*cells, *beside]) for tag in rule.USED}
    found: dict[Any, dict[int, Run]] = defaultdict(dict)
    for number, run in enumerate(cells, 1):
        tags = run.tags
        params = tuple(sorted(item for item in run.params.items() if item[0] not in rule.NOT_SETTING))
        told, method = rule._settings(params)
        used = {tag: value for tag in rule.USED if (value := tags.get(tag) or known[tag].get(rule._of(tag, run)))}
        code = [(tag, used.pop(tag)) for tag in (rule.OF_METHOD_CODE,) if tag in used]
        key = tuple(sorted((*method, *code))), tuple(sorted((*told, *used.items())))
        place = tags.get("model", ""), tags.get("dataset", ""), float(tags["sparsity"])
        found[*place, tags["method"], *key][int(tags.get("seed", -number))] = run
    groups = []
    for (model, dataset, sparsity, label, method, training), runs in found.items():
        rivals = [key[4] for key in found if (key[0], key[1], key[3], key[5]) == (model, dataset, label, training)]
        others = [key[5] for key in found if key[:2] == (model, dataset)]
        about, note = noted(method, rivals), noted(training, others)
        name = f"{label} ({about})" if about else label
        runs = dict(sorted(runs.items()))
        groups.append(Plain(model, dataset, sparsity, label, name, method, training, note, runs))
    return groups


def noted(mine: rule.Settings, every: Iterable[rule.Settings]) -> str:
    """What sets settings apart from the others."""
    distinct = list(dict.fromkeys(every))
    return rule.apart([dict(settings) for settings in distinct])[distinct.index(mine)]


def plain_frame(cells: Iterable[Run]) -> pd.DataFrame:
    """A data frame of the runs themselves."""
    rows = [
        {
            **dict(zip(PLACE, (group.name, *group.place, seed), strict=True)),
            "training": group.note,
            "run_id": run.run_id,
            **{name: value for name, value in run.metrics.items() if name not in PLACE},
        }
        for group in plain_groups(cells)
        for seed, run in group.runs.items()
    ]
    found = pd.DataFrame(rows, columns=None if rows else [*PLACE, "training", "run_id"])
    return found.sort_values(list(PLACE), ignore_index=True)


def told(runs: Iterable[Run]) -> list[tuple[Any, ...]]:
    """All that runs say, so that NaN equals NaN and the order of their tags does not count."""
    return [
        (
            run.run_id,
            run.name,
            *(repr(sorted(of.items())) for of in (run.tags, run.params, run.metrics)),
            run.start,
            run.end,
        )
        for run in runs
    ]


def some(**values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Mappings that may lack any of the keys, in which two underscores stand for a dot."""
    named = {name.replace("__", "."): value for name, value in values.items()}
    return st.fixed_dictionaries({}, optional=named)


def of(*texts: str) -> st.SearchStrategy[str]:
    return st.sampled_from(texts)


TAGS = st.tuples(
    st.fixed_dictionaries({"method": of("snip", "mine"), "sparsity": of("0.9", "0.90", "0.95", "0")}),
    some(
        **{"task_id": of("a", "b", "c"), "seed": of("0", "1", "01", "-2", "123456789012345678901234567890")},
        **{"model": of("m", "n"), "dataset": of("d", "e", ""), "dataset_fingerprint": of("0a", "9f", "")},
        **{
            "precision": of("float32", "bfloat16"),
            "code_fingerprint": of("1b"),
            "criterion_code_fingerprint": of("2c", "3d"),
            "version": of("", "é\n"),
        },
        version__torch=of("2.6"),
    ),
).map(lambda parts: {**parts[0], **parts[1]})
PARAMS = some(
    **{"criterion": of("snip", "force", "mine"), "scorer": of("s", "t"), "seed": of("0", "1"), "level": of("3")},
    **{
        "options__rounds": of("60", "20"),
        "recipe__lr": of("0.1", "0.01"),
        "recipe__momentum": of("0.9"),
        "x": of("", "y"),
    },
)
METRICS = some(
    test_accuracy=st.floats(width=32) | st.integers(0, 100).map(float),
    seconds=st.floats(0, 9),
    density__x=st.just(0.5),
    sparsity=st.just(0.901),
)
CELLS = st.lists(st.tuples(TAGS, PARAMS, METRICS, st.integers(0, 3)), max_size=12).map(
    lambda cells: [Run(f"run-{i}", f"cell {i}", *cell, cell[-1] + 5) for i, cell in enumerate(cells)]
)
"""Cells with what users' stores hold: several runs of a task or a seed, and runs that lack tags, params or metrics."""
