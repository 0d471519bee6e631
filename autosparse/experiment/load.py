"""Read an experiment file, with errors that name the file, the key and the reason, and plan its tasks."""

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from autosparse.errors import AutosparseError, nearest_name
from autosparse.experiment.files import find_file, read_content
from autosparse.experiment.keys import keys_in
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.presets import PAPER, changes_of, choose, parse_change, written_changes
from autosparse.experiment.recipes import with_recipes
from autosparse.experiment.schema import Experiment
from autosparse.experiment.tasks import FitSpec
from autosparse.plugins import load_plugins

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class Loaded:
    """An experiment at the scale that was chosen, and at the paper's."""

    experiment: Experiment
    paper: Experiment
    """Without preset and changes."""
    preset: str | None
    """None if the file has no presets."""
    presets: tuple[str, ...]
    """All that the file has, and the paper's scale."""
    changes: tuple[str, ...]
    """What differs from the file: the preset's and the user's changes, ``path = value`` each."""
    folder: str | None
    """Where its plugins may be, besides installed packages."""
    file: str
    """What the file is called: :attr:`autosparse.experiment.files.ExperimentFile.name`."""
    asked: tuple[str, ...] = ()
    """The user's changes, ``key=value`` each as given."""

    @property
    def name(self) -> str:
        """What the experiment is called in MLflow."""
        return self.experiment.name

    def __repr__(self) -> str:
        return f"Loaded({self.name!r} from {self.file}{f', preset {self.preset}' if self.preset else ''})"


def load_experiment(path: str | Path, preset: str | None = None, set: Sequence[str] | Mapping[str, Any] = ()) -> Loaded:
    """Read and check an experiment file; nothing is started, but its plugins are imported.

    :param path: a path, or the name of a file: see :func:`autosparse.experiment.files.find_file`.
    :param preset: see :func:`autosparse.experiment.presets.choose`.
    :param set: ``["path=value", ...]`` or ``{path: value}``, set after the preset's.

    Raises :class:`AutosparseError` with one line per mistake: file, key, reason.
    """
    file = find_file(path)
    return parse_loaded(read_content(file), file.name, preset, written_changes(set), file.folder)


def plan_of(loaded: Loaded) -> Plan:
    """Expand what :func:`load_experiment` returned.

    Add what the parent run in MLflow shows about the file and the command.
    """
    parts = ["autosparse", "run", loaded.file, *(["--preset", loaded.preset] if loaded.preset else [])]
    parts += [part for change in loaded.asked for part in ("--set", change)]
    experiment = loaded.experiment
    about: dict[str, Any] = {"preset": loaded.preset, "file": loaded.file, "command": shlex.join(parts)}
    about |= {"description": experiment.description, "notes": list(experiment.notes), "changes": list(loaded.changes)}
    return make_plan(experiment, loaded.paper, loaded.folder, **about)


def scale_of(loaded: Loaded) -> str | None:
    """A line that says which preset was chosen, and which others there are; None if the file has no presets."""
    if loaded.preset is None:
        return None
    others = ", ".join(name for name in loaded.presets if name != loaded.preset)
    return f"preset {loaded.preset} (others: {others})"


def parse_loaded(
    content: dict[str, Any],
    source: str,
    preset: str | None = None,
    changes: Sequence[str] = (),
    folder: str | None = None,
) -> Loaded:
    """Check the content of a file in ``folder`` as :func:`load_experiment` does; ``source`` names it in errors."""
    content = _written_out(content)
    with _named(source):
        presets = tuple(content["presets"]) if isinstance(content.get("presets"), dict) else ()
        parsed = [parse_change(change) for change in changes]
        chosen, name = choose(content, preset, parsed)
        differing = _in_effect([*changes_of(content, name), *(f"{path} = {value}" for path, value in parsed)])
    paper = parse_experiment({key: value for key, value in content.items() if key != "presets"}, source, folder)
    with _named(source):
        for grid in paper.grid:
            grid.check_published()
    experiment = parse_experiment(chosen, source if name is None else f"{source} ({name})", folder)
    return Loaded(
        experiment, paper, name, (PAPER, *presets) if presets else (), tuple(differing), folder, source, tuple(changes)
    )


