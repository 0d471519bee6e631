"""A prefix in an object store (S3, GCS) as a place for finished work."""

# ruff: noqa: D102  Place documents the methods
import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any, Self

from pyarrow import ArrowException
from pyarrow import fs as filesystems

from autosparse.errors import AutosparseError, CannotWrite, Unreachable
from autosparse.files import FULL, atomic_folder, content_id, make_folder, refusing_unwritable, require_writable
from autosparse.storage.place import Place, R, T

CREDENTIALS = re.compile(r"[^/?]*@|[^?]*:[^?]*@")
"""The secret may contain a slash."""
PASSING = re.compile(r"NETWORK_CONNECTION|TIMEOUT|SLOW_DOWN|THROTTL|UNAVAILABLE|INTERNAL_FAILURE|status 5\d\d", re.I)
"""Words in an object store's error after which the same request may succeed a moment later.

pyarrow gives no code beside the text. Its own retries see the code, but Ctrl-C has to wait until they end."""
PATIENCE = 60.0
"""Seconds for which such a request is retried."""
PIECE = 1 << 22
"""Bytes of a large file that are in memory at a time."""
AT_ONCE = 32
"""Requests for small files at a time: each takes tens of milliseconds, whatever the file's size."""
LOCAL = filesystems.LocalFileSystem()


class Bucket(Place):
    """A prefix in an object store, where a PUT is atomic and a listing shows what has been put."""

    def __init__(self, address: str, filesystem: Any = None, local: Path | None = None):
        """:param address: such as ``s3://bucket/prefix``; for another S3 server, with ``?endpoint_override=``."""
        self.address = address
        self.local = local or cache_folder() / content_id(address)
        self.filesystem = filesystem or _open(address)

    def __str__(self) -> str:
        return self.address.partition("?")[0]

    def within(self, name: str) -> Self:
        head, mark, query = self.address.partition("?")
        below = filesystems.SubTreeFileSystem(name, self.filesystem)
        return type(self)(f"{head}/{name}{mark}{query}", below, self.local / name)

    def require_writable(self) -> None:
        """Raise now if nothing could be written later, here or to the cache."""
        require_writable(self.local)
        name = f".probe-{os.urandom(4).hex()}"
        self.write(name, b"", patience=0)
        self.remove(name)

    def read(self, name: str) -> bytes:
        return self._read(name, lambda file: file.read())

    def read_part(self, name: str, start: int, length: int) -> bytes:
        return self._read(name, lambda file: file.read_at(length, start if start >= 0 else max(file.size() + start, 0)))

    def _read(self, name: str, part: Callable[[Any], bytes]) -> bytes:
        def request() -> bytes:
            with self.filesystem.open_input_file(name) as file:
                return part(file)

        return self.asked(request)

    @contextlib.contextmanager
    def bring(self, name: str) -> Iterator[IO[bytes]]:
        """Yield an unnamed local copy, which vanishes when the block or the process ends."""
        _make(self.local)
        with tempfile.TemporaryFile(dir=self.local) as copy:

            def fill() -> None:
                copy.seek(0)
                copy.truncate()
                with self.filesystem.open_input_stream(name) as stream:
                    shutil.copyfileobj(stream, copy, PIECE)

            self.asked(fill)
            copy.seek(0)
            yield copy

    @contextlib.contextmanager
    def made(self, name: str) -> Iterator[Path]:
        _make(self.local)
        with tempfile.TemporaryDirectory(prefix=".made-", dir=self.local) as folder:
            path = Path(folder) / PurePosixPath(name).name
            yield path
            self.asked(filesystems.copy_files, str(path), name, LOCAL, self.filesystem)

    def write(self, name: str, data: bytes, patience: float = PATIENCE) -> None:

        def put() -> None:
            with self.filesystem.open_output_stream(name) as file:
                file.write(data)

        try:
            self.asked(put, patience=patience)
        except FileNotFoundError as error:
            raise AutosparseError(f"cannot write {self}/{name}: {_reason(error)}; make the bucket first") from error

    def remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self.asked(self.filesystem.delete_file, name)

    def move(self, name: str, to: str) -> None:
        """Rename file by file, which is not atomic."""
        paths = list(self._listed(name))
        if not paths:
            return
        replaced = self._listed(to).keys() - set(paths)
        for path in paths:
            self.asked(self.filesystem.copy_file, f"{name}/{path}", f"{to}/{path}")
        for path in (*(f"{name}/{path}" for path in paths), *(f"{to}/{path}" for path in replaced)):
            self.remove(path)
        self.forget(name)

    def names(self, deep: bool = False) -> list[str]:
        return sorted(self._listed("", deep))

    def stamps(self) -> dict[str, int]:
        """Return stamps that contain the store's times, in whole seconds."""
        return {name: hash(found) for name, found in self._listed("", deep=False).items()}

    def read_stamped(self, name: str) -> tuple[bytes, int | None]:
        """Read an object; its size and time come with it, without another request."""

        def request() -> tuple[bytes, int | None]:
            with self.filesystem.open_input_file(name) as file:
                return file.read(), _stamp(file.metadata() or {})

        return self.asked(request)

    def stamp(self, name: str) -> int | None:
        """Return None: it would be a request for each file."""
        return None

    def clear(self) -> None:
        with contextlib.suppress(FileNotFoundError):  # raised for a prefix within another, despite missing_dir_ok
            self.asked(self.filesystem.delete_dir_contents, "", accept_root_dir=True, missing_dir_ok=True)
        shutil.rmtree(self.local, ignore_errors=True)

    def drop_if_empty(self) -> None:
        """Do nothing: an object store has no empty folders."""

    def send(self, name: str) -> None:
        """Replace what is under ``name`` by the folder ``local / name``; not atomic, but the record comes last."""
        folder = self.local / name
        self.asked(self.filesystem.delete_dir_contents, name, missing_dir_ok=True)
        self.asked(filesystems.copy_files, str(folder), name, LOCAL, self.filesystem)
        for path, (_, modified) in self._listed(name).items():
            os.utime(folder / path, (modified, modified))  # so that `fetch` finds it unchanged

    def fetch(self, name: str) -> Path:
        """Return a folder of this machine with the files under ``name``; fetch them if a size or time differs."""
        folder = self.local / name
        with _locked(folder):
            stored = self._listed(name)
            if stored == _stamps(folder):
                return folder
            shutil.rmtree(folder, ignore_errors=True)
            if stored:
                with atomic_folder(folder) as temporary:
                    self._download(name, stored, temporary)
        return folder

    def forget(self, name: str) -> bool:
        folder = self.local / name
        with _locked(folder):
            kept = folder.is_dir()
            shutil.rmtree(folder, ignore_errors=True)
        return kept

    def _download(self, name: str, stored: dict[str, tuple[int, int]], folder: Path) -> None:
        for path, (_, modified) in stored.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            self.asked(filesystems.copy_files, f"{name}/{path}", str(target), self.filesystem, LOCAL)
            os.utime(target, (modified, modified))

    def each(self, work: Callable[[T], R], items: Iterable[T]) -> Iterable[R]:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(work, items))

    def _listed(self, name: str, deep: bool = True) -> dict[str, tuple[int, int]]:
        """Size and time (s) of each object under ``name``, by its path there.

        :raises AutosparseError: if a path could lead out of a folder: anybody who may write to the store chooses it.
        """
        selector = filesystems.FileSelector(name, recursive=deep, allow_not_found=True)
        found = {}
        for info in self.asked(self.filesystem.get_file_info, selector):
            path = info.path.removeprefix(f"{name}/") if name else info.path
            if info.is_file:
                if path.startswith("/") or ".." in path.split("/") or str(PurePosixPath(path)) != path:
                    raise AutosparseError(f"{self}/{name} holds {path!r}, which is not the name of a file; remove it")
                found[path] = (info.size, int(info.mtime_ns // 1_000_000_000))
        return found

    def asked(self, request: Callable[..., R], *given: Any, patience: float = PATIENCE, **options: Any) -> R:
        """The store's answer to ``request(*given, **options)``; an error that may pass is retried.

        :raises FileNotFoundError, FileExistsError: as the request does.
        :raises AutosparseError: if there is no answer; :class:`Unreachable` if there may be one later.
        """
        import tenacity  # here: shards in folders are read where it is not installed

        retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_pass),
            stop=tenacity.stop_after_delay(patience),
            wait=tenacity.wait_exponential(multiplier=0.5, max=10),
            reraise=True,
        )
        try:
            return retrying(request, *given, **options)
        except (FileNotFoundError, FileExistsError):
            raise
        except (OSError, ArrowException) as error:
            if isinstance(error, OSError) and error.errno in FULL:
                raise CannotWrite(
                    f"cannot write to the local cache of {self}: {os.strerror(error.errno)}; make room, or set "
                    "AUTOSPARSE_CACHE to another folder"
                ) from error
            kind = Unreachable if _may_pass(error) else AutosparseError
            raise kind(
                f"{self} does not answer: {_reason(error)}; check the address, and the credentials and region that "
                "the environment gives"
            ) from error


