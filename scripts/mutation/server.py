"""A process that imports everything but our own code, and forks a child per mutant: importing PyTorch takes seconds."""

import contextlib
import importlib.abc
import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mutation.make import Mutant
from mutation.targets import PACKAGE, REPOSITORY

OPTIONS = [
    "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not cluster and not slow", "--hypothesis-seed=0",
]  # fmt: skip
PATIENCE = 10.0
"""Most wall time of a child per second of processor time, because other work may keep the processor busy."""


def warm_up() -> None:
    """Import what our code and its tests import, but not our code itself: each child imports that with its mutant."""
    import hypothesis  # noqa: F401
    import moto.server  # noqa: F401
    import pyarrow.fs
    import pyarrow.parquet  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torchvision  # noqa: F401

    from autosparse.criteria import CRITERIA
    from autosparse.models import MODELS

    for registry in (CRITERIA, MODELS):
        list(registry)
    for name in [name for name in sys.modules if name.partition(".")[0] == "autosparse"]:
        del sys.modules[name]


class _Mutated(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports one module from a mutant's code; nothing is written to disk."""

    def __init__(self, mutant: Mutant):
        self.mutant = mutant
        relative = mutant.path.relative_to(REPOSITORY).with_suffix("")
        self.package = relative.name == "__init__"
        self.name = ".".join(relative.parent.parts if self.package else relative.parts)

    def find_spec(self, name: str, path: Any, target: Any = None) -> Any:
        if name != self.name:
            return None
        spec = importlib.util.spec_from_loader(name, self, origin=str(self.mutant.path), is_package=self.package)
        assert spec is not None
        spec.has_location = True
        if self.package:
            spec.submodule_search_locations = [str(self.mutant.path.parent)]
        return spec

    def exec_module(self, module: Any) -> None:
        exec(compile(self.mutant.code, self.mutant.path, "exec"), module.__dict__)


class Trace:
    """A plugin of pytest that notes the lines of our code that each test runs, and its processor time in seconds."""

    def __init__(self) -> None:
        self.lines: dict[str, dict[str, list[int]]] = {}
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []
        self._seen: set[tuple[str, int]] = set()

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        """Trace one test, with what its fixtures do."""
        self._seen = set()
        start = time.process_time()
        threading.settrace(self._call)
        sys.settrace(self._call)
        yield
        sys.settrace(None)
        threading.settrace(None)  # type: ignore[arg-type]
        self.seconds[item.nodeid] = time.process_time() - start
        by_file: dict[str, list[int]] = {}
        for file, line in self._seen:
            by_file.setdefault(file, []).append(line)
        self.lines[item.nodeid] = by_file

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Note a test that fails without a mutant, because it says nothing about mutants."""
        if report.failed:
            self.failed.append(report.nodeid)

    def _call(self, frame: Any, event: str, argument: Any) -> Any:
        return self._line if frame.f_code.co_filename.startswith(str(PACKAGE)) else None

    def _line(self, frame: Any, event: str, argument: Any) -> Any:
        self._seen.add((frame.f_code.co_filename, frame.f_lineno))
        return self._line


def baseline(tests: Sequence[Path]) -> dict[str, Any]:
    """Run the tests without a mutant; return the ``lines`` and the ``seconds`` of each, and raise if one fails."""
    trace = Trace()
    with tempfile.TemporaryDirectory() as folder:
        told = Path(folder) / "told.json"

        def ask() -> int:
            pytest.main([*OPTIONS, *map(str, tests)], plugins=[trace])
            told.write_text(json.dumps({"lines": trace.lines, "seconds": trace.seconds, "failed": trace.failed}))
            return 0

        _in_child(ask, 3600.0)
        found: dict[str, Any] = json.loads(told.read_text())
    if found["failed"]:
        raise SystemExit(f"error: these fail without a mutant: {', '.join(found['failed'][:5])}")
    return found


def verdict(mutant: Mutant, tests: Sequence[str], seconds: float) -> str:
    """Return ``killed``, ``timed out`` or ``survived``, by tests that take ``seconds`` of CPU time without it."""

    def ask() -> int:
        sys.meta_path.insert(0, _Mutated(mutant))
        return int(pytest.main([*OPTIONS, "-x", *tests]))

    code = _in_child(ask, 20 + 5 * seconds)
    return {0: "survived", -signal.SIGXCPU: "timed out", -signal.SIGKILL: "timed out"}.get(code, "killed")


def _in_child(ask: Callable[[], int], limit: float) -> int:
    """Call ``ask`` in a child process; return its exit code, or minus a signal's number if one ended it."""
    scratch = tempfile.mkdtemp(prefix="mutant-")
    child = os.fork()
    if child == 0:
        _be_child(ask, int(limit), scratch)
    try:
        status = _await(child, PATIENCE * limit)
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child, signal.SIGKILL)  # the child, if it still runs, and what a test has started and left
        shutil.rmtree(scratch, ignore_errors=True)
    return os.waitstatus_to_exitcode(status)


def _be_child(ask: Callable[[], int], limit: int, scratch: str) -> NoReturn:
    code = 70
    try:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (limit + 1, limit + 2))
        os.environ |= {"TMPDIR": scratch, "HYPOTHESIS_STORAGE_DIRECTORY": scratch}
        tempfile.tempdir = scratch
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = ask()
    finally:
        os._exit(code)


def _await(child: int, patience: float) -> int:
    """Wait for the child, kill it once ``patience`` seconds are over, and return its status."""
    deadline = time.monotonic() + patience
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return status
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
