"""Plugins: modules that register methods, models and data sets when they are imported.

Either an installed package names its module as an entry point of the group ``autosparse``, or an experiment file lists
modules under ``plugins:``, installed or beside the file, and every process that works on it imports them. Importing a
module runs its code, so a command that only inspects a file, which somebody else may have written, does so within
:func:`withholding`.
"""

import contextlib
import importlib.metadata
import re
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from autosparse.errors import AutosparseError

GROUP = "autosparse"
NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,99}")
"""Valid names of a criterion, a model or a data set that a plugin registers."""


@dataclass(frozen=True)
class Plugins:
    """The code of an experiment file: its plugins, and where to find them and its ``package.module:factory``."""

    modules: tuple[str, ...] = ()
    folder: str | None = None
    """The file's own; None: only installed modules."""

    def load(self) -> None:
        """Import the modules, in any process."""
        load_plugins(self.modules, self.folder)


NO_PLUGINS = Plugins()


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


def load_plugins(modules: Iterable[str], folder: str | None = None) -> None:
    """Import the modules that a file names; within :func:`withholding`, only note them.

    :param folder: where to look for them, and for whatever is imported later, after all other places.
    :raises AutosparseError: naming the module, if one cannot be imported, or if an installed one has its name.
    """
    record = _withheld.get()
    if record is not None:
        record.plugins.update(modules)
        return
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)  # at the end: no file of the folder stands in for a module of Python's
        importlib.invalidate_caches()
    for name in modules:
        cure = "is it beside the experiment file, installed, or its folder on PYTHONPATH?"
        _guarded(name, partial(importlib.import_module, name), cure)
        if folder is not None:
            _require_own(name, folder)


def _require_own(name: str, folder: str) -> None:
    """Raise if ``name`` is a file or a package in the folder, but another module has been imported."""
    path = Path(folder, *name.split("."))
    own = next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)
    found = getattr(sys.modules[name], "__file__", None) or "Python"
    if own is None or Path(found).is_relative_to(folder):
        return
    if found == "Python" or _is_installed(Path(found)):
        raise AutosparseError(f"plugin {name!r}: {own} is hidden by a module of {found}: rename it")
    if Path(found).is_file() and own.read_bytes() != Path(found).read_bytes():  # a copy is as good
        raise AutosparseError(
            f"plugin {name!r}: {own} is hidden by {found}, which has the same name and comes first in this process: "
            "rename one of them, or start a new process"
        )


def _is_installed(file: Path) -> bool:
    return any(file.is_relative_to(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


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