def _make(folder: Path) -> None:
    with refusing_unwritable(folder):
        make_folder(folder)


def cache_folder() -> Path:
    """``AUTOSPARSE_CACHE``, else ``autosparse`` in the user's cache folder; it may be deleted while nothing runs."""
    given = os.environ.get("AUTOSPARSE_CACHE")
    return Path(given or Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "autosparse").absolute()


def _open(address: str) -> Any:
    scheme, _, rest = address.partition("://")
    if CREDENTIALS.match(rest) and not address.startswith("gs://anonymous@"):
        raise AutosparseError(
            f"the address {scheme}://*** holds credentials, which belong in the environment "
            "(such as AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), in a profile, or in the machine's role"
        )
    head, _, query = address.partition("?")
    if scheme == "s3":
        query = "&".join(filter(None, (query, "allow_delayed_open=true")))  # a small file is one request, not three
    try:
        filesystem, path = filesystems.FileSystem.from_uri(f"{head}?{query}" if query else head)
    except (OSError, ArrowException, NotImplementedError) as error:
        raise AutosparseError(f"cannot open {head}: {_reason(error)}") from error
    return filesystems.SubTreeFileSystem(path, filesystem)


def _may_pass(error: BaseException) -> bool:
    return isinstance(error, OSError) and bool(PASSING.search(str(error)))


def _reason(error: BaseException) -> str:
    """An object store's error on one line, without identifiers of the request."""
    return re.sub(r"\s*\(Request ID:.*?\)", "", " ".join(str(error).split()))[:300]


def _stamp(told: Mapping[str, bytes]) -> int | None:
    """The stamp of an object from S3's metadata, equal to the listing's; None for stores with other metadata."""
    try:
        time = datetime.fromisoformat(told["Last-Modified"].decode())
        return hash((int(told["Content-Length"]), int(time.timestamp())))
    except (KeyError, ValueError):
        return None


def _stamps(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time (s) of each file in a folder, by its path there."""
    files = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path.relative_to(folder).as_posix(): (s.st_size, int(s.st_mtime)) for path, s in files.items()}


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a folder against the other processes of this machine that fetch it."""
    _make(folder.parent)
    with refusing_unwritable(folder):
        lock = folder.with_name(f".{folder.name}.lock").open("a")
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
