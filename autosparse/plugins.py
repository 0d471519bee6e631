"""Plugins: modules that register methods, models and data sets when they are imported.

Either an installed package names its module as an entry point of the group ``autosparse``, or an experiment file lists
modules under ``plugins:``, and every process that works on it imports them. Importing a module runs its code, so a
command that only inspects a file, which somebody else may have written, does so within :func:`withholding`.
"""

import contextlib
import importlib.metadata
import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial

from autosparse.errors import AutosparseError

GROUP = "autosparse"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
"""Valid names of a criterion, a model or a data set that a plugin registers."""


@dataclass
class Withheld:
    """The code that a file names and that was not imported."""

    plugins: set[str] = field(default_factory=set)
    factories: set[str] = field(default_factory=set)
    """``package.module:factory``."""
    trusted: set[str] = field(default_factory=set)
    """Names that only the plugins can have registered, each with its kind, such as ``model tiny``."""

    @property
    def code(self) -> list[str]:
        """Everything that a run would import."""
        return sorted(self.plugins | self.factories)


_withheld: ContextVar[Withheld | None] = ContextVar("withheld", default=None)


@contextlib.contextmanager
def withholding(active: bool = True) -> Iterator[Withheld]:
    """Import no code that a file names within the block, but yield a list of it; unknown names are taken on trust.

    :param active: if False, import as usual.
    """
    record = Withheld()
    before = _withheld.set(record if active else None)
    try:
        yield record
    finally:
        _withheld.reset(before)


def withheld() -> Withheld | None:
    """What :func:`withholding` has not imported so far; None outside its block."""
    return _withheld.get()


def trusted(kind: str, name: str) -> bool:
    """Whether an unknown name may be that of a plugin that is withheld; notes it if so."""
    record = _withheld.get()
    if record is None or not record.plugins or not NAME.fullmatch(name):
        return False
    record.trusted.add(f"{kind} {name}")
    return True


def load_plugins(modules: Iterable[str]) -> None:
    """Import the modules that a file names; within :func:`withholding`, only note them.

    :raises AutosparseError: naming the module, if one cannot be imported.
    """
    record = _withheld.get()
    if record is not None:
        record.plugins.update(modules)
        return
    for name in modules:
        _guarded(name, partial(importlib.import_module, name), "is it installed, or its folder on PYTHONPATH?")


def load_installed() -> None:
    """Import the modules that installed packages name as entry points."""
    for entry in importlib.metadata.entry_points(group=GROUP):
        _guarded(f"{entry.name} = {entry.value}", entry.load, "update or uninstall the package that brings it")


def _guarded(name: str, load: Callable[[], object], cure: str) -> None:
    try:
        load()
    except AutosparseError:
        raise
    except Exception as error:
        raise AutosparseError(f"plugin {name!r} cannot be imported: {type(error).__name__}: {error}; {cure}") from error
