"""The origin of the trials of an unfinished sweep: if it has changed, their state is of no use."""

from autosparse.errors import CorruptFile
from autosparse.experiment.before_resolved import filled
from autosparse.experiment.lineage import fingerprint
from autosparse.experiment.resolved import differences, resolve
from autosparse.experiment.sources import code_of
from autosparse.experiment.space import SweepTask
from autosparse.experiment.store import FOLDERS, Store
from autosparse.files import content_id, pack_record, unpack_record

DATA = "data.json"


def origin_of(sweep: SweepTask, store: Store) -> str:
    """A mark that differs between trials with other defaults, with other code of the user's, or on other IRP runs.

    IRP runs are others if they came out different when redone. The mark is empty if nothing differs from version 0.1.0
    and no code is the user's, so that trials of that version go on.
    """
    records = [record for task_id in sweep.irp if (record := store.written("irp", task_id))]
    told = [fingerprint(record) for record in records] if any("resolved" in record for record in records) else []
    values = list(map(str, differences(filled(sweep.kind, sweep.spec), resolve(sweep))))
    code = code_of(sweep)
    parts = [told, values, code] if code else [told, values]  # as before, if no code is the user's
    return f"/{content_id(parts)}" if any(parts) else ""


def keep_for(data: str, sweep: SweepTask, store: Store) -> None:
    """Keep the state of a sweep's trials if it comes from the data set ``data``; else remove it.

    :param data: fingerprint of the data set on which networks are trained to compare the trials.
    """
    place = store.place.within(f"{FOLDERS['sweep']}/{sweep.id}")
    try:
        if unpack_record(place.read(DATA), DATA).get("fingerprint") == data:
            return
        place.clear()
    except FileNotFoundError:
        pass  # earlier versions did not write it
    except CorruptFile:
        place.clear()
    place.write(DATA, pack_record({"fingerprint": data}))
