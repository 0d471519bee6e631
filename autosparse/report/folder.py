"""The folder of a report: the files of the last one go, and nobody else's."""

import contextlib
import re
from collections.abc import Mapping
from pathlib import Path

from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import read_record, refusing_unwritable, write_atomic, write_record

WRITTEN = ".report.json"
"""Says what a report has written."""
NAME = re.compile(r"index\.html|(tables|figures)/[\w-]+\.\w+")


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write each, by its name in ``folder``, and remove what an earlier report has written there beside them.

    :raises AutosparseError: where a file has such a name that no report has written.
    """
    before = _written(folder)
    foreign = next((name for name in files if name not in before and (folder / name).exists()), None)
    if foreign:
        raise AutosparseError(f"{folder / foreign} is there, and not of an earlier report; choose another --out")
    write_record(folder / WRITTEN, {"files": sorted(before | files.keys())})
    for name, data in files.items():
        write_atomic(folder / name, data)
    with refusing_unwritable(folder):
        for name in before - files.keys():
            (folder / name).unlink(missing_ok=True)
    write_record(folder / WRITTEN, {"files": sorted(files)})


def _written(folder: Path) -> set[str]:
    with contextlib.suppress(FileNotFoundError, CorruptFile):
        held = read_record(folder / WRITTEN).get("files", [])
        return {name for name in held if isinstance(name, str) and NAME.fullmatch(name)}
    return set()
