"""Run a long grid of tiny cells for two hours, and see whether memory, files and threads of its processes stay flat.

    python scripts/soak.py                  # two hours, as `make soak`
    python scripts/soak.py --minutes 10     # less

One ``autosparse run`` on a Ray of its own, with its storage in a folder and MLflow on SQLite. Each minute it notes
resident memory, open files and threads of the driver, of the workers and of Ray's own processes. The driver knows every
finished cell, so its memory is judged by the cell; a worker knows one job at a time, so its memory must not grow.
"""

import argparse
import json
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from benchmarks.harness import machine
from faults.processes import descendants
from output import output

from autosparse.files import write_atomic
from autosparse.tracking.client import connect, find_experiment
from autosparse.tracking.search import all_runs

SEEDS, SPARSITIES, METHODS = 1000, 100, ["snip", "random", "magnitude"]
"""Together 300,000 cells, more than two hours take."""
WARM_UP = 0.15
"""Share of the time after which memory should be flat: until then, workers start, and PyTorch fills its caches."""
KINDS = ("driver", "workers", "Ray")
LEAK = 32.0
"""MiB by which a worker may grow in an hour or less, and in each further hour: noise of the allocator."""
PER_CELL = 4.0
"""KiB that the driver may keep of a cell."""


@dataclass
class Sample:
    """What the processes of one kind hold at a time; of several, the largest."""

    kind: str
    minutes: float
    cells: int
    """Finished so far."""
    processes: int
    mib: float
    files: int
    threads: int


