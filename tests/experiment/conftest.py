"""What the tests of records share."""

import pytest

from tests.experiment.gathered import filled


@pytest.fixture
def store_of_ten(store):
    """A store with ten finished cells, whose accuracies are their places in the list."""
    return filled(store)
