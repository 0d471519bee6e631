"""Find the device that the user names, and check that the GPU still answers this process."""

import torch

from autosparse.devices import DeviceLost, backend, synchronize
from autosparse.errors import AutosparseError, first_line


def device_named(name: str) -> str:
    """The device that users call ``name``; ``auto`` is the first GPU, or the CPU if there is none.

    :raises AutosparseError: if PyTorch does not know such a device, or this machine has none.
    """
    if name == "auto":
        current = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
        return current.type if current else "cpu"
    try:
        device = torch.device(name)
        accelerator = backend(device)
    except RuntimeError as error:
        raise AutosparseError(f"no device is called {name!r}: take cpu, cuda, cuda:1 or auto") from error
    there = 1 if accelerator is None else accelerator.device_count() if accelerator.is_available() else 0
    if (device.index or 0) >= there:
        raise AutosparseError(f"there is no device {name!r} here: PyTorch sees {there} of its kind; take cpu or auto")
    return name


def require_device() -> None:
    """Raise if an earlier error, such as a failed assertion in a kernel, has broken the device for this process.

    :raises DeviceLost: if it has. An error that the process survives, such as a lack of memory, is not raised again.
    """
    try:
        synchronize()
    except RuntimeError as error:
        raise DeviceLost(f"{first_line(error)}, after which the GPU no longer responds to this process") from error
