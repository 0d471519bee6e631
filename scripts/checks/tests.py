"""Run the tests marked ``gpu``, each file in its own pytest, because a test may leave the device unusable."""

import re
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.harness import Options

from checks.report import Problem, Report, Skipped, tail

REPOSITORY = Path(__file__).parents[2]
AT_ONCE = 4
"""Number of files that run at a time."""
LIMIT = 55
"""Most seconds for a file."""
MARKED = re.compile(r"\bpytest\.mark\.gpu\b")
FLAGS = (
    "-o", "addopts=",  # of pyproject.toml: strict about an option of pytest-timeout, which may be absent
    "-p", "no:cacheprovider", "-p", "checks.collecting", "-m", "gpu", "-q", "-ra",
)  # fmt: skip

Outcomes = dict[str, list[str]]
"""Names of tests by outcome, with the reason."""


def check(options: Options, report: Report) -> None:
    """Run the files with such tests, a few at a time; without a GPU they are collected, in one process."""
    files = marked(REPOSITORY / "tests")
    groups = [files] if options.quick else [[file] for file in files]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        running = {pool.submit(run, group, None if options.quick else LIMIT): group for group in groups}
        for future in as_completed(running):
            with report.entry(", ".join(str(file.relative_to(REPOSITORY)) for file in running[future])) as found:
                outcomes, said = future.result()
                found.update(outcomes)
                judge(outcomes, said, options.device.type == "cuda", found)


def marked(folder: Path) -> list[Path]:
    """The files that mark a test with ``gpu``."""
    return [path for path in sorted(folder.rglob("test_*.py")) if MARKED.search(path.read_text())]


def run(files: list[Path], limit: float | None) -> tuple[Outcomes, str]:
    """Run files with pytest; return the outcomes of their tests, and pytest's output."""
    with tempfile.TemporaryDirectory(prefix="gpu-tests-") as folder:
        results = Path(folder) / "results.xml"
        command = [sys.executable, "-m", "pytest", *FLAGS, f"--junitxml={results}", *map(str, files)]
        ran = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, errors="replace", timeout=limit)
        outcomes = read(results.read_text()) if results.exists() else {}
    return outcomes, ran.stdout + ran.stderr


def read(xml: str) -> Outcomes:
    """The outcomes in pytest's JUnit file."""
    outcomes: Outcomes = {"passed": [], "failed": [], "skipped": []}
    for case in ElementTree.fromstring(xml).iter("testcase"):
        name = f"{case.get('classname')}.{case.get('name')}".strip(".")
        wrong = [child for child in case if child.tag in ("failure", "error")]
        skipped = case.find("skipped")
        if wrong:
            outcomes["failed"].append(f"{name}: {(wrong[0].get('message') or '').splitlines()[0][:300]}")
        elif skipped is not None:
            outcomes["skipped"].append(f"{name}: {skipped.get('message')}")
        else:
            outcomes["passed"].append(name)
    return outcomes


def judge(outcomes: Outcomes, said: str, on_gpu: bool, found: dict[str, object]) -> None:
    """Raise if a test failed, or if none ran."""
    if not outcomes or outcomes["failed"]:
        found["said"] = tail(said, 60)
        raise Problem("; ".join(outcomes.get("failed", ())) or f"pytest did not run: {said.strip().splitlines()[-1:]}")
    if not outcomes["passed"]:
        reasons = {skipped.rpartition(": ")[2] for skipped in outcomes["skipped"]}
        if on_gpu:
            raise Problem(f"no test ran: {'; '.join(reasons)}")
        raise Skipped(f"{len(outcomes['skipped'])} tests: {'; '.join(reasons)}")
