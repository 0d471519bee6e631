"""What the checkpoints of cells and those of IRP runs have in common."""

import contextlib
import logging
from collections.abc import Iterator

import torch

from autosparse.devices import DeviceLost
from autosparse.errors import AutosparseError, Unreachable, first_line
from autosparse.experiment.record import Json
from autosparse.training import Execution
from autosparse.version import __version__

logger = logging.getLogger(__name__)


def computed_with(device: torch.device, execution: Execution) -> Json:
    """What may change the last bits of a training: it goes on only if all of this is as it was."""
    return {
        "device": device.type,
        "precision": execution.precision_on(device),
        "compact": execution.compact,
        "versions": [__version__, str(torch.__version__)],
    }


@contextlib.contextmanager
def at_most_a_warning(warning: str) -> Iterator[None]:
    """Let the block keep a checkpoint; if that fails, log ``warning`` with the reason, and go on.

    :raises CannotWrite: if the storage is full, or refuses to be written.
    :raises DeviceLost: if the device is lost.
    """
    try:
        yield
    except Exception as error:  # such as a user's network with a state that safetensors cannot hold
        if isinstance(error, AutosparseError | DeviceLost) and not isinstance(error, Unreachable):
            raise
        logger.warning("%s: %s", warning, first_line(error))
