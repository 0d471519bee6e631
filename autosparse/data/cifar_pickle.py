"""Reads CIFAR's Python files without running what a pickle may name.

The files were written by Python 2: a dictionary of byte strings, a list of labels and one NumPy array of bytes.
A pickle makes such an array by naming NumPy's functions. Here those names give an inert stand-in that keeps the
array's shape, type and bytes; every other name is refused, so that nothing from the file is called.
"""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from autosparse.errors import DataError

CORE = ("numpy.core.multiarray", "numpy._core.multiarray")
STOOD_IN_FOR = {("numpy", "ndarray"), ("numpy", "dtype"), *((core, "_reconstruct") for core in CORE)}


class _StandIn:
    """Stands in for an array or its type that the file builds: it keeps the arguments and the state, unused."""

    state: Any = None

    def __init__(self, *arguments: Any):
        self.arguments = arguments

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for NumPy's array, type and constructor; everything else is refused."""
        if (module, name) in STOOD_IN_FOR:
            return _StandIn
        raise DataError(f"it names {module}.{name}, which no file of CIFAR does")


def read_pickled(path: Path, label_key: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (n, 3072) and labels int64 (n,) of one file, e.g. ``data_batch_1``.

    :param label_key: ``b"labels"``, or ``b"fine_labels"`` of CIFAR-100.
    :raises DataError: if the file is truncated, or names anything but the parts of a NumPy array.
    """
    try:
        with path.open("rb") as file:
            content = _Reader(file, encoding="bytes").load()
        labels = np.array(content[label_key], dtype=np.int64)
        return _array(content[b"data"]), labels
    except DataError as error:
        raise DataError(f"{path} is refused: {error}; fetch it again") from error
    except Exception as error:  # whatever a damaged pickle makes the reader raise
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{path} is truncated or not a batch of CIFAR ({reason}); fetch it again") from error


def _array(data: _StandIn) -> np.ndarray:
    """The array of bytes that NumPy would have made from this state: version, shape, type, order, content."""
    _, shape, kind, fortran, content = data.state
    if kind.arguments[0] not in (b"u1", "u1"):
        raise DataError(f"its pixels are of type {kind.arguments[0]!r}, not bytes")
    return np.frombuffer(content, np.uint8).reshape(shape, order="F" if fortran else "C")
