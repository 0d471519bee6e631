"""Change the code in small ways, one at a time, and see whether a test notices; the table is tests/MUTANTS.md.

    python scripts/mutants.py                       # a sample of each module, as `make mutants`
    python scripts/mutants.py --only masks,files    # only these modules; the rest of the table stays as it is
    python scripts/mutants.py --survivors           # only mutants that survived, after tests were added
    python scripts/mutants.py --all                 # every mutant, as `make mutants ALL=1`: hours
    python scripts/mutants.py --render              # only write the table again, for example after adding a reason

The sample depends on the module's name: the same code gives the same mutants. A survivor needs a reason in
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
"""Default number of mutants of a module, and of each further file of a package."""
QUICK = 0.1
"""Tests that take less processor time than this, in seconds, are run for all code that runs at import."""


def sample(name: str, number: int | None) -> tuple[list[Mutant], int]:
    """Draw ``number`` mutants of a target, or all; return them, and the number of places where one could be made."""
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
    """Test all mutants of a target, or ``number`` of each module, and return the results."""
    begun = _processor()
    further = FURTHER * (len(target(name).sources) - 1)
    mutants, possible = sample(name, None if number is None else number + further)
    counts, survivors = ask(name, mutants)
    spent = (_processor() - begun) / max(len(mutants), 1)
    return {"places": possible, "made": len(mutants), **counts, "seconds": round(spent, 1), "survivors": survivors}


def run_survivors(name: str, before: dict[str, Any]) -> dict[str, Any]:
    """Test the survivors again, and return the results; what was killed stays killed when tests are added."""
    lived = {(own["file"], own["was"], own["now"]) for own in before["survivors"]}
    mutants, possible = sample(name, before["made"])
    again = [m for m in mutants if (str(m.path.relative_to(REPOSITORY)), m.was, m.now) in lived]
    if possible != before["places"] or len(again) != len(before["survivors"]):
        raise SystemExit(f"error: {name} has changed since; run: python scripts/mutants.py --only {name}")
    counts, survivors = ask(name, again)
    counts = {kind: counts[kind] + (before[kind] if kind != "survived" else 0) for kind in counts}
    return {**before, **counts, "survivors": survivors}


def ask(name: str, mutants: list[Mutant]) -> tuple[dict[str, int], list[dict[str, Any]]]:
    """Ask the tests about a target's mutants; return their numbers by verdict, and the survivors."""
    known = server.baseline(target(name).tests)
    statements = {path: Statements(path.read_text()) for path in {mutant.path for mutant in mutants}}
    for path in statements:
        unchanged = Mutant(path, "none", path.read_text(), 1, "", "")
        _require_life(unchanged, _tests(known, path, None), known)
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
    """Raise if the tests fail for an unchanged file: then they would say nothing about mutants."""
    if tests and server.verdict(unchanged, tests, sum(known["seconds"][test] for test in tests)) != "survived":
        raise SystemExit(f"error: {unchanged.path} is killed unchanged: its tests cannot run in a child process")


def _tests(known: dict[str, Any], path: Path, lines: range | None) -> list[str]:
    """The tests that can notice a change of these lines, because they run one of them; the quickest first.

    None stands for lines that run at import. Any test that runs a line of the file may notice such a change. So may all
    quick tests: a default shows in a signature, which can be read without a call.
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
    """Run, and write the table; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", type=lambda text: text.split(","), default=NAMES, help=f"of {', '.join(NAMES)}; separated by commas"
    )
    parser.add_argument("--sample", type=int, default=SAMPLE, help=f"mutants of a module [{SAMPLE}]")
    parser.add_argument("--survivors", action="store_true", help="only those that survived the last time")
    parser.add_argument("--all", action="store_true", help="every mutant")
    parser.add_argument("--render", action="store_true", help="no mutant; only write the table")
    options = parser.parse_args()
    for name in options.only:
        if name not in NAMES:
            parser.error(f"no module is called {name!r}: there are {', '.join(NAMES)}")
    os.chdir(REPOSITORY)
    results = table.read()
    if not options.render:
        server.warm_up()
        for name in options.only:
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
