"""The findings of a part, written to a file after every entry, so that nothing is lost if the part is ended midway."""

import json
import math
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from autosparse.files import write_atomic

TAIL = 12
"""Number of lines that are kept of a traceback or of a process's output."""
SKIPPED = 77
"""Exit code of a process whose part cannot run here, as in automake."""


class Skipped(Exception):
    """Raised by a part, or in an entry, that cannot run here, with the reason."""


class Problem(Exception):
    """Raised if a figure is not what it must be; reported in one line, without a traceback."""


class Report:
    """The entries of one part, each with a name, its figures, and its problem if it has one."""

    def __init__(self, path: Path, device: str = "cpu"):
        self.path, self.device = path, device
        self.entries: list[dict[str, Any]] = []

    @contextmanager
    def entry(self, name: str) -> Iterator[dict[str, Any]]:
        """Add an entry, and yield the dict of its figures. An error becomes the entry's problem, and the part goes on,
        unless the device itself is lost."""
        figures: dict[str, Any] = {}
        entry: dict[str, Any] = {"name": name, "status": "running", "figures": figures}
        self.entries.append(entry)
        self.save()
        started = time.perf_counter()
        try:
            yield figures
            entry["status"] = "ok"
        except Skipped as error:
            entry.update(status="skipped", reason=str(error))
        except Exception as error:  # whatever it is, the next entry may still run
            entry.update(status="failed", problem=first_line(error))
            if not isinstance(error, Problem):
                entry["traceback"] = tail(traceback.format_exc())
            require_device(self.device)
        finally:
            entry["seconds"] = round(time.perf_counter() - started, 3)
            self.save()

    def save(self) -> None:
        """Write all entries to the file."""
        write_atomic(self.path, json.dumps(plain(self.entries)).encode())


def first_line(error: BaseException) -> str:
    """The kind and the first line of an error."""
    lines = str(error).strip().splitlines()
    message = lines[0] if lines else ""
    return message if isinstance(error, Problem) else f"{type(error).__name__}: {message}".removesuffix(": ")


def tail(text: str, lines: int = TAIL) -> list[str]:
    """The last lines of a text."""
    return text.rstrip().splitlines()[-lines:]


def plain(value: Any) -> Any:
    """``value`` in types that JSON accepts; numbers that are not finite become text."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | range):
        return [plain(inner) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def require_device(device: str) -> None:
    """Raise if the device no longer computes: after some errors, every further call of the process fails."""
    if device.startswith("cuda"):
        import torch

        torch.zeros(1, device=device).add_(1).item()
