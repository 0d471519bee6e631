"""Little memory, and a survival set, for the tests that give loaders arbitrary content."""

import resource
from pathlib import Path

import pytest
from builders import a_survival


@pytest.fixture
def little_memory():
    """Fails what asks for 4 GiB more than is in use."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (in_use + 4 * 2**30, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def survival():
    return a_survival(40, 10)
