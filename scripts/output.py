"""The file that a script writes."""

import argparse
from pathlib import Path


def output(text: str) -> Path:
    """The path of a file to write, for argparse; a device or a folder is refused, because the file replaces it."""
    path = Path(text)
    if path.exists() and not path.is_file():
        raise argparse.ArgumentTypeError(f"{path} is not a regular file")
    return path
