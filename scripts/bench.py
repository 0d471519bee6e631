"""Measure every speed claim against its alternative, in one run.

    python scripts/bench.py                  # all, as `make bench`
    python scripts/bench.py --quick          # less of each, as `make bench-quick`
    python scripts/bench.py training --device cuda
    python scripts/bench.py --resume         # goes on after the last benchmark that bench.json has

Prints each row of a table as it is measured, and after each benchmark writes all figures with the machine's description
to --out. On a shared machine absolute times are noise: read the ratios.
"""

import argparse
import importlib
import json
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from multiprocessing.context import BaseContext
from pathlib import Path
from typing import Any

import torch
from benchmarks.harness import HEAD, Options, Result, machine, result_from, row, seconds
from orphaned import when_orphaned
from output import output

from autosparse.experiment.commit import git_commit
from autosparse.files import write_atomic

BENCHMARKS = (
    "training", "compact", "compact_runs", "sparse_layers", "scoring", "surface", "convolutions", "fitting",
    "streaming", "decoding", "packing", "queries", "cell_table", "nodes", "scale", "driver",
)  # fmt: skip
OTHERWISE = {"machine": "of another machine", "commit": "of another commit", "quick": "of a shorter or longer run"}
"""What is said of figures that cannot be gone on with, by what they differ in."""
CLEANING = 30.0
"""Seconds for a benchmark to end the servers and clusters that it has started."""


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; default: all")
    parser.add_argument("--quick", action="store_true", help="less of each")
    parser.add_argument("--device", type=torch.device, default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--data-root", default=os.environ.get("AUTOSPARSE_DATA"))
    parser.add_argument("--out", type=output, default=Path("bench.json"))
    parser.add_argument(
        "--resume",
        action="store_true",
        help="keep what --out has, if it is of this machine and commit; measure the rest",
    )
    given = parser.parse_args()
    unknown = set(given.names) - set(BENCHMARKS)
    if unknown:
        parser.error(f"no benchmark is called {unknown.pop()!r}: there are {', '.join(BENCHMARKS)}")
    options = Options(given.quick, given.device, given.data_root)

    about = {"machine": machine(options.device), "commit": git_commit(), "quick": options.quick}
    try:
        results = kept(given.out, about) if given.resume else []
    except ValueError as error:
        parser.error(f"--resume: {error}; measure all again without it, or name another --out")
    print(HEAD, flush=True)
    for result in results:
        print(row(result_from(result)), flush=True)
    done = {result["benchmark"] for result in results}
    for name in given.names or BENCHMARKS:
        if name in done:
            continue
        with ProcessPoolExecutor(1, start_of_processes(options.device)) as process:  # its own memory and threads
            found = process.submit(measured, name, options).result()
        results += [{"benchmark": name, **result.as_json()} for result in found]
        write_atomic(given.out, (json.dumps({**about, "results": results}, indent=1) + "\n").encode())


def kept(path: Path, about: dict[str, Any]) -> list[dict[str, Any]]:
    """The results in ``path``; none if it is not there.

    :param about: machine, commit and size of this run; theirs must be the same.
    :raises ValueError: if they are not, or cannot be read.
    """
    try:
        content = json.loads(path.read_bytes())
        then, results = {name: content[name] for name in about}, list(content["results"])
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has no figures that this version could add to") from error
    for name, now in about.items():
        if then[name] != now:
            raise ValueError(f"{path} is {OTHERWISE[name]} ({then[name]}, not {now})")
    if about["commit"].endswith("+dirty"):
        raise ValueError("some changes are not committed, so the code may have changed since")
    return results


def start_of_processes(device: torch.device) -> BaseContext:
    """A fork on Linux: this process has computed nothing, and a fork need not import PyTorch again, which takes 2 s.

    CUDA does not survive a fork, and other systems' libraries may not.
    """
    return get_context("fork" if sys.platform == "linux" and device.type == "cpu" else "spawn")


def measured(name: str, options: Options) -> list[Result]:
    """Measure one benchmark; print each result as soon as it is there, and return them all."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what the benchmark has started is ended too
    when_orphaned(stop)
    measure = importlib.import_module(f"benchmarks.{name}").measure
    print(f"- {name}: {measure.__doc__.splitlines()[0]}", file=sys.stderr)
    results: list[Result] = []

    def work() -> None:
        for result in measure(options):
            results.append(result)
            print(row(result), flush=True)

    print(f"- {name}: done in {seconds(work):.0f} s", file=sys.stderr)
    return results


def stop() -> None:
    """Have the benchmark end what it has started, then end this process."""
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(CLEANING)
    os._exit(1)


if __name__ == "__main__":
    main()
