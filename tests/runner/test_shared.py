"""Asking each node whether it sees the storage, if nodes have gone or cannot answer."""

import pytest

from autosparse.errors import AutosparseError

pytestmark = pytest.mark.usefixtures("ray_running")


def test_a_node_that_has_gone_since_it_was_listed_is_no_obstacle(tmp_path):
    from autosparse.runner.driver.shared import _answer, _look_on

    assert _answer(_look_on("ab" * 28).remote(str(tmp_path), "name", b"token"), "node x") == ""


def test_a_node_without_the_package_is_named_with_the_cure():
    import ray

    from autosparse.runner.driver.shared import _answer

    @ray.remote
    def fails():
        raise ModuleNotFoundError("No module named 'autosparse'")

    with pytest.raises(
        AutosparseError, match=r"node x cannot run autosparse \(.*No module named 'autosparse'\): install"
    ):
        _answer(fails.remote(), "node x")
