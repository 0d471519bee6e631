"""The pages of the repository, and the blocks of code in them."""

import re
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
FOLDERS = (".", "autosparse", "experiments", "cluster", "tests")
PAGES = sorted(page for folder in FOLDERS for page in (ROOT / folder).glob("*.md"))


def named(page):
    """The page's path in the repository, for the ids of tests."""
    return str(page.relative_to(ROOT))


def blocks(page, language):
    """The fenced blocks of a language: what follows the language in the first line, or the block's number, -> text."""
    found = re.findall(rf"^```{language}(?: +(\S+))?\n(.*?)^```", page.read_text(), flags=re.S | re.M)
    return {name or str(number): text for number, (name, text) in enumerate(found)}


def unpack_readme(folder):
    """Write the README's files, and the data that they read, into a folder."""
    for name, text in {**blocks(README, "python"), **blocks(README, "yaml")}.items():
        (folder / name).write_text(text)
    draw = np.random.default_rng(0)
    parts = {f"{split}_x": draw.integers(256, size=(64, 1, 4, 4), dtype=np.uint8) for split in ("train", "test")}
    parts |= {f"{split}_y": np.arange(64) % 3 for split in ("train", "test")}
    np.savez(folder / "mine.npz", **parts)
