"""Experiment files: at a path, in ``./experiments``, among those that come with autosparse, or new."""

import re
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.experiment.presets import PAPER
from autosparse.experiment.strict_yaml import parse_yaml
from autosparse.plugins import load_plugins

LOCAL = Path("experiments")
SUFFIX = ".yaml"
DEMO = Path(__file__).with_name("demo.yaml")
TEMPLATE = Path(__file__).with_name("template.yaml")
SCHEMA_FILE = "autosparse.schema.json"
POINTER = "# yaml-language-server: $schema="
"""Begins the line that tells editors which schema to use."""


@dataclass(frozen=True)
class ExperimentFile:
    """An experiment file, and what to call it."""

    path: Path
    name: str
    """What to type for it: its path or, if it comes with autosparse, its name, which is the same on every machine."""
    shipped: bool = False
    """Whether it comes with autosparse."""

    @property
    def folder(self) -> str | None:
        """Where its plugins may be, besides installed packages: the folder that it is in; None if it is shipped."""
        return None if self.shipped else str(self.path.absolute().parent)


def shipped_files() -> dict[str, Path]:
    """The files that come with autosparse, by name: ``demo``, ``lenet-mnist``, ``ours/sweep``, ..."""
    inside = Path(__file__).with_name("shipped")
    return {"demo": DEMO, **_named(inside if inside.is_dir() else Path(__file__).parents[2] / LOCAL)}


def local_files() -> dict[str, Path]:
    """The files in ``./experiments``, by name."""
    return _named(LOCAL)


def _named(folder: Path) -> dict[str, Path]:
    files = sorted(folder.rglob(f"*{SUFFIX}"), key=lambda file: (len(file.parts), file))
    return {file.relative_to(folder).with_suffix("").as_posix(): file for file in files}


def find_file(given: str | Path) -> ExperimentFile:
    """The experiment file at a path, or of a name with or without its folder: ``ours/sweep``, ``sweep``.

    What is in the current folder comes before what comes with autosparse.

    :raises AutosparseError: if no file fits, with the nearest names; if several do, with the names of all.
    """
    given = str(given)
    for path in (Path(given), Path(f"{given}{SUFFIX}")):
        if path.exists() and not path.is_dir():  # a pipe is read, too
            return ExperimentFile(path, str(path))
    local, shipped = local_files(), shipped_files()
    if (name := _meant(given, local)) is not None:
        return ExperimentFile(local[name], str(local[name]))
    if (name := _meant(given, shipped)) is not None:
        return ExperimentFile(shipped[name], name, shipped=True)
    nearest = _nearest(given, [*local, *shipped])
    hint = f"did you mean {' or '.join(nearest)}? " if nearest else ""
    raise AutosparseError(f"no experiment file {given}: {hint}`autosparse list experiments` shows those at hand")


def _meant(given: str, files: dict[str, Path]) -> str | None:
    """The one name that ``given`` stands for; None if no name fits."""
    found = [name for name in files if given in (name, name.replace("/", "-"), name.rpartition("/")[2])]
    if len(found) > 1 and given not in found:
        raise AutosparseError(f"{given} stands for several experiments: give one of {', '.join(found)}")
    return given if given in found else next(iter(found), None)


def _nearest(given: str, names: list[str]) -> list[str]:
    """Up to three names that look like ``given``, with or without their folders."""
    wanted = given.removesuffix(SUFFIX).removeprefix(f"{LOCAL}/")
    forms = {form: name for name in reversed(names) for form in (name.rpartition("/")[2], name)}
    if wanted in forms:
        return [forms[wanted]]
    close = get_close_matches(wanted, forms, n=4) or get_close_matches(Path(wanted).name, forms, n=4)
    return list(dict.fromkeys(forms[form] for form in close))[:3]


def read_text(file: ExperimentFile) -> str:
    """What a file holds; raises :class:`AutosparseError` if it cannot be read."""
    try:
        return file.path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise AutosparseError(f"cannot read {file.name}: {error}") from error


def read_content(file: ExperimentFile) -> dict[str, object]:
    """The mapping that a file holds, unchecked.

    :raises AutosparseError: if it cannot be read, or holds no mapping.
    """
    content = parse_yaml(read_text(file), file.name)
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise AutosparseError(f"{file.name}: an experiment is a mapping with `name:` and `grid:`; got {kind}")
    return content


def experiment_names(given: str) -> list[str]:
    """What the experiment of a file is called in MLflow: its ``name``, with each of its presets if it has some.

    :raises AutosparseError: as :func:`find_file` and :func:`read_content` do.
    """
    content = read_content(find_file(given))
    name, presets = content.get("name", ""), content.get("presets")
    return [f"{name}-{preset}" for preset in (PAPER, *presets)] if isinstance(presets, dict) else [str(name)]


def new_file(name: str, source: str | None = None) -> str:
    """The text of an experiment file called ``name``, whose first line points to :data:`SCHEMA_FILE` beside it.

    :param source: a file to copy, as :func:`find_file` takes it; None: the template.
    :raises AutosparseError: if there is no such file, or it has no line ``name:``.
    """
    text = TEMPLATE.read_text() if source is None else read_text(find_file(source))
    written = name if parse_yaml(name, "the name") == name else f'"{name}"'  # 2024 would be read as a number
    text, count = re.subn(r"(?m)^name:.*$", f"name: {written}", text, count=1)
    if not count:
        raise AutosparseError(f"{source} has no line `name: ...` of its own to change")
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(POINTER)]
    return "".join([f"{POINTER}{SCHEMA_FILE}\n", *lines])


def import_plugins(given: str) -> None:
    """Import the plugins of an experiment file, or the module in ``FILE.py``.

    :raises AutosparseError: if there is no such file, it names no plugins, or one cannot be imported.
    """
    path = Path(given)
    if path.suffix == ".py":
        if not path.is_file():
            raise AutosparseError(f"no module {given}")
        load_plugins([path.stem], str(path.absolute().parent))
        return
    file = find_file(given)
    modules = read_content(file).get("plugins")
    if not isinstance(modules, list) or not all(isinstance(name, str) for name in modules):
        raise AutosparseError(f"{file.name} names no plugins, such as `plugins: [my_module]`; or give my_module.py")
    load_plugins(modules, file.folder)
