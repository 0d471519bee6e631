"""Change the code in small ways, one at a time, and see whether a test notices; the table is tests/MUTANTS.md.

    python scripts/mutants.py                       # a sample of each module, as `make mutants`
    python scripts/mutants.py --only masks,files    # of these; the rest of the table stays as it is
    python scripts/mutants.py --survivors           # of those that lived, after a test was added to the same code
    python scripts/mutants.py --all                 # every mutant, as `make mutants ALL=1`: hours
    python scripts/mutants.py --render              # the table anew, such as after a reason was written

The sample is drawn by the name of its module: the same code gives the same mutants. A survivor needs a reason in
tests/mutants/reasons.yaml, or a test that kills it. Exit code 1: fewer than 85 % were killed, or a reason is missing.
"""

import argparse
import os
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from mutation import server, table
from mutation.make import Mutant, Statements, made, places
from mutation.targets import NAMES, REPOSITORY, target

SAMPLE, FURTHER = 25, 3
"""Mutants of a module, unless told otherwise, and of each further file of a package."""
QUICK = 0.1
"""A test that takes less processor time than this, in seconds, is asked about all that runs at import."""


def sample(name: str, number: int | None) -> tuple[list[Mutant], int]:
    """Mutants of a target, all or so many drawn from it; and how many places there are to make one."""
    there = places(target(name).sources)
    random.Random(f"mutants of {name}").shuffle(there)
    found: dict[str, Mutant] = {}
    for place in there:
        if number is not None and len(found) == number:
            break
        mutant = made(place)
        if mutant is not None:
            found.setdefault(f"{mutant.path}\n{mutant.code}", mutant)
    return sorted(found.values(), key=lambda m: (str(m.path), m.line, m.operator, m.now)), len(there)


def run(name: str, number: int | None) -> dict[str, Any]:
    """What the tests make of the mutants of a target: all, or so many of a module."""
    begun = _processor()
    further = FURTHER * (len(target(name).sources) - 1)
    mutants, possible = sample(name, None if number is None else number + further)
    counts, survivors = ask(name, mutants)
    spent = (_processor() - begun) / max(len(mutants), 1)
    return {"places": possible, "made": len(mutants), **counts, "seconds": round(spent, 1), "survivors": survivors}


def run_survivors(name: str, before: dict[str, Any]) -> dict[str, Any]:
    """The same results after those that survived were asked about again; what was killed is by more tests, too."""
    lived = {(own["file"], own["was"], own["now"]) for own in before["survivors"]}
    mutants, possible = sample(name, before["made"])
    again = [m for m in mutants if (str(m.path.relative_to(REPOSITORY)), m.was, m.now) in lived]
    if possible != before["places"] or len(again) != len(before["survivors"]):
        raise SystemExit(f"error: {name} has changed since; run: python scripts/mutants.py --only {name}")
    counts, survivors = ask(name, again)
    counts = {kind: counts[kind] + (before[kind] if kind != "survived" else 0) for kind in counts}
    return {**before, **counts, "survivors": survivors}


def ask(name: str, mutants: list[Mutant]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """How many of these mutants of a target the tests notice, and those that they do not."""
    known = server.baseline(target(name).tests)
    statements = {path: Statements(path.read_text()) for path in {mutant.path for mutant in mutants}}
    for path, source in ((path, path.read_text()) for path in statements):
        _require_life(Mutant(path, "none", source, 1, "", ""), _tests(known, path, None), known)
    counts, survivors = {"killed": 0, "timed out": 0, "survived": 0}, []
    for done, mutant in enumerate(mutants, 1):
        lines, imported = statements[mutant.path].around(mutant.line)
        tests = _tests(known, mutant.path, None if imported else lines)
        seconds = sum(known["seconds"][test] for test in tests)
        found = server.verdict(mutant, tests, seconds) if tests else "survived"
        counts[found] += 1
        where = f"{mutant.path.relative_to(REPOSITORY)}:{mutant.line}"
        print(
            f"{name} {done}/{len(mutants)} {found}: {where} {mutant.was} -> {mutant.now}", file=sys.stderr, flush=True
        )
        if found == "survived":
            file, line = where.split(":")
            survivors.append({"file": file, "line": int(line), "was": mutant.was, "now": mutant.now, "ran": len(tests)})
    return counts, survivors


def _require_life(unchanged: Mutant, tests: list[str], known: dict[str, Any]) -> None:
    """Raise where the tests fail of a file that is not changed: then they would say nothing of mutants."""
    if tests and server.verdict(unchanged, tests, sum(known["seconds"][test] for test in tests)) != "survived":
        raise SystemExit(f"error: {unchanged.path} is killed unchanged: its tests do not bear to run in a child")


def _tests(known: dict[str, Any], path: Path, lines: range | None) -> list[str]:
    """The tests that can see a change of these lines, the quickest first: those that run one of them.

    None stands for what runs as the file is imported. Tests that run any line of the file may see it. So may all quick
    ones: a default shows in a signature, which can be read without a call.
    """
    seconds: dict[str, float] = known["seconds"]

    def sees(test: str) -> bool:
        ran = known["lines"][test].get(str(path), ())
        if lines is None:
            return bool(ran) or seconds[test] < QUICK
        return any(line in lines for line in ran)

    return sorted(filter(sees, known["lines"]), key=seconds.__getitem__)


def _processor() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> int:
    """Run, and write the table; the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"of {', '.join(NAMES)}; separated by commas")
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"mutants of a module [{SAMPLE}]")
    parser.add_argument("--survivors", action="store_true", help="only those that lived the last time")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--render", action="store_true", help="no mutant; only write the table")
    options = parser.parse_args()
    os.chdir(REPOSITORY)
    results = table.read()
    if not options.render:
        server.warm_up()
        for name in options.only.split(",") if options.only else NAMES:
            begun = time.monotonic()
            if options.survivors:
                results[name] = run_survivors(name, results[name])
            else:
                results[name] = run(name, None if options.all else options.sample)
            table.write(results)
            print(f"{name}: {time.monotonic() - begun:.0f} s", file=sys.stderr)
    return table.write(results)


if __name__ == "__main__":
    sys.exit(main())
