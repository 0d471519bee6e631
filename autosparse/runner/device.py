"""Whether the GPU still answers this process."""

import torch


class DeviceLost(RuntimeError):
    """An error on the GPU after which each call of this process to it fails: the task at hand, and any that follows.

    No AutosparseError: it is for the driver, which has another process go on.
    """


def require_device() -> None:
    """Raise where an earlier error, such as a failed assertion in a kernel, has broken this process.

    :raises DeviceLost: then; one that the process survives, such as memory that was short, is not raised again.
    """
    current = torch.accelerator.current_accelerator()
    known = {torch.cuda} | ({torch.get_device_module(current)} if current else set())
    try:
        for own in known:
            if own.is_initialized():
                own.synchronize()
    except RuntimeError as error:
        reason, _, _ = str(error).partition("\n")
        raise DeviceLost(f"{reason}, after which the GPU answers this process no more") from error
