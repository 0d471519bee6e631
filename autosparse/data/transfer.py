"""From the host to the device, without waiting."""

import torch
from torch import Tensor


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy ``tensor`` from the CPU to ``device``; through pinned memory, so that the host need not wait."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
