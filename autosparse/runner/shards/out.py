"""The place where scores are written until they are complete.

After a failure they stay there, and the same command continues from them.
"""

import contextlib
from collections.abc import Iterator
from fnmatch import fnmatchcase

from autosparse.errors import AutosparseError
from autosparse.files import make_folder, put_folder, refusing_full, refusing_unwritable, require_replaceable
from autosparse.storage import Folder, Place
from autosparse.storage.lease import LEASE
from autosparse.storage.lock import LOCK, one_driver

MANIFEST, MASKS = "scores.json", "masks.safetensors"
OURS = ("scores-*.parquet", "masks-*.parquet", MASKS, MANIFEST, ".*.parquet.*.tmp", LOCK)


def kept_until_whole(out: Place) -> contextlib.AbstractContextManager[Place]:
    """The place to write to, for this process alone; if the block ends without error, it becomes ``out``.

    For a folder it is a hidden one beside it, ``.OUT.work``, which then takes its place. A bucket has no way to do
    that at once. The block writes in place there, and ``scores.json`` last: with it, the scores are whole.
    """
    return _folder(out) if isinstance(out, Folder) else _bucket(out)


@contextlib.contextmanager
def _folder(out: Folder) -> Iterator[Place]:
    work = Folder(out.path.with_name(f".{out.path.name}.work"))
    with refusing_unwritable(out.path):
        require_replaceable(out.path, OURS)
        make_folder(work.path)
    with one_driver(work, "--out"), refusing_full(out.path):
        work.remove(MANIFEST)
        try:
            yield work
        except BaseException:
            if work.names(deep=True) == [LOCK]:
                work.clear()
            raise
        put_folder(work.path, out.path, OURS)  # with the lock in it, so that no other process begins meanwhile
        out.remove(LOCK)


@contextlib.contextmanager
def _bucket(out: Place) -> Iterator[Place]:
    foreign = [name for name in out.names() if not any(fnmatchcase(name, ours) for ours in (*OURS, LEASE))]
    if foreign:
        raise AutosparseError(
            f"{out} already holds {foreign[0]!r}, which would be lost; choose another --out or empty it"
        )
    with one_driver(out, "--out"):
        out.remove(MANIFEST)
        yield out
