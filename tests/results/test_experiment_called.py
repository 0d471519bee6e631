"""An experiment in MLflow is asked for by its own name, or by its file."""

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.errors import AutosparseError
from autosparse.results.named import experiment_called

pytestmark = pytest.mark.usefixtures("here")


def test_its_own_name_comes_before_a_file_of_that_name(client):
    client.create_experiment("sweep")
    client.create_experiment("sweep-small")
    assert experiment_called(client, "sweep") == "sweep"


@pytest.mark.parametrize("given", ["ours/sweep", "mine.yaml"])
def test_a_file_stands_for_the_preset_that_has_run(client, given, tmp_path):
    (tmp_path / "mine.yaml").write_text("name: sweep\npresets: {small: {}, smoke: {}}\n")
    client.create_experiment("sweep-smoke")
    assert experiment_called(client, given) == "sweep-smoke"


def test_a_file_that_has_run_at_several_presets_is_refused_with_their_names(client):
    client.create_experiment("sweep-smoke")
    client.create_experiment("sweep-small")
    with pytest.raises(AutosparseError, match="several presets: give one of sweep-small, sweep-smoke"):
        experiment_called(client, "ours/sweep")


def test_a_file_that_has_not_run_is_refused_with_the_command_that_runs_it(client):
    with pytest.raises(AutosparseError, match="`autosparse run lenet-mnist` makes one"):
        experiment_called(client, "lenet-mnist")


def test_what_is_neither_is_left_to_whoever_looks_for_it(client):
    assert experiment_called(client, "absent") == "absent"


@pytest.mark.parametrize(
    "command",
    [
        ["best", "--experiment"],
        ["promote", "--experiment"],
        ["report"],
        ["watch", "--once"],
        ["compare", "lenet-mnist"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_that_asks_mlflow_takes_a_file(client, command):
    answer = CliRunner().invoke(app, [*command, "lenet-mnist", "--tracking-uri", client.tracking_uri])
    assert "`autosparse run lenet-mnist` makes one" in str(answer.exception)
