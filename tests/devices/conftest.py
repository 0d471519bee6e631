"""The emulated device."""

import emulated
import pytest


@pytest.fixture
def device():
    """The emulated device, as fresh from its maker."""
    try:
        emulated.install()
    except (ImportError, AttributeError) as error:
        pytest.skip(f"this PyTorch has no Python backends: {error}")
    emulated.DEVICE.reset()
    return emulated.DEVICE
