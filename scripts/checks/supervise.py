"""Run a part in its own process group, which is ended when its time is up."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from checks.report import SKIPPED, tail

SCRIPTS = Path(__file__).parents[1]
POLL = 0.2
"""Seconds between two looks at a running part."""
LAST_WORDS = 0.5
"""Seconds that a part has to say where it hangs before it is ended."""

Result = dict[str, Any]
"""A part's status, seconds, entries and problems, and the last output of its process if it did not end well."""


def run_part(module: str, options: Result, limit: float, on_change: Callable[[Result], None]) -> Result:
    """Run a part for at most ``limit`` seconds; ``on_change`` gets the result so far whenever it changes."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="gpu-check-") as folder:
        entries, said = Path(folder) / "entries.json", Path(folder) / "said"
        command = [sys.executable, "-m", "checks.child", module, json.dumps(options), str(entries)]
        with said.open("wb") as output:
            process = subprocess.Popen(
                command,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        try:
            in_time = _await(process, entries, started + limit, on_change)
            if not in_time:
                _ask_where(process)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # with everything that it started
            code = process.wait()
        found = _entries(entries)
        said_last = tail(said.read_text(errors="replace"), 40)
    return {
        **_status(code, in_time, limit, found, said_last),
        "seconds": round(time.monotonic() - started, 2),
        "limit_s": round(limit, 1),
        "entries": found,
    }


def environment() -> dict[str, str]:
    """An environment in which Python finds the parts and the package."""
    path = [str(SCRIPTS), str(SCRIPTS.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path), "PYTHONFAULTHANDLER": "1"}


def _await(process: subprocess.Popen[bytes], entries: Path, until: float, on_change: Callable[[Result], None]) -> bool:
    """Whether the process ended by itself in time."""
    seen = 0
    while process.poll() is None:
        if time.monotonic() > until:
            return False
        time.sleep(POLL)
        with suppress(FileNotFoundError):
            changed = entries.stat().st_mtime_ns
            if changed != seen:
                seen = changed
                on_change({"status": "running", "entries": _entries(entries)})
    return True


def _ask_where(process: subprocess.Popen[bytes]) -> None:
    """Have the part write the tracebacks of its threads."""
    process.send_signal(signal.SIGUSR1)
    with suppress(subprocess.TimeoutExpired):
        process.wait(LAST_WORDS)


def _entries(path: Path) -> list[Result]:
    return json.loads(path.read_text()) if path.exists() else []


def _status(code: int, in_time: bool, limit: float, entries: list[Result], said: list[str]) -> Result:
    """The outcome of a part: its status, with problems, reason and last output."""
    problems = [f"{entry['name']}: {entry['problem']}" for entry in entries if entry["status"] == "failed"]
    if not in_time:
        running = [entry["name"] for entry in entries if entry["status"] == "running"]
        where = f" in {running[-1]!r}" if running else ""
        return {"status": "timed out", "problems": [*problems, f"ended after {limit:.0f} s{where}"], "said": said}
    if code == SKIPPED:
        return {"status": "skipped", "reason": said[-1] if said else "", "problems": []}
    if code != 0:
        ended = f"died of {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return {"status": "failed", "problems": [*problems, _last(said, ended)], "said": said}
    reasons = {entry.get("reason") for entry in entries if entry["status"] == "skipped"}
    if entries and all(entry["status"] == "skipped" for entry in entries):
        return {"status": "skipped", "reason": "; ".join(map(str, reasons)), "problems": []}
    return {"status": "failed" if problems else "ok", "problems": problems}


def _last(said: list[str], ended: str) -> str:
    return f"{said[-1]} (its process {ended})" if said else f"its process {ended}"
