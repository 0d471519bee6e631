"""Iterative rewind pruning and the survival dataset that it leaves."""

from autosparse.irp.parquet import find_datasets, load_survival, save_survival
from autosparse.irp.rewind import Reached, rewind_prune
from autosparse.irp.survival import Survival

__all__ = ["Reached", "Survival", "find_datasets", "load_survival", "rewind_prune", "save_survival"]
