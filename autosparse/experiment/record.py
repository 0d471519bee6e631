"""Records on the storage: of a task that has finished, or of its last failure."""

import contextlib
from collections.abc import Iterator
from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic takes typing's only from Python 3.12 on

from autosparse.errors import CorruptFile, Unreachable
from autosparse.files import content_id, unpack_record
from autosparse.storage import Place

Json = dict[str, Any]
"""A result, an environment or a spec, as JSON values."""


@with_config(ConfigDict(strict=True, extra="allow"))
class Record(TypedDict):
    """A record as it is read and written."""

    id: str
    """The task's, a hash of ``kind`` and ``spec``."""
    kind: str
    spec: Json
    """What the task is: only what differs from the defaults of the version that wrote it."""
    resolved: NotRequired[Json]
    """The task with every value written out. Records of version 0.1.0 lack it, and ``code`` and ``built_on``."""
    code: NotRequired[dict[str, str]]
    """Fingerprints of the user's own code, by its key."""
    built_on: NotRequired[dict[str, str]]
    """Fingerprints of the records of the task's inputs, by their ids."""
    ended_ms: int
    """When it ended, in milliseconds since 1970."""
    environment: Json
    """Where it ran: machine, device, versions."""
    result: NotRequired[Json]
    """What came out, if it has finished."""
    files: NotRequired[dict[str, str]]
    """SHA-256 of its files, by their paths, if it has finished."""
    error: NotRequired[str]
    """Why it failed, in a line, if it has."""
    traceback: NotRequired[str]


_RECORDS = TypeAdapter(Record)


def record_from(found: Any, kind: str, task_id: str, failed: bool = False) -> Record | None:
    """``found`` as a record of this task; None if it is one of another task, or something else.

    :param found: JSON whose checksum is right; if its content is wrong, it was written so on purpose, or renamed.
    :param failed: whether it must be the record of a failure.
    """
    try:
        record = _RECORDS.validate_python(found)
    except ValidationError:
        return None
    outcome = {"error", "traceback"} if failed else {"result", "files"}
    if (record["kind"], record["id"]) != (kind, task_id) or not outcome <= record.keys():
        return None
    return record if content_id({"kind": kind, **record["spec"]}) == task_id else None


@contextlib.contextmanager
def reading(place: Place, name: str = "") -> Iterator[None]:
    """Turn an OSError within the block into :class:`Unreachable`: a file that cannot be read is not a missing one."""
    try:
        yield
    except OSError as error:
        path, reason = f"{place}/{name}".rstrip("/"), error.strerror or error
        raise Unreachable(f"cannot read {path}: {reason}; make it readable, or choose another --storage") from error


def content_of(place: Place, name: str) -> bytes | None:
    """Return the content of a file: None if there is no such file; empty if a folder has its name.

    :raises Unreachable: if the place does not answer.
    """
    return stamped_content(place, name)[0]


def stamped_content(place: Place, name: str) -> tuple[bytes | None, int | None]:
    """Return the :func:`content_of` a file, and its stamp then, see :meth:`autosparse.storage.Place.read_stamped`."""
    with reading(place, name):
        try:
            return place.read_stamped(name)
        except FileNotFoundError:
            return None, None
        except IsADirectoryError:
            return b"", None


def unpacked(data: bytes | None) -> Json | None:
    """What a record's file holds; None if it is missing or damaged: its task is done again."""
    try:
        return None if data is None else unpack_record(data, "a record")
    except CorruptFile:
        return None
