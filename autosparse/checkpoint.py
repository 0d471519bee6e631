"""The state of long work, so that it goes on where it was: safetensors and JSON, checksummed, two generations."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from autosparse.errors import CorruptFile
from autosparse.files import read_record, write_atomic, write_record

KEPT = 2
"""Generations: where the newest is damaged, the one before it is used."""


@dataclass(frozen=True)
class Checkpoint:
    """What work knows after ``step`` of its steps."""

    step: int
    tensors: dict[str, Tensor]
    content: dict[str, Any]
    """JSON values."""


class Checkpoints:
    """The checkpoints of one piece of work, in a folder of their own: ``<step>.json`` beside ``<step>.safetensors``.

    The JSON file is written last and holds the checksum of the other: a checkpoint is whole or is not there.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def save(self, step: int, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write one, and drop all but the newest two."""
        data = to_safetensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
        stem = self.folder / f"{step:08d}"
        write_atomic(stem.with_suffix(".safetensors"), data)
        record = {"step": step, "sha256": hashlib.sha256(data).hexdigest(), "content": dict(content)}
        write_record(stem.with_suffix(".json"), record)
        for old in self._stems()[KEPT:]:
            _remove(old)

    def newest(self) -> Checkpoint | None:
        """The newest that is whole; None where there is none."""
        return next((found for stem in self._stems() if (found := _read(stem)) is not None), None)

    def clear(self) -> None:
        """Remove them all: the work is done, and its result is elsewhere."""
        for stem in self._stems():
            _remove(stem)
        if self.folder.is_dir() and not any(self.folder.iterdir()):
            self.folder.rmdir()

    def _stems(self) -> list[Path]:
        """Newest first."""
        return sorted({path.with_suffix("") for path in self.folder.glob("[0-9]*.*")}, reverse=True)


def _read(stem: Path) -> Checkpoint | None:
    try:
        record = read_record(stem.with_suffix(".json"))
        data = stem.with_suffix(".safetensors").read_bytes()
        if hashlib.sha256(data).hexdigest() != record["sha256"]:
            return None
        return Checkpoint(record["step"], from_safetensors(data), record["content"])
    except (FileNotFoundError, CorruptFile, SafetensorError, KeyError):
        return None


def _remove(stem: Path) -> None:
    """The JSON file first: without it the other counts for nothing."""
    for suffix in (".json", ".safetensors"):
        stem.with_suffix(suffix).unlink(missing_ok=True)
