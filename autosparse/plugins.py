"""Methods, models and data sets from elsewhere: modules whose import registers them.

Either an installed package names its module as an entry point of the group ``autosparse``, or an experiment file lists
modules under ``plugins:``, which every process that works on it imports. To import a module is to run it, so whoever
only looks at a file that somebody else wrote does so while :func:`withholding` imports.
"""

import contextlib
import importlib
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial

from autosparse.errors import AutosparseError

GROUP = "autosparse"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
"""What a criterion, a model or a data set may be called that a plugin brings."""


@dataclass
class Withheld:
    """What a file names as code of its own, and was not imported."""

    plugins: set[str] = field(default_factory=set)
    factories: set[str] = field(default_factory=set)
    """``package.module:factory``."""
    trusted: set[str] = field(default_factory=set)
    """Names that only the plugins can know, each with its kind, such as ``model tiny``."""

    @property
    def code(self) -> list[str]:
        """All that a run would import."""
        return sorted(self.plugins | self.factories)


_withheld: ContextVar[Withheld | None] = ContextVar("withheld", default=None)


@contextlib.contextmanager
def withholding(active: bool = True) -> Iterator[Withheld]:
    """Import nothing within the block that a file names, and yield what that was; names are then taken on trust.

    :param active: False: import as usual.
    """
    record = Withheld()
    before = _withheld.set(record if active else None)
    try:
        yield record
    finally:
        _withheld.reset(before)


def withheld() -> Withheld | None:
    """What has not been imported so far, within :func:`withholding`; None elsewhere."""
    return _withheld.get()


def trusted(kind: str, name: str) -> bool:
    """Whether a name that we do not know may be one that a plugin brings, which is not imported here."""
    record = _withheld.get()
    if record is None or not record.plugins or not NAME.fullmatch(name):
        return False
    record.trusted.add(f"{kind} {name}")
    return True


def load_plugins(modules: Iterable[str]) -> None:
    """Import the modules that a file names, unless that is withheld; those that are imported already are left alone.

    :raises AutosparseError: naming the module, if one cannot be imported.
    """
    record = _withheld.get()
    if record is not None:
        record.plugins.update(modules)
        return
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
