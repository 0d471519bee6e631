"""The wheel: what is in it, and that it works from an empty folder without the checkout."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = "autosparse/experiment/shipped/"

pytestmark = pytest.mark.slow


@pytest.fixture
def autosparse(installed, tmp_path):
    """Call the wheel's ``autosparse`` in an empty folder."""
    return lambda *arguments: installed(tmp_path, *arguments)


def test_it_has_every_experiment_file_and_nothing_else_of_their_folder(wheel):
    shipped = {str(file.relative_to(wheel / SHIPPED)) for file in (wheel / SHIPPED).rglob("*") if file.is_file()}
    assert shipped == {str(file.relative_to(ROOT / "experiments")) for file in (ROOT / "experiments").rglob("*.yaml")}


def test_an_experiment_is_planned_by_its_name_from_an_empty_folder(autosparse):
    answer = autosparse("run", "ours/sweep", "--dry-run", "--download")  # MNIST may be absent
    assert answer.returncode == 0, answer.stderr
    assert "Plan of sweep-small" in answer.stdout


def test_its_experiments_are_listed(autosparse):
    assert "lenet-mnist" in autosparse("list", "experiments").stdout


def test_it_tells_the_commit_that_it_was_built_from(wheel, autosparse):
    commit = (wheel.parent / "commit.txt").read_text()
    if not commit:
        pytest.skip("these tests do not lie in a checkout")
    assert f"(git {commit})" in autosparse("--version").stdout
