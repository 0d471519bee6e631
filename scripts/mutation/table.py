"""Write tests/MUTANTS.md from the results, and the reasons why mutants survive."""

import json
from pathlib import Path
from typing import Any

import yaml

from autosparse.files import write_atomic
from mutation.targets import NAMES, REPOSITORY, TESTS

PAGE = TESTS / "MUTANTS.md"
FOUND, REASONS = TESTS / "mutants" / "found.json", TESTS / "mutants" / "reasons.yaml"
ENOUGH = 0.85
"""The share of mutants that must be killed."""
CHANGED = "its line has changed since"
"""Said of a mutant that survived, but is no longer made."""

Results = dict[str, dict[str, Any]]

HEAD = """# Mutants

`make mutants` changes the code in small ways, one at a time, and runs those tests that mirror the changed module and
run the changed statement. A mutant that no test notices *survives*: a test is missing or weak, or the change means
nothing, and then [`reasons.yaml`](mutants/reasons.yaml) says why. The operators are
[cosmic-ray](https://cosmic-ray.readthedocs.io)'s, and one that leaves out a call. Annotations and docstrings are not
mutated; a test that starts another process runs the code as it is there.

By default a sample of each module is drawn, the same for the same code. `make mutants ALL=1` makes every mutant
(*places* is how many an operator finds), and `make mutants ONLY=masks,files` those of some modules. *CPU s* is per
mutant, with the first run of the tests.

| module | places | made | killed | timed out | survived | noticed | CPU s |
|---|---|---|---|---|---|---|---|
"""


def read(path: Path = FOUND) -> Results:
    """The results of earlier runs."""
    results: Results = json.loads(path.read_text()) if path.is_file() else {}
    return results


def reasons() -> dict[tuple[str, str, str], str]:
    """Why mutants survive, by file, original line and changed line, but not by line number, which moves."""
    return {(entry["file"], entry["was"], entry["now"]): entry["why"] for entry in yaml.safe_load(REASONS.read_text())}


def stands(file: str, line: str) -> bool:
    """Whether a file still has a line, or several as one, wherever they have moved."""
    path = REPOSITORY / file
    return path.is_file() and line in " ".join(path.read_text("utf-8").split())


def noticed(results: dict[str, Any]) -> float:
    """The share of mutants that a test noticed."""
    return float(results["killed"] + results["timed out"]) / max(results["made"], 1)


def write(results: Results) -> int:
    """Write the page and its results; return the exit code."""
    FOUND.parent.mkdir(exist_ok=True)
    ordered = {name: results[name] for name in NAMES if name in results}
    write_atomic(FOUND, (json.dumps(ordered, indent=1) + "\n").encode())
    text, good = page(ordered, reasons())
    write_atomic(PAGE, text.encode())
    return 0 if good else 1


def page(results: Results, why: dict[tuple[str, str, str], str]) -> tuple[str, bool]:
    """The text of the page, and whether enough mutants were killed and every survivor of today's code has a reason."""
    columns = ("places", "made", "killed", "timed out", "survived")
    total: dict[str, Any] = {column: sum(found[column] for found in results.values()) for column in columns}
    rows = [_row(f"`{name}`", found, columns, f"{found['seconds']:.1f}") for name, found in results.items()]
    rows.append(_row("**all**", total, columns, ""))
    left = [name for name in NAMES if name not in results]
    text = HEAD + "\n".join(rows) + "\n"
    if left:
        text += f"\nNot run yet: {', '.join(f'`{name}`' for name in left)}.\n"
    told, good = "", noticed(total) >= ENOUGH
    for found in results.values():
        for own in found["survivors"]:
            reason = why.get((own["file"], own["was"], own["now"]))
            if reason is None and not stands(own["file"], own["was"]):
                reason = CHANGED
            good = good and reason is not None
            shown = reason or ("**no reason given**" if own["ran"] else "**no test runs it**")
            told += f"| `{own['file']}:{own['line']}` | {_code(own['was'])} | {_code(own['now'])} | {shown} |\n"
    if told:
        text += f"\n## Survivors\n\n| where | was | became | why it survives |\n|---|---|---|---|\n{told}"
    return text, good


def _row(name: str, found: dict[str, Any], columns: tuple[str, ...], seconds: str) -> str:
    cells = [f"{found[column]:,}" for column in columns]
    return f"| {' | '.join([name, *cells, f'{noticed(found):.0%}', seconds])} |"


def _code(text: str) -> str:
    """Format as code in a cell of a table."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}".replace("|", "\\|") if text else "(nothing)"
