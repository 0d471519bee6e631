"""The git commit of this code: of the checkout that it runs from, or as noted when its package was built.

``hatch_build.py`` runs this file by itself, so it imports nothing of ours.
"""

import subprocess
from pathlib import Path

TOLD = Path(__file__).with_suffix(".txt")
"""Holds the commit in a wheel or a source distribution; in a checkout there is no such file."""
UNKNOWN = "unknown"


def git_commit() -> str:
    """The commit, ``+dirty`` with local changes; ``unknown`` if there is neither a checkout nor a note of the build."""
    return checked_out() or _told() or UNKNOWN


def checked_out() -> str | None:
    """The commit of the checkout that this file is tracked in, ``+dirty`` with local changes; None outside of one."""
    tracked = _git("ls-files", "--error-unmatch", __file__)
    commit = _git("rev-parse", "HEAD")
    if tracked is None or commit is None:
        return None
    return commit + ("+dirty" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _told() -> str | None:
    try:
        return TOLD.read_text().strip()
    except OSError:
        return None


def _git(*arguments: str) -> str | None:
    """What git says in the folder of this file; None if it fails."""
    command, folder = ["git", *arguments], Path(__file__).parent
    try:
        answer = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