def main() -> None:
    """Parse, run, watch, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120.0)
    parser.add_argument("--every", type=float, default=60.0, help="seconds between two looks")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=output, default=Path("soak.json"))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="autosparse-soak-") as folder:
        samples, code, told = watched(Path(folder), given.minutes, given.every, given.workers)
        if code != 130:
            print(told, file=sys.stderr)
        records, runs = counted(Path(folder))
    result: dict[str, Any] = {
        "machine": machine(torch.device("cpu")),
        "minutes": given.minutes,
        "workers": given.workers,
    }
    result |= {"exit code": code, "records": records, "runs": runs, "samples": [asdict(sample) for sample in samples]}
    write_atomic(given.out, (json.dumps(result, indent=1) + "\n").encode())
    print(table(samples))
    wrong = list(complaints(samples, records, runs, code))
    print("\n".join(wrong) if wrong else f"within the limits; {records:,} cells finished, each in MLflow once")
    sys.exit(bool(wrong))


def watched(folder: Path, minutes: float, every: float, workers: int) -> tuple[list[Sample], int, str]:
    """Run the grid for so long; return the samples, the driver's exit code after Ctrl-C, and its last words."""
    recipe = {"epochs": 5, "batch_size": 256}
    grid = {"models": ["lenet-300-100"], "datasets": ["digits"], "methods": METHODS, "recipe": recipe}
    sparsities = [round(0.5 + 0.0049 * number, 4) for number in range(SPARSITIES)]
    content = {"name": "soak", "grid": {**grid, "sparsities": sparsities, "seeds": list(range(SEEDS))}}
    (folder / "soak.yaml").write_text(json.dumps(content))
    command = [sys.executable, "-m", "autosparse", "run", str(folder / "soak.yaml"), "--workers", str(workers)]
    command += ["--storage", str(folder / "results"), "--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    samples: list[Sample] = []
    with (folder / "told").open("wb") as told:
        driver = subprocess.Popen(command, stdout=told, stderr=told, cwd=folder)
        started = time.monotonic()
        try:
            while driver.poll() is None and time.monotonic() - started < 60 * minutes:
                time.sleep(every)
                cells = sum(1 for _ in (folder / "results" / "cells").glob("*.json"))
                new = list(seen(driver.pid, (time.monotonic() - started) / 60, cells))
                samples += new
                print(*(f"{s.kind} {s.mib:.0f} MiB, {s.files} files;" for s in new), f"{cells} cells", file=sys.stderr)
            driver.send_signal(signal.SIGINT)
            driver.wait(300)
        finally:
            driver.kill()
    return samples, driver.wait(), (folder / "told").read_text()[-2000:]


def seen(driver: int, minutes: float, cells: int) -> Iterator[Sample]:
    """What the driver, and what is beneath it, holds now."""
    held: dict[str, list[tuple[float, int, int]]] = {kind: [] for kind in KINDS}
    for pid in (driver, *descendants(driver)):
        try:
            status = Path(f"/proc/{pid}/status").read_text()
            name = Path(f"/proc/{pid}/cmdline").read_text()
            files = sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:  # it has ended
            continue
        if memory := re.search(r"VmRSS:\s*(\d+)", status):
            kind = "driver" if pid == driver else "workers" if name.startswith("ray::") else "Ray"
            threads = re.search(r"Threads:\s*(\d+)", status)
            held[kind].append((int(memory[1]) / 1024, files, int(threads[1]) if threads else 0))
    for kind, found in held.items():
        if found:
            mib, files, threads = (max(column) for column in zip(*found, strict=True))
            yield Sample(kind, minutes, cells, len(found), mib, int(files), int(threads))


def counted(folder: Path) -> tuple[int, int]:
    """Finished cells in the storage, and in MLflow."""
    client = connect(f"sqlite:///{folder / 'mlflow.db'}")
    found = all_runs(client, find_experiment(client, "soak"), "tags.kind = 'cell' and attributes.status = 'FINISHED'")
    tasks = [run.data.tags["task_id"] for run in found]
    assert len(set(tasks)) == len(tasks), "a task has two runs"
    return sum(1 for _ in (folder / "results" / "cells").glob("*.json")), len(tasks)


def ends(samples: Sequence[Sample], kind: str) -> tuple[Sequence[Sample], Sequence[Sample]]:
    """The first and the last samples of a kind after the warm-up, a fifth of them each."""
    of = [sample for sample in samples if sample.kind == kind]
    warm = of[int(WARM_UP * len(of)) :]
    some = max(len(warm) // 5, 1)
    return warm[:some], warm[-some:]


def growth(samples: Sequence[Sample], kind: str) -> tuple[float, float, int]:
    """MiB that a kind grew by, hours in which it did, and cells that were finished meanwhile."""
    first, last = ends(samples, kind)
    mib, minutes, cells = (
        statistics.median(getattr(sample, name) for sample in last)
        - statistics.median(getattr(sample, name) for sample in first)
        for name in ("mib", "minutes", "cells")
    )
    return mib, minutes / 60, int(cells)


def table(samples: Sequence[Sample]) -> str:
    """What each kind held at first and at last."""
    lines = ["| process | memory, MiB | open files | threads | growth |", "|---|---|---|---|---|"]
    for kind in KINDS:
        first, last = ends(samples, kind)
        if not first:
            continue
        held = (
            " to ".join(f"{statistics.median(getattr(sample, name) for sample in part):.0f}" for part in (first, last))
            for name in ("mib", "files", "threads")
        )
        mib, hours, cells = growth(samples, kind)
        grew = f"{mib / max(hours, 1e-9):+.1f} MiB an hour, {1024 * mib / max(cells, 1):+.2f} KiB a cell"
        lines.append(f"| {kind} | {' | '.join(held)} | {grew} |")
    return "\n".join(lines)


def complaints(samples: Sequence[Sample], records: int, runs: int, code: int) -> Iterator[str]:
    """What is not as it must be."""
    if code != 130:
        yield f"the driver ended with {code}, not with 130 after Ctrl-C"
    if records != runs:
        yield f"{records} finished cells, but {runs} in MLflow"
    for kind in KINDS:
        first, last = ends(samples, kind)
        if not first:
            yield f"no process of kind {kind} was seen"
            continue
        mib, hours, cells = growth(samples, kind)
        if kind == "driver" and 1024 * mib > PER_CELL * max(cells, 1) + 1024 * LEAK * hours:
            yield f"the driver keeps {1024 * mib / max(cells, 1):.1f} KiB of a cell"
        if kind == "workers" and mib > LEAK * max(hours, 1):
            yield f"a worker grew by {mib:.0f} MiB in {hours:.1f} hours"
        for name in ("files", "threads"):
            before, after = (statistics.median(getattr(sample, name) for sample in part) for part in (first, last))
            if after > before + 8:
                yield f"{kind}: {name} grew from {before:.0f} to {after:.0f}"


if __name__ == "__main__":
    main()
