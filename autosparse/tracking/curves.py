"""Pack a training's curves into one tag: reading MLflow's own histories takes a request per run and metric."""

import json
from collections.abc import Mapping, Sequence

TAG = "curves"
MOST = 100
"""Most epochs that are kept, including the first and the last; a tag holds 8000 characters."""

Curves = dict[str, list[float]]
"""The ``epochs``, and the values of each metric at them."""


def pack(history: Mapping[str, Sequence[float]]) -> str:
    """The text of a history's series, which have one value per epoch, to five digits."""
    length = max(map(len, history.values()), default=0)
    kept = range(length) if length <= MOST else [round(i * (length - 1) / (MOST - 1)) for i in range(MOST)]
    series = {name: [float(f"{values[i]:.5g}") for i in kept if i < len(values)] for name, values in history.items()}
    return json.dumps({"epochs": [i + 1 for i in kept], **series}, separators=(",", ":"))


def unpack(text: str) -> Curves:
    """The history that :func:`pack` was given, thinned and rounded."""
    return json.loads(text)
