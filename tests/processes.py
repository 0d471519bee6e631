"""Processes that tests watch, and a method that keeps a worker process busy until a test lets it go."""

from pathlib import Path

WAITING = """
import time
from pathlib import Path
from autosparse.criteria import CRITERIA, criterion

@criterion("waiting", paper="none")
def waiting(model, batches, loss, seed=0):
    while not Path(__file__).with_name("go-on").exists():
        time.sleep(0.1)
    return CRITERIA["random"].function(model, batches, loss, seed)
"""


def waiting_method(folder):
    """Write the plugin ``waiting_module``, whose method ``waiting`` ends only once ``folder`` has a file ``go-on``.

    :return: that file's path.
    """
    (folder / "waiting_module.py").write_text(WAITING)
    return folder / "go-on"


def alive(pid):
    """Whether a process has not ended; a zombie, which nobody has waited for yet, has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
