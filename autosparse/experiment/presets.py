"""Scales of one experiment: the file has the paper's, presets have smaller ones, and users change single values."""

import json
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

from autosparse.errors import AutosparseError, UnknownName
from autosparse.experiment.recipes import BLOCK, with_recipes
from autosparse.experiment.strict_yaml import MOST_VALUES, parse_yaml

PAPER = "paper"
"""The file as it stands, if it has presets."""
DEFAULT = "small"
"""The preset to use if nobody chooses one and the file has it, so that no run of weeks starts by mistake."""

BASES: dict[str, dict[str, Any]] = {
    "digits": {
        "irp.*.model": "lenet-300-100",
        "irp.*.dataset": "digits",
        "irp.*.iterations": 3,
        "irp.*.final_density": 0.1,
        "irp.*.recipe": {"epochs": 1},
        "grid.*.models": ["lenet-300-100"],
        "grid.*.datasets": ["digits"],
        "grid.*.recipe": {"epochs": 1},
        "grid.*.seeds": [0],
    }
}
"""What a preset's ``base`` sets before its own values, in the sections that the file has: ``digits`` tries everything
once, in seconds, on the embedded data."""

Content = dict[str, Any]


def choose(content: Content, preset: str | None, changes: Sequence[tuple[str, Any]] = ()) -> tuple[Content, str | None]:
    """The content under a preset, without its ``presets``, and the preset's name; None for a file that has none.

    A preset is ``{base: NAME, drop: [PATH, ...], set: {PATH: value, ...}}``, each part optional: it drops some paths,
    then sets the values of one of :data:`BASES`, then its own. See :func:`set_value` for paths. The preset's name is
    appended to the experiment's, so that scales stay apart. A path into ``recipes`` changes a recipe wherever it is
    named; any other path sees recipes written out.

    :param changes: further paths and values, set after the preset's.
    :raises AutosparseError: if there is no such preset, or a path leads nowhere.
    """
    content = deepcopy(content)
    presets = content.pop("presets", None)
    if presets is None:
        if preset is not None:
            raise AutosparseError(f"--preset {preset}: this file has no presets; leave the option out")
        return _set(content, changes, "--set"), None
    if not isinstance(presets, dict) or not all(isinstance(held, dict) for held in presets.values()):
        raise AutosparseError("presets: must be a mapping of names to {drop: [...], set: {...}}")
    if PAPER in presets:
        raise AutosparseError(f"presets.{PAPER}: the file without presets is {PAPER!r}; put its values there")
    chosen = preset or (DEFAULT if DEFAULT in presets else PAPER)
    if chosen not in (PAPER, *presets):
        raise UnknownName("preset", chosen, [PAPER, *presets])
    if chosen != PAPER:
        changes = [*_dropped(content, presets[chosen], chosen), *changes]
    content = _set(content, changes, "--set" if chosen == PAPER else f"presets.{chosen}")
    content["name"] = f"{content.get('name', '')}-{chosen}"
    return content, chosen


def changes_of(content: Content, preset: str | None) -> Iterator[str]:
    """What a preset of :func:`choose` drops and sets, a line each."""
    chosen = (content.get("presets") or {}).get(preset, {})
    yield from (f"without {path}" for path in chosen.get("drop", []))
    yield from (f"{path} = {value}" for path, value in _dropped(deepcopy(content), chosen, str(preset)))


def _dropped(content: Content, preset: Content, name: str) -> list[tuple[str, Any]]:
    """Check a preset and drop what it drops. Return what it sets: its base's values for what is left, then its own."""
    if unknown := set(preset) - {"base", "drop", "set"}:
        raise UnknownName(f"key of preset {name!r}", unknown.pop(), ["base", "drop", "set"])
    if "base" in preset and preset["base"] not in BASES:
        raise UnknownName(f"base of preset {name!r}", str(preset["base"]), BASES)
    drop, changes = preset.get("drop", []), preset.get("set", {})
    if not isinstance(drop, list) or not isinstance(changes, dict):
        raise AutosparseError(f"presets.{name}: `drop` is a list of paths, `set` a mapping of paths to values")
    # each once, though several paths may lead there; from the end, so that the numbers of the others do not change
    places = {(id(holder), key): (holder, key) for path in drop for holder, key in _places(content, str(path))}
    for holder, key in sorted(places.values(), key=lambda place: str(place[1]).zfill(9), reverse=True):
        del holder[key]
    base = BASES.get(preset.get("base", ""), {})
    applicable = {path: value for path, value in base.items() if content.get(path.partition(".")[0])}
    return [(str(path), value) for path, value in {**applicable, **changes}.items()]