def _in_effect(lines: Sequence[str]) -> list[str]:
    """The lines ``path = value`` without those whose values a later one sets, too."""
    paths = [line.partition(" = ")[0].split(".") for line in lines]

    def covers(path: list[str], other: list[str]) -> bool:
        return len(path) <= len(other) and all(key in ("*", theirs) for key, theirs in zip(path, other, strict=False))

    return [
        line
        for number, (line, path) in enumerate(zip(lines, paths, strict=True))
        if not any(covers(later, path) for later in paths[number + 1 :])
    ]


def parse_experiment(content: dict[str, Any], source: str, folder: str | None = None) -> Experiment:
    """Check the content of an experiment file in ``folder``; ``source`` names it in errors."""
    plugins = content.get("plugins")
    named = [name for name in plugins if isinstance(name, str)] if isinstance(plugins, list) else []
    with _named(source):
        load_plugins(named, folder)  # before the check, which must know their names
        content = with_recipes(content)
    cure = "numbers must be finite, dates in quotes, anchors not circular"
    return _validated(Experiment, _written_out(content), source, cure)


def parse_fit(content: dict[str, Any], source: str) -> FitSpec:
    """Check the settings of one scorer fit."""
    return _validated(FitSpec, content, source)


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """Begin the message of an error with what it is about."""
    try:
        yield
    except AutosparseError as error:
        raise AutosparseError(f"{source}: {error}") from error


def _validated(model: type[M], content: dict[str, Any], source: str, cure: str = "every number must be finite") -> M:
    """The content as a model; ``cure`` is the advice if it cannot be written as JSON."""
    try:
        text = json.dumps(content, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise AutosparseError(f"{source}: {error}: {cure}") from error
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        mistakes = error.errors()
        lines = [_line(mistake) for mistake in mistakes if not _follows(mistake, mistakes)]
        raise AutosparseError("\n".join(f"{source}: {line}" for line in lines)) from error


def _written_out(content: dict[str, Any]) -> dict[str, Any]:
    """Short forms in full: ``snip`` for ``{criterion: snip}``, one grid, source, IRP run or level for a list of one."""
    content = {**content}
    for fitted in ("sweeps", "scorers"):
        if isinstance(content.get(fitted), dict):
            content[fitted] = {name: _listed(spec, "irp") for name, spec in content[fitted].items()}
    grids = content.get("grid", [])
    grids = [grids] if isinstance(grids, dict) else grids
    if isinstance(grids, list):
        content["grid"] = [_listed(_methods_in_full(grid), "published") for grid in grids]
    return content


def _listed(spec: Any, key: str) -> Any:
    if not isinstance(spec, dict) or key not in spec or isinstance(spec[key], list):
        return spec
    return {**spec, key: [spec[key]]}


def _methods_in_full(grid: Any) -> Any:
    if not isinstance(grid, dict) or not isinstance(grid.get("methods"), list):
        return grid
    methods = [
        {"criterion": method} if isinstance(method, str) else _listed(method, "levels") for method in grid["methods"]
    ]
    return {**grid, "methods": methods}


def _follows(mistake: Any, others: list[Any]) -> bool:
    """Whether a mistake follows from others: pydantic also calls a list too short if it has refused its items."""
    place = mistake["loc"]
    return mistake["type"] == "too_short" and any(
        len(o["loc"]) > len(place) and o["loc"][: len(place)] == place for o in others
    )


def _line(mistake: Any) -> str:
    """``key: reason`` of one of pydantic's errors."""
    place = mistake["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    match mistake["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            nearest = nearest_name(str(place[-1]), keys_in(str(place[0])))
            reason = "unknown key" + (f"; did you mean {nearest!r}?" if nearest and nearest != place[-1] else "")
        case "too_short":
            reason = "must not be empty"
        case "missing":
            reason = "this key is missing"
        case "value_error":
            reason = str(mistake["ctx"]["error"])
        case _:
            reason = f"{mistake['msg'][0].lower()}{mistake['msg'][1:]}, got {mistake['input']!r}{_cure(mistake)}"
    return f"{key}: {reason}" if key else reason


def _cure(mistake: Any) -> str:
    """What was probably meant: a list, or a share instead of percent; empty if nothing suggests itself."""
    given, kind = mistake["input"], mistake["type"]
    if kind in ("tuple_type", "list_type") and isinstance(given, str | int | float):
        return f": write [{', '.join(part.strip() for part in str(given).split(','))}]"
    if kind in ("less_than", "less_than_equal") and 1 in mistake["ctx"].values() and 1 < given <= 100:
        return f": {given / 100:g}?"
    return ""
