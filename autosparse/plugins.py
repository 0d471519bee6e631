"""Methods, models and data sets from elsewhere: modules whose import registers them.

Either an installed package names its module as an entry point of the group ``autosparse``, or an experiment file lists
modules under ``plugins:``, which every process that works on it imports.
"""

import importlib
from collections.abc import Callable, Iterable
from functools import partial

from autosparse.errors import AutosparseError

GROUP = "autosparse"


def load_plugins(modules: Iterable[str]) -> None:
    """Import the modules that a file names; those that are imported already are left as they are.

    :raises AutosparseError: naming the module, where one cannot be imported.
    """
    for name in modules:
        _guarded(name, partial(importlib.import_module, name), "is it installed, or its folder on PYTHONPATH?")


def load_installed() -> None:
    """Import what installed packages name as entry points."""
    from importlib.metadata import entry_points  # here: most programs have done without

    for entry in entry_points(group=GROUP):
        _guarded(f"{entry.name} = {entry.value}", entry.load, "update or uninstall the package that brings it")


def _guarded(name: str, load: Callable[[], object], cure: str) -> None:
    try:
        load()
    except AutosparseError:
        raise
    except Exception as error:
        raise AutosparseError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}; {cure}") from error
