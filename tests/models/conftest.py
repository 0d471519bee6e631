"""Models as a user has them, in modules of this folder."""

from pathlib import Path

import pytest


@pytest.fixture
def user_models_are_importable(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
