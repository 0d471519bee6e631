"""Graphs as modules that leave nothing behind when they are gone."""

import linecache
import weakref
from typing import Any

from torch import fx
from torch.fx import graph_module


class CompiledGraph(fx.GraphModule):
    """A ``GraphModule`` that lets go of the source of its forward when it is deleted.

    torch.fx keeps the source of every forward that it has ever compiled, for tracebacks. A worker compiles two for
    each cell, and would grow all day.
    """

    def recompile(self) -> Any:
        """See ``torch.fx.GraphModule.recompile``."""
        code = super().recompile()
        weakref.finalize(self, _forget, type(self).forward.__code__.co_filename).atexit = False
        return code


def kept_sources() -> dict[str, str]:
    """The sources that torch.fx keeps, by the file names of tracebacks. A test says if PyTorch moves them."""
    found: dict[str, str] = getattr(getattr(graph_module, "_loader", None), "eval_cache", {})
    return found


def _forget(name: str) -> None:
    linecache.cache.pop(name, None)
    kept_sources().pop(name, None)
