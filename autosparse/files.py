"""Files that are either whole or absent: atomic writes, checksums, canonical JSON."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from autosparse.errors import AutosparseError, CannotWrite, CorruptFile

POINTER = b"version https://git-lfs.github.com/spec/"
"""The beginning of a pointer of Git LFS."""
FULL = (errno.ENOSPC, errno.EDQUOT)
PROBE = 1 << 16
"""Bytes that a folder must have room for before work starts: an empty file fits even on a full disk."""


def canonical_json(value: Any) -> str:
    """JSON that is the same text for the same value: sorted keys, no spaces; raises ValueError on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def content_id(value: Any) -> str:
    """16 hex digits that name a specification by its content."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()[:16]


def sha256_file(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def refuse_pointer(path: Path) -> None:
    """Raise if ``path`` is a pointer, which a clone without Git LFS has in place of a large file."""
    with path.open("rb") as file:
        pointer = file.read(len(POINTER)) == POINTER
    if pointer:
        raise CorruptFile(f"{path} is a pointer of Git LFS, not the file itself: run `git lfs pull` in its folder")


def sync_folder(folder: Path) -> None:
    """Sync ``folder``, so that the names in it survive a crash; one that may not be read cannot be synced."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:
        return
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """Make ``folder`` and those of its parents that are missing, so that they survive a crash."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError as error:
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
    sync_folder(folder.parent)


@contextlib.contextmanager
def refusing_unwritable(path: Path) -> Iterator[None]:
    """Turn a failure to write within the block into one clear line that names ``path``."""
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        if isinstance(error, IsADirectoryError):  # the name is taken; the folder itself can be written
            raise AutosparseError(f"cannot write {path}: {reason}; remove what is there") from error
        cure = "make room there" if error.errno in FULL else "choose another folder or make this one writable"
        raise CannotWrite(f"cannot write {path}: {reason}; {cure}") from error


def require_writable(folder: Path) -> None:
    """Raise now, before any work, if ``folder`` cannot be written."""
    with refusing_unwritable(folder):
        make_folder(folder)
        probe = folder / f".probe-{secrets.token_hex(4)}"
        try:
            _write_synced(probe, bytes(PROBE))
        finally:
            probe.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_atomic(path: Path, data: bytes) -> None:
    """Write ``data`` so that a reader sees the old file or the whole new one (fsync, then rename)."""
    path = path.absolute()  # Path(".") has no name
    with refusing_unwritable(path):
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        try:
            _write_synced(temporary, data)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)


def require_replaceable(path: Path, ours: Collection[str]) -> None:
    """Raise if ``path`` holds anything but files named by the patterns ``ours``: it is somebody else's."""
    if path.resolve() == Path.cwd():
        raise AutosparseError(f"{path} is the current folder, which cannot be replaced; name a folder inside it")
    if path.exists() and not path.is_dir():
        raise AutosparseError(f"{path} is a file, not a folder; choose another name")
    foreign = [p.name for p in path.iterdir() if not any(p.match(o) for o in ours)] if path.exists() else []
    if foreign:
        raise AutosparseError(
            f"{path} already holds {foreign[0]!r}, which would be lost; choose another folder or empty it"
        )


@contextlib.contextmanager
def atomic_folder(path: Path, ours: Collection[str] = ()) -> Iterator[Path]:
    """Yield a fresh folder beside ``path`` that takes its place when the block ends without error.

    :param ours: name patterns of the files that an older folder at ``path`` may hold; it is deleted once the new one is
        whole.
    """
    path = path.absolute()
    with refusing_unwritable(path):
        require_replaceable(path, ours)
        make_folder(path.parent)
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
        temporary.mkdir()
    try:
        with refusing_full(path):
            yield temporary
        put_folder(temporary, path, ours)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def refusing_full(path: Path) -> Iterator[None]:
    """Turn a full disk within the block into one clear line that names ``path``."""
    try:
        yield
    except OSError as error:
        full = [number for number in FULL if number == error.errno or os.strerror(number) in str(error)]
        if full:  # shutil.Error has the text, but no number
            with refusing_unwritable(path):
                raise OSError(full[0], os.strerror(full[0])) from error
        raise


def put_folder(made: Path, path: Path, ours: Collection[str] = ()) -> None:
    """Sync the folder ``made`` and let it take the place of ``path``, which may hold files named by ``ours``."""
    with refusing_unwritable(path):
        for entry in (*made.rglob("*"), made):
            if entry.is_dir():
                sync_folder(entry)
            elif entry.is_file():
                with entry.open("rb") as handle:
                    os.fsync(handle.fileno())
        require_replaceable(path, ours)  # hours may have passed
        _put(made, path)
        sync_folder(path.parent)


def _put(temporary: Path, path: Path) -> None:
    """Move a folder to ``path``; what was there is deleted last."""
    if path.is_symlink():
        path.unlink()
    if not path.exists():
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}.{secrets.token_hex(4)}.old")
    path.replace(old)
    try:
        temporary.replace(path)
    except OSError:
        old.replace(path)
        raise
    sync_folder(path.parent)  # before the old one is deleted: a crash must leave one of the two
    shutil.rmtree(old, ignore_errors=True)


def write_record(path: Path, content: dict[str, Any]) -> None:
    """Write :func:`pack_record` of ``content`` atomically."""
    write_atomic(path, pack_record(content))


def pack_record(content: Mapping[str, Any]) -> bytes:
    """``content`` as JSON with a checksum of its canonical form.

    The checksum is that of ``content`` as JSON reads it back (keys are text, tuples are lists).
    """
    if "checksum" in content:
        raise ValueError("'checksum' is the name of the record's own checksum")
    read_back = json.loads(json.dumps(content, allow_nan=False))
    checksum = hashlib.sha256(canonical_json(read_back).encode()).hexdigest()
    return json.dumps({**read_back, "checksum": checksum}, indent=1, allow_nan=False).encode()


def read_record(path: Path) -> dict[str, Any]:
    """Read what :func:`write_record` wrote; raises as :func:`unpack_record` does."""
    return unpack_record(path.read_bytes(), str(path))


def unpack_record(data: bytes, source: str) -> dict[str, Any]:
    """The content that :func:`pack_record` packed; ``source`` names it in errors.

    Raises :class:`CorruptFile` if the text is not a JSON object or its checksum does not match.
    """
    try:
        content: dict[str, Any] = json.loads(data.decode())
        checksum = content.pop("checksum")
        expected = hashlib.sha256(canonical_json(content).encode()).hexdigest()
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CorruptFile(f"{source} is truncated or not a record of autosparse; delete it to redo its work") from error
    if checksum != expected:
        raise CorruptFile(f"{source} does not match its checksum; delete it to redo its work")
    return content
