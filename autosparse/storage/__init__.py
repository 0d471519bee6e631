"""Places for finished work, in files that are whole or absent: a folder, or a prefix in an object store (S3, GCS)."""

import functools
import re
from pathlib import Path

from autosparse.errors import AutosparseError
from autosparse.storage.bucket import Bucket
from autosparse.storage.folder import Folder
from autosparse.storage.place import Place

__all__ = ["Bucket", "Folder", "Place", "place_at"]

ADDRESS = re.compile(r"(s3|gs):/{1,2}([^/][^?]*?)/*(\?.*)?")
"""One slash or two: ``Path`` merges them. The prefix may end with slashes, which name the same place."""


def place_at(where: str | Path | Place) -> Place:
    """The folder or the object store's prefix (``s3://``, ``gs://``) at an address.

    :raises AutosparseError: for an address with credentials in it: records and logs would show them.
    """
    if not isinstance(where, str | Path):
        return where
    found = ADDRESS.fullmatch(str(where))
    if found:
        scheme, prefix, query = found.groups(default="")
        return _bucket(f"{scheme}://{prefix}{query}")
    scheme, colon, _ = str(where).partition("://")
    if colon:
        raise AutosparseError(f"give a folder, s3://bucket/prefix or gs://bucket/prefix, not {scheme}://")
    return Folder(where)


@functools.lru_cache(maxsize=8)
def _bucket(address: str) -> Bucket:
    return Bucket(address)
