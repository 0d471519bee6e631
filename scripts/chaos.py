"""Inject random faults into a grid of tiny cells on two nodes until every cell is there once; write what they did.

    python scripts/chaos.py             # 200 faults over 500 cells, as `make chaos`
    python scripts/chaos.py --quick     # 10 over 60

Everything is real: Ray nodes, worker processes, drivers, an MLflow server, and kill -9. It checks that no finished
work is lost, that nothing is in MLflow twice, and that every result equals, to the bit, that of an undisturbed process.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import torch

torch.set_num_threads(1)  # as in the workers

from benchmarks.harness import machine  # noqa: E402
from havoc import WEIGHTS, Damage, Havoc  # noqa: E402

from autosparse.experiment.environment import describe_environment  # noqa: E402

PAGE = Path(__file__).parents[1] / "cluster" / "RELIABILITY.md"


def main() -> None:
    """Parse, break, mend, count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="10 faults over 60 cells; writes no page")
    parser.add_argument("--faults", type=int)
    parser.add_argument("--cells", type=int, help="a multiple of 5")
    parser.add_argument("--seed", type=int, default=0, help="of the faults")
    parser.add_argument(
        "--only", default="", help="of the faults, those with one of these in their names, as in STOP,node"
    )
    parser.add_argument("--minutes", type=float, default=24 * 60, help="inject no more faults after so many")
    parser.add_argument("--out", type=Path, default=Path("chaos.json"))
    parser.add_argument("--page", type=Path, help="where the table is written as Markdown")
    given = parser.parse_args()
    faults, cells = given.faults or (10 if given.quick else 200), given.cells or (60 if given.quick else 500)
    page = given.page or (None if given.quick else PAGE)

    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="autosparse-chaos-") as folder:
        irp, iterations = (1, 12) if given.quick else (6, 40)
        with Havoc(Path(folder), cells, irp, iterations, given.seed, given.only) as havoc:
            table = break_it(havoc, faults, started + 60 * given.minutes)
            result = mend_it(havoc, table)
        if not result["passed"]:
            print((Path(folder) / "driver.log").read_text()[-4000:], file=sys.stderr)
    result |= {"seed": given.seed, "cells": cells, "asked": faults, "seconds": round(time.monotonic() - started)}
    result |= {
        "machine": machine(torch.device("cpu")) | {"load": os.getloadavg()[1]},
        "command": command(given),
        "commit": describe_environment()["git_commit"],
    }
    given.out.write_text(json.dumps(result, indent=1) + "\n")
    print(markdown(result))
    if page:
        page.parent.mkdir(exist_ok=True)
        page.write_text(as_page(result))
    sys.exit(not result["passed"])


def break_it(havoc: Havoc, faults: int, deadline: float) -> dict[str, Damage]:
    """Inject faults, each after some progress, and look for damage."""
    table = {name: Damage() for name in WEIGHTS}
    for number in range(faults):
        if time.monotonic() > deadline:
            break
        havoc.keep_pace(number / faults)
        havoc.await_progress()
        havoc.look(Damage())  # note what is new since the last fault
        name, wrong = havoc.inject([name for name, damage in table.items() if damage.injected])
        table[name].injected += 1
        table[name].wrong += wrong
        havoc.look(table[name])
        harm = ", ".join(f"{count} {what}" for what, count in asdict(table[name]).items() if count)
        print(f"- {number + 1}/{faults}: {name} ({harm}); {len(havoc.whole)} tasks finished", file=sys.stderr)
    return table


def mend_it(havoc: Havoc, table: dict[str, Damage]) -> dict[str, Any]:
    """Run the same command to its end, and judge the result."""
    runs_to_end = havoc.go_on_to_the_end()
    end = Damage()
    havoc.look(end)
    end.wrong += sum(havoc._differs(task) for task in havoc.whole)
    end.wrong += havoc.await_ends()
    end.doubled += havoc.ledger.doubled_points()
    finished = havoc.ledger.finished_runs()
    expected = {"cell": len(havoc.plan.cells), "irp": len(havoc.plan.irp), "experiment": 1}
    damages = [*table.values(), end]
    clean = all(damage.lost == damage.doubled == damage.wrong == 0 for damage in damages)
    return {
        "faults": {name: asdict(damage) for name, damage in table.items()},
        "at the end": asdict(end),
        "finished records": len(havoc.whole),
        "finished runs": dict(finished),
        "drivers started": havoc.drivers,
        "of them after the last fault": runs_to_end,
        "passed": bool(clean and dict(finished) == expected and len(havoc.whole) == len(havoc.expected)),
    }


def command(given: argparse.Namespace) -> str:
    """The command, to be typed again."""
    options = {"faults": given.faults, "cells": given.cells, "seed": given.seed or None, "only": given.only or None}
    parts = [f"--{name} {value}" for name, value in options.items() if value is not None]
    if given.minutes != 24 * 60:
        parts.append(f"--minutes {given.minutes:g}")
    return " ".join(["python scripts/chaos.py", *(["--quick"] if given.quick else []), *parts])


def markdown(result: dict[str, Any]) -> str:
    """The fault table."""
    lines = ["| fault | times injected | lost | doubled | wrong |", "|---|---|---|---|---|"]
    rows = [*result["faults"].items(), ("found at the end", {**result["at the end"], "injected": ""})]
    for name, damage in rows:
        lines.append(f"| {name} | {damage['injected']} | {damage['lost']} | {damage['doubled']} | {damage['wrong']} |")
    total = {key: sum(row[key] or 0 for _, row in rows) for key in ("injected", "lost", "doubled", "wrong")}
    lines.append("| **all** | " + " | ".join(f"**{total[key]}**" for key in total) + " |")
    return "\n".join(lines)


def as_page(result: dict[str, Any]) -> str:
    """``cluster/RELIABILITY.md``."""
    template = Path(__file__).with_name("reliability.md.j2").read_text()
    injected = sum(damage["injected"] for damage in result["faults"].values())
    return jinja2.Template(template, undefined=jinja2.StrictUndefined, keep_trailing_newline=True).render(
        result=result, table=markdown(result), injected=injected, runs=result["finished runs"], on=result["machine"]
    )


if __name__ == "__main__":
    main()
