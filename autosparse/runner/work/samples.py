"""Samples of weights for the figures of reports: a few thousand of each layer, as Parquet tables."""

from collections.abc import Mapping
from dataclasses import replace

import pyarrow as pa
import torch

from autosparse.autos import Scorer
from autosparse.autos.backbones import build_backbone
from autosparse.autos.states import states_of, visits
from autosparse.data.split import Dataset
from autosparse.irp import Survival

SAMPLE_PER_LAYER, SAMPLE_OF_COSTLY = 4000, 200
"""Rows per layer; fewer if the scorer takes milliseconds a row."""


def survival_sample(survival: Survival, saliency: dict[str, dict[str, torch.Tensor]]) -> pa.Table:
    """Values, survival scores and saliencies of a sample of weights; columns ``layer, position, ...``."""
    columns = {
        "param": survival.param,
        "grad": survival.grad,
        "survival": survival.scores(),
        **{name: {layer: s.cpu().float() for layer, s in scores.items()} for name, scores in saliency.items()},
    }
    return _sample_table(survival.sample(SAMPLE_PER_LAYER), columns)


def prediction_sample(scorer: Scorer, survival: Survival, seed: int, device: str) -> pa.Table:
    """Features, true and predicted survival scores of a sample of weights; columns ``layer, position, ...``.

    If the scorer is trained by gradient, a column ``untrained`` has its predictions before training.
    """
    picked = survival.sample(SAMPLE_OF_COSTLY if scorer.network.costly else SAMPLE_PER_LAYER)
    table = _sample_table(picked, {"param": survival.param, "grad": survival.grad, "survival": survival.scores()})
    features = {name: torch.tensor(table[name].to_numpy(), device=device) for name in ("param", "grad")}
    table = table.append_column("predicted", pa.array(scorer.predict(features).cpu().numpy()))
    if scorer.network.by_gradient:
        fresh = replace(scorer, network=build_backbone(scorer.backbone, len(scorer.inputs), seed))
        table = table.append_column("untrained", pa.array(fresh.predict(features).cpu().numpy()))
    return table


def _sample_table(picked: dict[str, torch.Tensor], columns: dict[str, dict[str, torch.Tensor]]) -> pa.Table:
    """The ``picked`` flat positions of each layer, with the value of each column there."""
    joined = {
        column: torch.cat([values[name].flatten()[rows] for name, rows in picked.items()]).numpy()
        for column, values in columns.items()
    }
    layer = pa.array([name for name, rows in picked.items() for _ in rows]).dictionary_encode()
    position = torch.cat(list(picked.values())).numpy()
    return pa.table({"layer": layer, "position": position, **joined})


def states_sample(scorer: Scorer, survival: Survival, datasets: Mapping[str, Dataset], device: str) -> pa.Table:
    """Inputs, true and predicted survival scores in the states of an IRP run, for a scorer that prunes in rounds.

    The states share the rows equally, and there are as many rows however many states are visited.

    Columns ``layer, position, state``, one per input, ``survival`` (of the remaining iterations) and ``predicted``.
    """
    rounds = scorer.in_rounds
    assert rounds is not None
    each = (SAMPLE_OF_COSTLY if scorer.network.costly else SAMPLE_PER_LAYER) * len(survival.param)
    states = len(states_of(survival))  # at times fewer than STATES: 6 of 11 iterations
    found = visits(survival, datasets, scorer.inputs, rounds, lambda masks: each / states / masks.kept, device)
    tables = []
    for visit in found:
        inputs = dict(zip(scorer.inputs, visit.columns, strict=True))
        on_device = {name: column.to(device) for name, column in inputs.items()}
        predicted = scorer.predict(on_device) if len(visit.rows) else visit.target
        values = {**inputs, "survival": visit.target, "predicted": predicted}
        layer = pa.array([visit.layer] * len(visit.rows), pa.string())  # typed, since a layer may have no rows left
        state = pa.array([visit.iteration] * len(visit.rows), pa.int32())
        columns = {name: value.cpu().numpy() for name, value in values.items()}
        tables.append(pa.table({"layer": layer, "position": visit.rows.numpy(), "state": state, **columns}))
    return pa.concat_tables(tables)
