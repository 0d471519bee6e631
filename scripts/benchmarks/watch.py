"""Peak memory and processor time of a process and all that it has started (Linux)."""

import contextlib
import os
import threading
import time
from pathlib import Path


class Watch:
    """Watches peak memory and CPU time of this process and all its descendants, including Ray's; a context manager."""

    def __enter__(self) -> "Watch":
        self.memory: dict[str, float] = {}
        """Peak of each process in GiB."""
        self.cpu: dict[str, float] = {}
        """Processor seconds of each process."""
        self.started, self.done = time.time(), threading.Event()
        self.thread = threading.Thread(target=self._look)
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.done.set()
        self.thread.join()

    def stages(self, out: Path) -> dict[str, float]:
        """Seconds after the start at which the first and last file of each kind were finished."""
        ends = {kind: sorted(path.stat().st_mtime for path in out.glob(f"{kind}-*")) for kind in ("scores", "masks")}
        return {
            f"{which} {kind}": times[at] - self.started
            for kind, times in ends.items()
            for which, at in (("first", 0), ("last", -1))
        }

    def _look(self) -> None:
        while not self.done.wait(0.5):
            for process in descendants(os.getpid()):
                with contextlib.suppress(OSError, KeyError, ValueError):  # it has just ended
                    self._note(process)

    def _note(self, process: int) -> None:
        folder = Path(f"/proc/{process}")
        status = dict(line.split(":", 1) for line in (folder / "status").read_text().splitlines())
        fields = (folder / "stat").read_text().rpartition(")")[2].split()
        name = f"{status['Name'].strip()} {process}"
        self.memory[name] = int(status["VmHWM"].split()[0]) / 2**20
        self.cpu[name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def descendants(root: int) -> list[int]:
    """``root`` and all processes that descend from it (Linux)."""
    parents = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents[int(status.parent.name)] = int(status.read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found = [root]
    for process in found:
        found += [child for child, parent in parents.items() if parent == process]
    return found
