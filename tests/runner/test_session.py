"""A Ray that does not start is told of in one line."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.runner.driver.session import ray_session
from autosparse.runner.settings import Settings


def test_a_machine_that_is_too_busy_for_ray_is_told_of(monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    import ray

    def late(**_):
        raise Exception(
            "The current node timed out during startup. This could happen because some of the raylet failed"
        )

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", late)
    told = "cannot reach or start a local Ray: .* this machine is very busy: try again"
    with pytest.raises(AutosparseError, match=told), ray_session(Settings()):
        pass
