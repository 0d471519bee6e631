"""Where in the user's own code something is, or went wrong: ``my_module.py:12``, for messages of one line."""

import inspect
import sysconfig
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

OURS = Path(__file__).parent
INSTALLED = ("site-packages", "dist-packages")


def is_users(file: str) -> bool:
    """Whether a source file is the user's: neither ours, nor Python's, nor an installed package's."""
    path = Path(file).absolute()
    python = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
    return (
        path.suffix == ".py"
        and not path.is_relative_to(OURS)
        and not any(part in INSTALLED for part in path.parts)
        and not any(path.is_relative_to(place) for place in python)
    )


def is_ours(function: Callable[..., Any]) -> bool:
    """Whether a function or class is of this package, not of the user or of a package that extends this one."""
    return str(getattr(inspect.unwrap(function), "__module__", "")).partition(".")[0] == OURS.name


def place_of(function: Callable[..., Any]) -> str:
    """``file:line`` of a user's function or class; empty if it is not the user's, or has no source."""
    try:
        found = inspect.unwrap(function)
        file, (_, line) = inspect.getsourcefile(found) or "", inspect.getsourcelines(found)
    except (TypeError, OSError, ValueError):
        return ""
    return f"{_short(file)}:{line}" if is_users(file) else ""


def place_of_error(error: BaseException | None) -> str:
    """``file:line`` in the user's code where an error, or what caused it, was raised; empty if that was elsewhere."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if is_users(frame.filename)]
        if frames:
            return f"{_short(frames[-1].filename)}:{frames[-1].lineno}"
        error = error.__cause__
    return ""


def kind_and_line(error: BaseException) -> str:
    """The kind of an error and the first line of what it says."""
    return f"{type(error).__name__}: {error}".split("\n")[0].rstrip(": ")


def described(error: BaseException) -> str:
    """The kind of an error, the first line of what it says, and where in the user's code it came from."""
    place = place_of_error(error)
    return f"{kind_and_line(error)} at {place}" if place else kind_and_line(error)


def named(what: str, function: Callable[..., Any]) -> str:
    """``what``, such as ``model 'tiny'``, with the place of its function after it if that is the user's."""
    place = place_of(function)
    return f"{what} ({place})" if place else what


def _short(file: str) -> str:
    """A path relative to the current folder if it is in it."""
    path = Path(file).absolute()
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
