"""Inject random faults into a grid of tiny cells on two nodes until every cell is there once; write what they did.

    python scripts/chaos.py             # 200 faults over 500 cells, as `make chaos`
    python scripts/chaos.py --quick     # 10 over 60

Everything is real: Ray nodes, worker processes, drivers, an MLflow server, and kill -9. It checks that no finished
work is lost, that nothing is in MLflow twice, and that every result equals, to the bit, that of an undisturbed process.
"""

import argparse
import json
import os
import shlex
import signal
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import torch
from benchmarks.harness import machine
from faults.damage import Damage, Inspector
from faults.experiment import SPARSITIES, Experiment
from faults.inject import WEIGHTS, Faults, named
from faults.site import SITES
from local_network import why_no_network
from output import output

from autosparse.experiment.environment import describe_environment
from autosparse.files import write_atomic

SCRIPTS = Path(__file__).parent
PAGE = SCRIPTS.parent / "cluster" / "RELIABILITY.md"
WHOLE, QUICK = {"faults": 200, "cells": 500}, {"faults": 10, "cells": 60}
"""Default sizes."""
ALWAYS = 24 * 60.0
"""More minutes than any run takes."""


def main() -> None:
    """Parse, break, mend, count."""
    given = parsed()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that nodes, server and driver are ended too
    torch.set_num_threads(1)  # as in the workers, whose results must be equal to the bit
    started = time.monotonic()
    irp, iterations = (1, 12) if given.quick else (6, 40)
    with tempfile.TemporaryDirectory(prefix="autosparse-chaos-") as folder:
        with Experiment(Path(folder), given.cells, irp, iterations, given.site) as experiment:
            inspector = Inspector(experiment)
            hits = Faults(experiment, inspector, given.seed, named(given.only))
            table, end = break_it(hits, given.faults, started + 60 * given.minutes)
            result = mend_it(hits, table, end)
        if not result["passed"]:
            print(experiment.log.read_text()[-4000:], file=sys.stderr)
    result |= {
        "seed": given.seed,
        "cells": given.cells,
        "asked": given.faults,
        "storage": SITES[given.site],
        "seconds": round(time.monotonic() - started),
    }
    result |= {
        "machine": machine(torch.device("cpu")) | {"load": os.getloadavg()[1]},
        "command": command(given),
        "commit": describe_environment()["git_commit"],
    }
    write_atomic(given.out, (json.dumps(result, indent=1) + "\n").encode())
    print(markdown(result))
    if page := given.page or (None if given.quick else PAGE):
        page.parent.mkdir(exist_ok=True)
        write_atomic(page, as_page(result).encode())
    sys.exit(not result["passed"])


def parsed() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 faults over 60 cells; writes no page")
    parser.add_argument("--faults", type=int)
    parser.add_argument("--cells", type=int, help="a multiple of 5")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument(
        "--only", default="", help="of the faults, those with one of these in their names, as in STOP,node"
    )
    where = parser.add_mutually_exclusive_group()
    for option, help_text in (
        ("--s3", "keep results in an object store that at times does not answer"),
        ("--hosts", "put driver, nodes, MLflow and an object store on hosts of their own, cut off at times (for root)"),
    ):
        where.add_argument(option, dest="site", action="store_const", const=option.removeprefix("--"), help=help_text)
    parser.set_defaults(site="folder")
    parser.add_argument("--minutes", type=float, default=ALWAYS, help="inject no more faults after so many")
    parser.add_argument("--out", type=output, default=Path("chaos.json"))
    parser.add_argument("--page", type=output, help="where the table is written as Markdown")
    given = parser.parse_args()
    if not named(given.only):
        parser.error(f"no fault has {given.only!r} in its name: there are {', '.join(WEIGHTS)}")
    if given.site == "hosts" and (reason := why_no_network()):
        parser.error(f"--hosts: {reason}")
    for name, default in (QUICK if given.quick else WHOLE).items():
        if getattr(given, name) is None:
            setattr(given, name, default)
    if given.cells < 1 or given.cells % len(SPARSITIES):
        parser.error(f"--cells must be a multiple of {len(SPARSITIES)}, got {given.cells}")
    return given


