"""What is mutated, and which tests are asked."""

from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[2]
PACKAGE, TESTS = REPOSITORY / "autosparse", REPOSITORY / "tests"


class Target(NamedTuple):
    """A module or a package, and the tests that mirror it."""

    sources: list[Path]
    tests: list[Path]


BESIDE = {
    "masks": ["test_masks*.py", "test_exact_selection.py"],
    "shards/sharded_topk": ["test_exact_selection.py", "test_masks.py"],
    "files": ["test_files.py", "test_atomic_folder.py", "test_durable_files.py"],
    "storage/bucket": ["storage/test_places.py", "experiment/test_store_order.py"],
    "storage/folder": ["storage/test_places.py", "experiment/test_store_order.py"],
    "storage/checkpoints": ["storage/test_checkpoints.py"],
    "irp": ["irp/*.py", "runner/test_irp_killed.py"],
    "experiment/store": ["experiment/test_store*.py"],
    "experiment/tasks": ["experiment/*.py"],
}
"""Tests of a target that its name does not tell."""

NAMES = (
    "masks", "shards/sharded_topk", "schedule", "seeds", "files",
    "storage/bucket", "storage/folder", "storage/checkpoints",
    "criteria", "irp", "autos", "training", "experiment/store", "experiment/tasks",
)  # fmt: skip


def target(name: str) -> Target:
    """Find the target of a name: ``masks`` is a module, ``criteria`` a package, with all that is in it."""
    folder = PACKAGE / name
    sources = sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{name}.py"]
    patterns = BESIDE.get(name) or ([f"{name}/*.py"] if folder.is_dir() else [f"test_{name}.py"])
    tests = [path for pattern in patterns for path in sorted(TESTS.glob(pattern)) if path.name.startswith("test_")]
    if not tests or not all(path.is_file() for path in sources):
        raise SystemExit(f"error: no such module, or no tests of it: {name}")
    return Target(sources, list(dict.fromkeys(tests)))
