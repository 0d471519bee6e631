"""A pickle that acts when it is loaded."""

import os
import pickle
from pathlib import Path


class Attack:
    """Makes a folder of the given name."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def malicious_pickle(path: Path) -> bytes:
    """A pickle that makes a folder at ``path`` when it is loaded."""
    return pickle.dumps(Attack(path))
