"""What the trials of an unfinished sweep come from: what is known of them is of no use where that has changed."""

import contextlib

from autosparse.errors import CorruptFile
from autosparse.experiment.before_resolved import filled
from autosparse.experiment.lineage import fingerprint, inputs_of
from autosparse.experiment.resolved import differences, resolve
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import FOLDERS, Store
from autosparse.files import content_id, pack_record, unpack_record

DATA = "data.json"


def origin_of(sweep: SweepTask, store: Store) -> str:
    """What tells its trials apart from those with other defaults, or on IRP runs that were done again, otherwise.

    Empty if nothing is otherwise than in version 0.1.0, whose trials go on.
    """
    records = [record for kind, task_id in inputs_of(sweep) if (record := store.written(kind, task_id))]
    told = [fingerprint(record) for record in records] if any("resolved" in record for record in records) else []
    values = list(map(str, differences(filled(sweep.kind, sweep.spec), resolve(sweep))))
    return f"/{content_id([told, values])}" if told or values else ""


def keep_for(data: str, sweep: SweepTask, store: Store) -> None:
    """Have what is known of a sweep's trials be of one data set: forget it where it is of another.

    :param data: fingerprint of the one that networks are trained on to compare the trials.
    """
    place = store.place.within(f"{FOLDERS['sweep']}/{sweep.id}")
    with contextlib.suppress(FileNotFoundError, CorruptFile):
        if unpack_record(place.read(DATA), DATA).get("fingerprint") == data:
            return
        place.clear()
    place.write(DATA, pack_record({"fingerprint": data}))
