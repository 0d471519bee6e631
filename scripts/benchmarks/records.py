"""Finding what is finished: each record read once or in segments, beside three readings; requests to an S3 server."""

import logging
import os
import re
import resource
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from moto.server import ThreadedMotoServer
from pyarrow.fs import S3FileSystem

from autosparse.data import load_dataset
from autosparse.experiment.environment import describe_environment
from autosparse.experiment.gathering import RECORDS, gather
from autosparse.experiment.load import parse_experiment
from autosparse.experiment.plan import Plan, make_plan
from autosparse.experiment.record import Json
from autosparse.experiment.resolved import resolve
from autosparse.experiment.segments import line_of, segment_of
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.files import pack_record
from autosparse.runner.work.cells import run_cell
from benchmarks.harness import Comparison, Figure, Options, Result, seconds

OBJECTS = 2000
"""Records on the S3 server, which is slow."""
BEFORE = 3
"""How often a run of earlier versions read each record: when it was new, for MLflow, and at the end."""


def measure(options: Options) -> Iterator[Result]:
    """Finding what is finished: each record read once or in segments, beside three readings; requests to S3."""
    loose, gathered, objects = (1_000, 10_000, 200) if options.quick else (100_000, 1_000_000, OBJECTS)
    result, environment = template()
    with tempfile.TemporaryDirectory(prefix="autosparse-records-") as scratch:
        yield looks(loose, Path(scratch), result, environment)
    with tempfile.TemporaryDirectory(prefix="autosparse-records-") as scratch:
        yield from in_segments(gathered, Path(scratch), result, environment)
    yield from requests(objects, result, environment)


def large_plan(cells: int) -> Plan:
    """A plan of so many cells, a multiple of 100: five methods, twenty sparsities, and seeds."""
    methods = ["random", "magnitude", "snip", "grasp", "synflow"]
    sparsities = [number / 101 for number in range(20)]
    grid = {"models": ["lenet-300-100"], "datasets": ["digits"], "methods": methods, "sparsities": sparsities}
    content = {"name": "large", "grid": {**grid, "seeds": list(range(cells // 100)), "recipe": {"epochs": 1}}}
    return make_plan(parse_experiment(content, "large"))


def template() -> tuple[Json, Json]:
    """A real result and environment, which all cells get."""
    cell = large_plan(100).cells[0].task
    return run_cell(cell, Store("unused"), load_dataset("digits"), "cpu"), describe_environment()


def record_of(cell: Cell, result: Json, environment: Json) -> Json:
    """The record that a worker would write."""
    what: Json = {"id": cell.id, "kind": cell.kind, "spec": cell.spec, "resolved": resolve(cell)}
    what |= {"code": {}, "built_on": {}, "ended_ms": 1_700_000_000_000, "result": result, "files": {}}
    return {**what, "environment": environment}


def looks(count: int, folder: Path, result: Json, environment: Json) -> Comparison:
    """All that a run reads of so many records with files of their own."""
    plan = large_plan(count)
    (folder / "cells").mkdir()
    for planned in plan.cells:
        packed = pack_record(record_of(planned.task, result, environment))
        (folder / "cells" / f"{planned.task.id}.json").write_bytes(packed)  # no fsync: that is not measured
    tasks = [planned.task for planned in plan.cells]

    def once() -> None:
        store = Store(folder)
        assert len(store.finished(tasks)) == len(store.finished(tasks)) == count

    def thrice() -> None:
        for _ in range(BEFORE):
            assert len(Store(folder).finished(tasks)) == count

    pairs = [(count / seconds(thrice), count / seconds(once)) for _ in range(2)]
    name = f"{count:,} records with files of their own, all looks of a run"
    return Comparison(name, "each read three times", "records/s", *map(list, zip(*pairs, strict=True)))


def in_segments(count: int, folder: Path, result: Json, environment: Json) -> Iterator[Result]:
    """The scan of so many gathered records, and the driver's memory after it."""
    plan = large_plan(count)
    (folder / "segments").mkdir()
    size = 0
    for start in range(0, count, RECORDS):
        records = [record_of(p.task, result, environment) for p in plan.cells[start : start + RECORDS]]
        name, data = segment_of([line_of(record, pack_record(record)) for record in records])
        (folder / "segments" / name).write_bytes(data)
        size += len(data)
    tasks, store = [planned.task for planned in plan.cells], Store(folder)
    took = seconds(lambda: _all_found(store, tasks))
    again = seconds(lambda: _all_found(store, tasks))
    assert store.segments
    notes = {"segments": len(store.segments.names), "GB": size / 1e9, "the look at the end, s": again}
    yield Figure(f"{count:,} records in segments found", took, "s", "below 60", took < 60, notes)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    yield Figure("the same: peak of memory, with the plan", peak, "GiB")


def _all_found(store: Store, tasks: list[Cell]) -> None:
    assert len(store.finished(tasks)) == len(tasks)


def requests(count: int, result: Json, environment: Json) -> Iterator[Figure]:
    """Requests that a look at all records takes on an S3 server, before and after they are gathered."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    counter = _Counter()
    log = logging.getLogger("werkzeug")
    log.setLevel(logging.INFO)
    log.handlers, log.propagate = [counter], False
    try:
        store = Store(_bucket(*server.get_host_and_port()))
        plan = large_plan(count)
        tasks = [planned.task for planned in plan.cells]
        packed = {cell.id: pack_record(record_of(cell, result, environment)) for cell in tasks}
        for _ in store.place.each(lambda name: store.place.write(f"cells/{name}.json", packed[name]), packed):
            pass
        for name in ("files of their own", "segments"):
            counter.kinds.clear()
            _all_found(Store(store.place), tasks)
            notes = dict(counter.kinds)
            yield Figure(f"{count:,} records on S3 in {name}: a look", sum(notes.values()), "requests", notes=notes)
            gather(store)
    finally:
        server.stop()


class _Counter(logging.Handler):
    """Counts the requests in a server's log, by their method."""

    def __init__(self) -> None:
        super().__init__()
        self.kinds: Counter[str] = Counter()

    def emit(self, record: logging.LogRecord) -> None:
        """Count a line."""
        if found := re.search("(GET|PUT|HEAD|DELETE|POST) /", record.getMessage()):
            self.kinds[found[1]] += 1


def _bucket(host: str, port: int) -> str:
    nobody = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_EC2_METADATA_DISABLED": "true"}
    os.environ.update(nobody)
    server: dict[str, Any] = {"endpoint_override": f"{host}:{port}", "scheme": "http", "region": "us-east-1"}
    S3FileSystem(**server, allow_bucket_creation=True).create_dir("records")
    return f"s3://records/some/prefix?scheme=http&region=us-east-1&endpoint_override={host}:{port}"
