"""Checkpoints from which long work resumes: safetensors and JSON, checksummed, two generations."""

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from autosparse.errors import AutosparseError, CorruptFile, Unreachable
from autosparse.files import pack_record, unpack_record
from autosparse.storage import Place, place_at

ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
"""What reading raises if there is no such file."""
KEPT = 2
"""Generations: if the newest is damaged, the one before it is used."""


@dataclass(frozen=True)
class Checkpoint:
    """The state of work after ``step`` of its steps."""

    step: int
    tensors: dict[str, Tensor]
    content: dict[str, Any]
    """JSON values."""


class Checkpoints:
    """The checkpoints of one piece of work, in a folder of their own: ``<step>.json`` beside ``<step>.safetensors``.

    The JSON file is written last and holds the checksum of the other, so a checkpoint is either whole or absent.
    """

    def __init__(self, place: str | Path | Place, of: str):
        """:param of: names the work; checkpoints of other work in the folder are ignored."""
        self.place, self.of = place_at(place), of

    def save(self, step: int, tensors: Mapping[str, Tensor], content: Mapping[str, Any]) -> None:
        """Write a checkpoint and keep the one before it; first remove those of later steps, which are out of date."""
        data = to_safetensors({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
        stem = f"{step:08d}"
        for later in [other for other in self._stems() if other > stem]:
            self._remove(later)
        self.place.write(f"{stem}.safetensors", data)
        record = {"of": self.of, "step": step, "sha256": hashlib.sha256(data).hexdigest(), "content": dict(content)}
        self.place.write(f"{stem}.json", pack_record(record))
        kept = self._stems(".json")[:KEPT]  # a process that was killed may have left the other file alone
        for old in [other for other in self._stems() if other not in kept]:
            self._remove(old)

    def newest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole; None if there is none.

        :raises Unreachable: if an object store or a disk does not answer, so that nothing is known of what it holds.
        """
        return next((found for stem in self._stems() if (found := self._read(stem)) is not None), None)

    def clear(self) -> None:
        """Remove them all: the work is done, and its result is elsewhere."""
        for stem in self._stems():
            self._remove(stem)
        self.place.drop_if_empty()

    def _stems(self, suffix: str = "") -> list[str]:
        """The names of all files of checkpoints that end with ``suffix``, without it, newest first."""
        with _answering(str(self.place)):
            names = self.place.names()
        ours = (name for name in names if name[0].isdigit() and name.endswith(suffix))
        return sorted({name.partition(".")[0] for name in ours}, reverse=True)

    def _read(self, stem: str) -> Checkpoint | None:
        try:
            record = unpack_record(self._bytes(f"{stem}.json"), f"{self.place}/{stem}.json")
            data = self._bytes(f"{stem}.safetensors")
            if record["of"] != self.of or hashlib.sha256(data).hexdigest() != record["sha256"]:
                return None
            return Checkpoint(int(record["step"]), from_safetensors(data), dict(record["content"]))
        except CorruptFile:
            return None
        except AutosparseError:
            raise
        except (*ABSENT, SafetensorError, KeyError, TypeError, ValueError):
            return None

    def _bytes(self, name: str) -> bytes:
        with _answering(f"{self.place}/{name}"):
            return self.place.read(name)

    def _remove(self, stem: str) -> None:
        """Remove the JSON file first: without it the other file does not count."""
        for suffix in (".json", ".safetensors"):
            self.place.remove(f"{stem}{suffix}")


@contextlib.contextmanager
def _answering(path: str) -> Iterator[None]:
    """Raise :class:`Unreachable` if a disk fails.

    If it were taken for empty, the work would be redone and its checkpoints removed.
    """
    try:
        yield
    except ABSENT:
        raise
    except OSError as error:
        reason = error.strerror or error
        raise Unreachable(
            f"cannot read {path}: {reason}; make it readable, wait until its disk answers, or remove it, and run again"
        ) from error
