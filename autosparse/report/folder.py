"""The folder of a report: a new report removes the files of the last one, and no others."""

from collections.abc import Mapping
from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.files import refusing_unwritable, write_atomic

PAGE = "index.html"
MARK = b'<meta name="generator" content="autosparse">'
"""A line at the top of every report's page."""


def require_free(folder: Path) -> None:
    """Raise if a report would replace a page that is not a report."""
    with refusing_unwritable(folder):
        if (folder / PAGE).exists() and not _is_report(folder):
            raise _foreign(folder / PAGE)


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each file under its name in ``folder``, and remove the other files of an earlier report there.

    :raises AutosparseError: if a file with one of the names does not belong to a report.
    """
    require_free(folder)
    with refusing_unwritable(folder):
        before = _files(folder) if _is_report(folder) else set()
        foreign = next((name for name in files if name not in before and (folder / name).exists()), None)
    if foreign:
        raise _foreign(folder / foreign)
    for name, data in files.items():
        write_atomic(folder / name, data)
    with refusing_unwritable(folder):
        for name in before - files.keys():
            (folder / name).unlink(missing_ok=True)


def _is_report(folder: Path) -> bool:
    try:
        with (folder / PAGE).open("rb") as file:
            return MARK in file.read(1000)
    except FileNotFoundError:
        return False


def _files(folder: Path) -> set[str]:
    """The files of a report: its page, and the numbered ones in ``figures`` and ``tables``."""
    patterns = [f"{name}/{number}-*" for name in ("figures", "tables") for number in ("[0-9][0-9]", "[0-9][0-9][0-9]")]
    numbered = (path for pattern in patterns for path in folder.glob(pattern) if path.is_file())
    return {PAGE, *(str(path.relative_to(folder)) for path in numbered)}


def _foreign(path: Path) -> AutosparseError:
    return AutosparseError(f"{path} exists, and no earlier report wrote it; choose another folder, or move it away")
