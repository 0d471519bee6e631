"""What MLflow has of a task, and whether it comes from the record at hand."""

from typing import Any, NamedTuple

from autosparse.experiment.lineage import fingerprint
from autosparse.experiment.record import Record
from autosparse.tracking.entries import MADE, ended
from autosparse.tracking.texts import alike

FINISHED, FAILED = "FINISHED", "FAILED"
CUT = 250
"""An MLflow may have cut off a param that is at least this long."""


class Known(NamedTuple):
    """What MLflow has of a task."""

    run_id: str | None = None
    status: str = ""
    label: str = ""
    kind: str = ""
    made: str = ""
    """Fingerprint of the record that it was written from; empty if version 0.1.0 wrote it."""
    params: frozenset[str] = frozenset()
    """Names of its params."""


def of_another(run: Any, record: Record, params: dict[str, str]) -> bool:
    """Whether a run comes from another record of its task than ``record``, by its fingerprint or its settings."""
    made = run.data.tags.get(MADE)
    if run.info.status == FINISHED and (made != fingerprint(record) if made else "resolved" in record):
        return True
    return any(not _same(run.data.params.get(name, value), value) for name, value in params.items())


def _same(written: str, value: str) -> bool:
    """Whether a param has a value; MLflow cuts long ones off."""
    return alike(written, value) or (len(written) >= CUT and alike(written, value[: len(written)]))


def told_already(run: Any, record: Record) -> bool:
    """Whether a failed run already reports this failure, not an earlier one."""
    return "error" in record and run.info.status == FAILED and run.data.tags.get("failed_ms") == str(ended(record))
