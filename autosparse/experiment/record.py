"""What a record on the storage says of a task that has finished, or of its last failure."""

from typing import Any, NotRequired

from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from typing_extensions import TypedDict  # pydantic's: typing's cannot be read at run time before Python 3.12

from autosparse.files import content_id

Json = dict[str, Any]
"""A result, an environment or a spec, as JSON has it."""


@with_config(ConfigDict(strict=True, extra="allow"))
class Record(TypedDict):
    """A record as it is read and written."""

    id: str
    """The task's, a hash of ``kind`` and ``spec``."""
    kind: str
    spec: Json
    """What the task is: only what differs from the defaults of the version that wrote it."""
    resolved: NotRequired[Json]
    """What it was: every value. Like ``code`` and ``built_on`` absent from records of version 0.1.0."""
    code: NotRequired[dict[str, str]]
    """Fingerprints of the user's own code, by its key."""
    built_on: NotRequired[dict[str, str]]
    """Fingerprints of the records of the task's inputs, by their ids."""
    ended_ms: int
    """When it ended, in milliseconds since 1970."""
    environment: Json
    """Where: machine, device, versions."""
    result: NotRequired[Json]
    """What came out, if it has finished."""
    files: NotRequired[dict[str, str]]
    """SHA-256 of its files, by their paths, if it has finished."""
    error: NotRequired[str]
    """Why it failed, in a line, if it has."""
    traceback: NotRequired[str]


_RECORDS = TypeAdapter(Record)


def record_from(found: Any, kind: str, task_id: str, failed: bool = False) -> Record | None:
    """The record that ``found`` is, if it is one of this task; None if it is of another, or something else.

    :param found: JSON whose checksum is right, so that what is wrong with it was written on purpose, or renamed.
    :param failed: whether it is to tell of a failure.
    """
    try:
        record = _RECORDS.validate_python(found)
    except ValidationError:
        return None
    told = {"error", "traceback"} if failed else {"result", "files"}
    if (record["kind"], record["id"]) != (kind, task_id) or not told <= record.keys():
        return None
    return record if content_id({"kind": kind, **record["spec"]}) == task_id else None
