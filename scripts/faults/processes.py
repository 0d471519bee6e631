"""Processes of Ray's workers, and what is beneath a process (Linux)."""

from collections.abc import Collection
from pathlib import Path


def busy_workers(raylets: Collection[int]) -> list[int]:
    """The ids of the actors that work under these raylets."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if int(status.read_text().split("PPid:")[1].split()[0]) in raylets:
                title = title_of(int(status.parent.name))
                if title.startswith("ray::") and "IDLE" not in title and "Agent" not in title:
                    found.append(int(status.parent.name))
        except (OSError, IndexError):
            continue
    return found


def title_of(pid: int) -> str:
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_text()


def parent_if_stopped(pid: int) -> int:
    """The parent's id if the process exists and is stopped, else 0."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(parent) if state in "Tt" else 0


def descendants(root: int) -> list[int]:
    """The ids of the processes beneath ``root``."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has ended
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found = list(children.get(root, []))
    for child in found:
        found += children.get(child, [])
    return found
