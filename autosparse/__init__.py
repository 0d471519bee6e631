"""autosparse: pruning at initialisation, from criteria to distributed experiments.

    >>> import autosparse as asp
    >>> data = asp.load_dataset("digits")
    >>> model = asp.build_model("lenet-300-100", num_classes=10, input_shape=data.input_shape, seed=0)
    >>> scores = asp.score(model, "snip", data.train.batches(128))
    >>> masks = asp.Masks.from_scores(scores, sparsity=0.95)
    >>> masks
    Masks(3 layers, 2510 of 50200 weights kept, sparsity 0.9500)
    >>> history = asp.train(model, data, asp.Recipe(epochs=1), masks)
    >>> len(history.test_accuracy)
    1

``asp.run("demo")`` does a whole experiment on Ray and writes it to MLflow; ``asp.results("demo")`` is its finished
cells, a pandas DataFrame.

Importing this package needs neither Ray nor MLflow; ``run`` and ``results`` import them.
"""

import importlib
from typing import TYPE_CHECKING, Any

from autosparse.errors import AutosparseError
from autosparse.version import __version__

if TYPE_CHECKING:
    from autosparse import analysis
    from autosparse.autos import Scorer, fit_scorer, load_scorer
    from autosparse.channels import physically_prune
    from autosparse.compaction import compact
    from autosparse.criteria import prune, score
    from autosparse.data import load_dataset
    from autosparse.data.split import Dataset, Split
    from autosparse.experiment.load import load_experiment
    from autosparse.irp import Survival, load_survival, rewind_prune, save_survival
    from autosparse.masks import Masks, prunable
    from autosparse.models import build_model
    from autosparse.results.frame import results
    from autosparse.runner.experiment import run
    from autosparse.training import History, Recipe, Trainer, accuracy, train

__all__ = [
    "AutosparseError",
    "Dataset",
    "History",
    "Masks",
    "Recipe",
    "Scorer",
    "Split",
    "Survival",
    "Trainer",
    "__version__",
    "accuracy",
    "analysis",
    "build_model",
    "compact",
    "fit_scorer",
    "load_dataset",
    "load_experiment",
    "load_scorer",
    "load_survival",
    "physically_prune",
    "prunable",
    "prune",
    "results",
    "rewind_prune",
    "run",
    "save_survival",
    "score",
    "train",
]

_NAMES = {
    "autos": ("Scorer", "fit_scorer", "load_scorer"),
    "channels": ("physically_prune",),
    "compaction": ("compact",),
    "criteria": ("prune", "score"),
    "data": ("load_dataset",),
    "data.split": ("Dataset", "Split"),
    "experiment.load": ("load_experiment",),
    "irp": ("Survival", "load_survival", "rewind_prune", "save_survival"),
    "masks": ("Masks", "prunable"),
    "models": ("build_model",),
    "runner.experiment": ("run",),
    "training": ("History", "Recipe", "Trainer", "accuracy", "train"),
}
_MODULE_OF = {name: f"autosparse.{module}" for module, names in _NAMES.items() for name in names}


def __getattr__(name: str) -> Any:
    """Import a public name on first use: PyTorch takes two seconds, and most mistakes on a command line come before."""
    if name in _MODULE_OF:
        return getattr(importlib.import_module(_MODULE_OF[name]), name)
    if not name.startswith("_"):
        try:
            return importlib.import_module(f"autosparse.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"autosparse.{name}":
                raise
    raise AttributeError(f"module 'autosparse' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, "analysis", "results"})