def break_it(faults: Faults, count: int, deadline: float) -> tuple[dict[str, Damage], Damage]:
    """Inject faults, each after some progress, and blame each for the damage up to the next one.

    Return the damage by fault, and what was there before the first.
    """
    experiment, inspector = faults.experiment, faults.inspector
    table, end = {name: Damage() for name in WEIGHTS}, Damage()
    blamed = end
    for number in range(count):
        if time.monotonic() > deadline:
            break
        experiment.keep_pace(number / count)
        experiment.await_progress()
        inspector.look(blamed)
        name, wrong = faults.inject([name for name, damage in table.items() if damage.injected])
        blamed = table[name]
        blamed.injected += 1
        blamed.wrong += wrong
        inspector.look(blamed)
        harm = ", ".join(f"{times} {what}" for what, times in asdict(blamed).items() if times)
        print(f"- {number + 1}/{count}: {name} ({harm}); {len(inspector.finished)} tasks finished", file=sys.stderr)
    return table, end


def mend_it(faults: Faults, table: dict[str, Damage], end: Damage) -> dict[str, Any]:
    """Run the same command to its end, add to ``end`` the damage found there, and judge the result."""
    experiment, inspector = faults.experiment, faults.inspector
    runs_to_end = experiment.go_on_to_the_end()
    inspector.look(end)
    end.wrong += sum(map(experiment.differs, inspector.finished))
    end.wrong += faults.await_ends()
    end.doubled += inspector.ledger.doubled_points()
    finished = dict(inspector.ledger.finished_runs())
    expected = {"cell": len(experiment.plan.cells), "irp": len(experiment.plan.irp), "experiment": 1}
    clean = all(damage.clean for damage in (*table.values(), end))
    return {
        "faults": {name: asdict(damage) for name, damage in table.items()},
        "at the end": asdict(end),
        "finished records": len(inspector.finished),
        "finished runs": finished,
        "drivers started": experiment.drivers,
        "of them after the last fault": runs_to_end,
        "passed": bool(clean and finished == expected and inspector.finished == set(experiment.expected)),
    }


def command(given: argparse.Namespace) -> str:
    """The command as it can be typed again."""
    defaults = {**(QUICK if given.quick else WHOLE), "seed": 0, "only": "", "minutes": ALWAYS}
    parts = ["python", "scripts/chaos.py"]
    if given.quick:
        parts += ["--quick"]
    if given.site != "folder":
        parts += [f"--{given.site}"]
    for name, default in defaults.items():
        if (value := getattr(given, name)) != default:
            parts += [f"--{name}", str(value)]
    return shlex.join(parts)


def markdown(result: dict[str, Any]) -> str:
    """The fault table."""
    lines = ["| fault | times injected | lost | doubled | wrong |", "|---|---|---|---|---|"]
    faults = {name: damage for name, damage in result["faults"].items() if damage["injected"]}
    rows = [*faults.items(), ("found at the end", {**result["at the end"], "injected": ""})]
    for name, damage in rows:
        lines.append(f"| {name} | {damage['injected']} | {damage['lost']} | {damage['doubled']} | {damage['wrong']} |")
    total = {key: sum(row[key] or 0 for _, row in rows) for key in ("injected", "lost", "doubled", "wrong")}
    lines.append("| **all** | " + " | ".join(f"**{total[key]}**" for key in total) + " |")
    return "\n".join(lines)


def as_page(result: dict[str, Any]) -> str:
    """The text of ``cluster/RELIABILITY.md``."""
    template = (SCRIPTS / "faults" / "page.md.j2").read_text()
    injected = sum(damage["injected"] for damage in result["faults"].values())
    return jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(
        result=result, table=markdown(result), injected=injected, runs=result["finished runs"], on=result["machine"]
    )


if __name__ == "__main__":
    main()
