"""Records as version 0.1.0 wrote them: with what differed from its defaults, and no more."""

from builders import ENVIRONMENT

from autosparse.experiment.records import FOLDERS, WITH_FILES, checksums
from autosparse.files import write_record


def write_old(store, task, result):
    files = checksums(store.files_path(task.kind, task.id)) if task.kind in WITH_FILES else {}
    record = {"id": task.id, "kind": task.kind, "spec": task.spec, "ended_ms": 1_700_000_000_000}
    path = store.root / FOLDERS[task.kind] / f"{task.id}.json"
    write_record(path, {**record, "result": result, "files": files, "environment": ENVIRONMENT})
