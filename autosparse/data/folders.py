"""Where a data set's files lie, and what to put there by hand if they cannot be fetched."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from autosparse.errors import DataError, first_line


def find_folder(root: Path, argument: str) -> Path:
    """The folder ``argument`` under the data root, else ``argument`` as a path of its own."""
    folder = root / argument if (root / argument).is_dir() else Path(argument)
    if not folder.is_dir():
        raise DataError(
            f"no folder {argument!r}, neither under the data root {root} nor here; pass --data-root or a full path"
        )
    return folder


@contextlib.contextmanager
def fetching(title: str, folder: Path) -> Iterator[None]:
    """Turn the failure of a download of ``title`` to ``folder`` within the block into a :class:`DataError`."""
    try:
        yield
    except (RuntimeError, OSError) as error:
        raise DataError(f"cannot fetch {title}: {first_line(error)}; put its files in {folder} yourself") from error
