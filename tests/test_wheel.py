"""The wheel: what is in it, and that it works from an empty folder without the checkout."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from autosparse.experiment.commit import checked_out

ROOT = Path(__file__).parents[1]
SHIPPED = "autosparse/experiment/shipped/"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The built wheel, unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (file,) = folder.glob("*.whl")
    unpacked = folder / "unpacked"
    zipfile.ZipFile(file).extractall(unpacked)
    return unpacked


@pytest.fixture
def autosparse(wheel, tmp_path):
    """Call the wheel's ``autosparse`` in an empty folder."""
    environment = {**os.environ, "PYTHONPATH": str(wheel), "COLUMNS": "160"}

    def call(*arguments):
        run = [sys.executable, "-P", "-c", "from autosparse.cli import main; main()", *arguments]
        return subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    return call


def test_it_has_every_experiment_file_and_nothing_else_of_their_folder(wheel):
    shipped = {str(file.relative_to(wheel / SHIPPED)) for file in (wheel / SHIPPED).rglob("*") if file.is_file()}
    assert shipped == {str(file.relative_to(ROOT / "experiments")) for file in (ROOT / "experiments").rglob("*.yaml")}


def test_an_experiment_is_planned_by_its_name_from_an_empty_folder(autosparse):
    answer = autosparse("run", "ours/sweep", "--dry-run", "--download")  # MNIST may be absent
    assert answer.returncode == 0, answer.stderr
    assert "Plan of sweep-small" in answer.stdout


def test_its_experiments_are_listed(autosparse):
    assert "lenet-mnist" in autosparse("list", "experiments").stdout


def test_it_tells_the_commit_that_it_was_built_from(autosparse):
    commit = checked_out()
    if commit is None:
        pytest.skip("these tests do not lie in a checkout")
    assert f"(git {commit})" in autosparse("--version").stdout
