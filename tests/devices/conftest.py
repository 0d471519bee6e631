"""The emulated device."""

import emulated
import pytest

try:  # here, at collection: PyTorch's autograd learns at its first backward pass, once, which devices there are
    AWAY = None
    emulated.install()
except (ImportError, AttributeError) as error:
    AWAY = f"this PyTorch takes no backend that is written in Python: {error}"


@pytest.fixture
def device():
    """The emulated device, as fresh from its maker."""
    if AWAY:
        pytest.skip(AWAY)
    emulated.DEVICE.reset()
    emulated.DEVICE.there = True
    yield emulated.DEVICE
    emulated.DEVICE.reset()
