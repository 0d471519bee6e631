"""Results: every question that is asked of MLflow. ``asp.results(NAME)`` is its finished cells as a DataFrame."""

import sys
from types import ModuleType
from typing import Any


class _Callable(ModuleType):
    """A package that can be called: ``autosparse.results`` is this package and the function of that name."""

    def __call__(self, experiment: str, tracking_uri: str | None = None) -> Any:
        """The finished cells of an experiment as a DataFrame: see :func:`autosparse.results.frame.results`."""
        from autosparse.results.frame import results

        return results(experiment, tracking_uri)


sys.modules[__name__].__class__ = _Callable
