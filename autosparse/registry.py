"""Registries: what users name in YAML and on the command line, and the code behind each name."""

import importlib
import pkgutil
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Generic, TypeVar

from autosparse.errors import UnknownName
from autosparse.plugins import load_installed, trusted

T = TypeVar("T")
_LOADING = threading.RLock()
"""One for all registries, because a plugin that is being imported may look names up in any of them."""


class Registry(Generic[T]):
    """Names -> members of one package; every module of that package is imported on first use.

    A new member is therefore one new file whose decorator calls :meth:`register`.
    """

    def __init__(self, kind: str, package: str, stand_in: Callable[[str], T] | None = None):
        """Begin without members.

        :param stand_in: makes a placeholder for a member whose plugin is withheld; see ``plugins.trusted``.
        """
        self.kind, self.package, self._stand_in = kind, package, stand_in
        self._members: dict[str, T] = {}
        self._modules: dict[str, ModuleType | None] = {}
        self._loaded = False

    def register(self, name: str, member: T, code: object = None) -> None:
        """Add ``member`` under ``name``; the same name twice is a programming error.

        :param code: the function or class behind it. If its module is imported anew, as after an import that failed
            half-way, the new member takes the place of the old.
        """
        module, before = sys.modules.get(getattr(code, "__module__", "")), self._modules.get(name)
        anew = module is not before and getattr(module, "__name__", "") == getattr(before, "__name__", None)
        if name in self._members and not anew:
            raise ValueError(f"{self.kind} {name!r} is registered twice")
        self._members[name], self._modules[name] = member, module

    def __getitem__(self, name: str) -> T:
        self._load()
        if name not in self._members:
            if self._stand_in is not None and trusted(self.kind, name):
                return self._stand_in(name)
            raise UnknownName(self.kind, name, self._members)
        return self._members[name]

    def __contains__(self, name: object) -> bool:
        self._load()
        return name in self._members

    def __iter__(self) -> Iterator[str]:
        self._load()
        return iter(sorted(self._members))

    def _load(self) -> None:
        with _LOADING:  # another thread waits here until all names are known
            if self._loaded:
                return
            self._loaded = True
            try:
                package = importlib.import_module(self.package)
                for module in pkgutil.iter_modules(package.__path__):
                    importlib.import_module(f"{self.package}.{module.name}")
                load_installed()
            except BaseException:
                self._loaded = False  # so that the next look-up fails for the same reason, not for a missing name
                raise


def first_line(member: Callable[..., object]) -> str:
    """The first line of a member's docstring as plain text, for listings."""
    return (member.__doc__ or "").strip().split("\n")[0].replace("``", "")
