"""Data sets as NumPy arrays, which Ray's object store hands to all workers of a node without a copy."""

import warnings
from dataclasses import is_dataclass
from typing import Any, NamedTuple

import numpy as np
import torch


class Arrays(NamedTuple):
    """A data set, or a part of it, with NumPy arrays for its tensors: Ray's object store shares them without a copy.

    A streamed data set shares only its paths and labels: each worker opens the files itself.
    """

    kind: type
    fields: dict[str, Any]


def to_arrays(value: Any) -> Any:
    """Take a data set, or a part of it, apart for the object store."""
    if isinstance(value, torch.Tensor):
        return value.numpy()
    if is_dataclass(value):
        return Arrays(type(value), {name: to_arrays(part) for name, part in vars(value).items()})
    return value


def from_arrays(value: Any) -> Any:
    """Put a data set together again; its tensors share the object store's memory, so nothing may write to them."""
    if isinstance(value, np.ndarray):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            return torch.from_numpy(value)
    if isinstance(value, Arrays):
        return value.kind(**{name: from_arrays(part) for name, part in value.fields.items()})
    return value
