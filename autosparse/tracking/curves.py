"""A training's curves in one tag: MLflow's own histories take a request per run and metric to read."""

import json
from collections.abc import Mapping, Sequence

TAG = "curves"
MOST = 100
"""Epochs that are kept of a longer training, the first and the last among them; a tag holds 8000 characters."""

Curves = dict[str, list[float]]
"""``epochs``, and as many values of each metric."""


def pack(history: Mapping[str, Sequence[float]]) -> str:
    """The series of a history, one value per epoch, to five digits."""
    length = max(map(len, history.values()), default=0)
    kept = range(length) if length <= MOST else [round(i * (length - 1) / (MOST - 1)) for i in range(MOST)]
    series = {name: [float(f"{values[i]:.5g}") for i in kept if i < len(values)] for name, values in history.items()}
    return json.dumps({"epochs": [i + 1 for i in kept], **series}, separators=(",", ":"))


def unpack(text: str) -> Curves:
    """What :func:`pack` was given, thinned and rounded."""
    curves: Curves = json.loads(text)
    return curves