def _set(content: Content, changes: Sequence[tuple[str, Any]], whose: str) -> Content:
    """The content with values set, and its recipes written out."""
    written = 0
    for of_recipes in (True, False):
        for path, value in changes:
            if path.startswith(f"{BLOCK}.") == of_recipes:
                written += set_value(content, path, value)
                if written > MOST_VALUES:
                    raise AutosparseError(f"{whose} sets more than {MOST_VALUES:,} values: split it up")
        content = with_recipes(content)
    return content


def set_value(content: Content, path: str, value: Any) -> int:
    """Set the values at ``path``, keys with dots between: ``grid.*.recipe.epochs``. Returns how many values were set.

    In a list, a key is a number from 0, or an item's ``name`` or, without one, its ``criterion``; ``*`` stands for all
    keys or items. The last key may be new; those before it must exist.
    """
    places = _places(content, path, new=True)
    if (written := len(places) * _extent(value)) > MOST_VALUES:
        raise AutosparseError(f"{path!r} sets more than {MOST_VALUES:,} values: split it up")
    for holder, key in places:
        holder[key] = deepcopy(value)
    return written


def _extent(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_extent, inner))


def parse_change(text: str) -> tuple[str, Any]:
    """``key=value`` of ``--set``, the value in YAML."""
    path, sign, value = text.partition("=")
    if not sign or not path.strip():
        raise AutosparseError(f"--set {text!r}: give KEY=VALUE, such as --set grid.*.recipe.epochs=10")
    return path.strip(), parse_yaml(value, f"--set {path.strip()}")


def written_changes(changes: str | Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Changes as a command line has them, ``key=value`` each, from one, from several, or from ``{key: value}``."""
    if isinstance(changes, str):
        return [changes]
    if not isinstance(changes, Mapping):
        return list(changes)
    try:
        return [
            f"{path}={json.dumps(value, allow_nan=False, separators=(',', ': '))}" for path, value in changes.items()
        ]
    except (TypeError, ValueError) as error:
        raise AutosparseError(f"set: {error}: give numbers, texts, lists and mappings, as in a file") from error


def _places(content: Content, path: str, new: bool = False) -> list[tuple[Any, Any]]:
    """Each holder and key that a path leads to."""
    *parents, last = path.split(".")
    holders: list[Any] = [content]
    for part in parents:
        holders = [holder[key] for holder in holders for key in _keys(holder, part, path)]
    return [(holder, key) for holder in holders for key in _keys(holder, last, path, new)]


def _keys(holder: Any, part: str, path: str, new: bool = False) -> Iterator[Any]:
    if isinstance(holder, dict):
        if part != "*" and part not in holder and not new:
            raise UnknownName(f"key in {path!r}:", part, map(str, holder))
        yield from list(holder) if part == "*" else [part]
    elif isinstance(holder, list):
        yield from range(len(holder)) if part == "*" else [_number(holder, part, path)]
    else:
        raise AutosparseError(f"{path!r}: {part!r} cannot be found in {holder!r}")


def _number(items: Sequence[Any], part: str, path: str) -> int:
    named: dict[str, list[int]] = {}
    for number, item in enumerate(items):
        if isinstance(item, dict) and ("name" in item or "criterion" in item):
            named.setdefault(str(item.get("name", item.get("criterion"))), []).append(number)
    if len(several := named.get(part, [])) > 1:
        numbers = " or ".join(map(str, several))
        raise AutosparseError(f"{path!r}: several items are called {part!r}: give a number, {numbers}, or name them")
    if part in named:
        return named[part][0]
    if part.isdecimal() and int(part) < len(items):
        return int(part)
    if any(isinstance(item, dict) and part in item for item in items):
        meant = ".".join(f"*.{key}" if key == part else key for key in path.split("."))
        raise AutosparseError(f"{path!r}: {part!r} is a key of the items of a list; for all of them, write {meant}")
    raise UnknownName(f"item in {path!r}:", part, [*named, *map(str, range(len(items)))])
