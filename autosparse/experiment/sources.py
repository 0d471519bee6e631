"""Fingerprints of the user's own code: models, criteria, features, data sets and backbones that are not ours.

Ours have a revision that rises with changes that matter. For the user's code, the source counts: the module of the
function and the user's own modules that it imports, without comments, docstrings and formatting, and without installed
packages.
"""

import ast
import functools
import hashlib
import importlib
import importlib.util
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

from autosparse.autos.backbones import BACKBONES
from autosparse.criteria import CRITERIA
from autosparse.criteria.expression import parse
from autosparse.criteria.features import FEATURES
from autosparse.criteria.features.find import find_feature
from autosparse.data import source_of
from autosparse.experiment.fields import BRANCH, DENSE
from autosparse.experiment.plan import dataset_of
from autosparse.experiment.space import Downstream, SweepTask
from autosparse.experiment.tasks import Cell, IrpTask, ScorerTask, Task
from autosparse.models import MODELS
from autosparse.models.arguments import bare_name
from autosparse.users_code import is_users

OURS = __name__.partition(".")[0]
FORMULA = "formula"


@dataclass(frozen=True)
class Function:
    """A function or class of the user's: what it is for, its name as the user types it, and its module."""

    role: str
    name: str
    module: str

    @property
    def key(self) -> str:
        """The key of its fingerprint in records."""
        return f"{self.role} {self.name}"

    @property
    def file(self) -> str:
        """The file that it is in."""
        found = _find(self.module)
        return str(found.origin) if found else self.module


def functions_of(task: Task) -> Iterator[Function]:
    """The user's own functions that a task calls itself, without those that its inputs call."""
    network = task.downstream if isinstance(task, SweepTask) else task
    if isinstance(network, Cell | IrpTask | Downstream):
        model = bare_name(network.model)
        source, colon, _ = model.partition(":")
        if not colon:
            source = MODELS[model].__module__
        if source != "torchvision":
            yield from _own("model", model, source)
    if isinstance(task, Cell | IrpTask) and task.criterion not in (DENSE, BRANCH):
        yield from _own("criterion", task.criterion, CRITERIA[task.criterion].function.__module__)
    if (dataset := dataset_of(task)) is not None:
        loader = source_of(dataset)
        yield from _own("dataset", loader.name, loader.load.__module__)
    for (backbone,) in _of_fits(task, "backbone"):
        yield from _own("backbone", backbone, BACKBONES[backbone].__module__)
    for name in _features(task):
        if name in FEATURES:
            yield from _own("feature", name, FEATURES[name].compute.__module__)
        elif name in CRITERIA:
            yield from _own("criterion", name, CRITERIA[name].function.__module__)


def _features(task: Task) -> list[str]:
    """The features, and criteria that serve as such, that a formula or a fit reads, each once."""
    if isinstance(task, Cell | IrpTask):
        return _named(str(task.options.get("expression", ""))) if task.criterion == FORMULA else []
    return sorted({name for inputs in _of_fits(task, "inputs") for name in inputs})


@functools.lru_cache(maxsize=1024)
def _named(expression: str) -> list[str]:
    return sorted(parse(expression, find_feature).names) if expression else []


def _of_fits(task: Task, setting: str) -> list[tuple[str, ...]]:
    """What a task's fits have for a setting, each once; a name as a tuple of one."""
    if isinstance(task, ScorerTask):
        found = [] if task.sweep is not None else [getattr(task.fit, setting)]
    elif isinstance(task, SweepTask):
        here = getattr(task.fit, setting)
        given = [point.get(setting, here) for point in task.points]
        found = [*given, *(task.space.get(setting, {"choice": (here,)})["choice"] if task.space else ())]
    else:
        found = []
    return sorted({(each,) if isinstance(each, str) else tuple(each) for each in found})


def _own(role: str, name: str, module: str) -> Iterator[Function]:
    if module.partition(".")[0] != OURS:
        yield Function(role, name, module)


def code_of(task: Task) -> dict[str, str]:
    """The fingerprint of the source of each of :func:`functions_of`, by its key; without those that have no file."""
    found = {function.key: source_fingerprint(function.module) for function in functions_of(task)}
    return {key: digest for key, digest in found.items() if digest}


@functools.cache
def source_fingerprint(module: str) -> str:
    """16 hex digits over a module and the user's own modules that it imports; empty if it has no source file.

    The result is cached, for the source as it was when this process first asked, soon after importing it.
    """
    known, waiting = {module}, [module]
    parsed: dict[str, Any] = {}
    while waiting:
        name = waiting.pop()
        found = _find(name)
        if found is None or (name != module and not _is_own(found)):
            continue
        text = _read(found)
        if text is None:
            continue
        try:
            tree = ast.parse(text)
            parsed[name] = _bare(tree)
        except (SyntaxError, ValueError, RecursionError):
            parsed[name] = text
            continue
        if _is_own(found):
            package = name if found.submodule_search_locations is not None else name.rpartition(".")[0]
            new = set(_imported(tree, package)) - known
            known |= new
            waiting += new
    whole = "".join(json.dumps(["" if name == module else name, content]) for name, content in sorted(parsed.items()))
    return hashlib.sha256(whole.encode()).hexdigest()[:16] if parsed else ""


def look_again() -> None:
    """Forget the fingerprints: the files may have changed since."""
    importlib.invalidate_caches()
    source_fingerprint.cache_clear()


def _find(name: str) -> ModuleSpec | None:
    """Find a module's source file without importing anything; None if it has none."""
    found = _spec(name) or getattr(sys.modules.get(name), "__spec__", None)
    return found if found is not None and (found.origin or "").endswith(".py") else None


def _spec(name: str) -> ModuleSpec | None:
    """Where Python finds a module, in the folders of its package; None if nowhere."""
    parent = name.rpartition(".")[0]
    package = _spec(parent) if parent else None
    folders = package.submodule_search_locations if package else None
    try:
        return PathFinder.find_spec(name, folders) if folders is not None or not parent else None
    except (ImportError, ValueError):
        return None


def _read(found: ModuleSpec) -> str | None:
    try:
        return Path(str(found.origin)).read_text("utf-8", "replace")
    except OSError:
        return None


def _is_own(found: ModuleSpec) -> bool:
    """Whether a module is the user's: neither ours, nor Python's, nor an installed package's."""
    return found.name.partition(".")[0] != OURS and is_users(str(found.origin))


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    """Names that a module imports: each may be a module, or something in one."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            try:
                source = importlib.util.resolve_name("." * node.level + (node.module or ""), package)
            except ImportError:  # beyond the top of its package
                continue
            yield from _with_parents(source)
            yield from (f"{source}.{alias.name}" for alias in node.names)


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _bare(node: Any) -> Any:
    """A syntax tree as JSON values, without docstrings, and the same in every version of Python."""
    if isinstance(node, list):
        return [_bare(part) for part in node]
    if not isinstance(node, ast.AST):
        return node if isinstance(node, str | int | None) else repr(node)
    fields = {name: value for name, value in ast.iter_fields(node) if name not in ("ctx", "kind", "type_comment")}
    if (
        isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and ast.get_docstring(node, clean=False) is not None
    ):
        fields["body"] = node.body[1:]
    kept = {name: _bare(value) for name, value in fields.items() if value is not None and value != []}
    return [type(node).__name__, kept]
