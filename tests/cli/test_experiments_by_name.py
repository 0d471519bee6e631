"""Commands take an experiment by the name of its file, from any folder."""

import json

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.cli.run import complete_file, planned

MINE = "name: mine\ndescription: my own\nirp: {run: {model: lenet-300-100, dataset: digits}}\n"


def call(*arguments):
    return CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.mark.parametrize("command", ["run", "sweep"])
def test_a_shipped_experiment_is_planned_from_an_empty_folder(here, command):
    answer = call(command, "ours/sweep", "--dry-run", "--json", "--download")  # MNIST may be absent
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["experiment"] == "sweep-small"


def test_records_tell_the_name_and_the_command_that_run_it_again(here):
    about = planned("sweep", "smoke", []).about
    assert (about["file"], about["command"]) == ("ours/sweep", "autosparse run ours/sweep --preset smoke")


def test_the_ids_do_not_depend_on_where_the_file_is(here):
    from autosparse.experiment.files import shipped_files

    (here / "copy.yaml").write_text(shipped_files()["lenet-mnist"].read_text())
    ids = [[p.task.id for p in planned(file, None, [])] for file in ("lenet-mnist", "copy.yaml")]
    assert ids[0] == ids[1]


def test_the_listing_has_what_is_here_and_what_is_shipped(here):
    (here / "experiments").mkdir()
    (here / "experiments" / "mine.yaml").write_text(MINE)
    files = [row["file"] for row in json.loads(call("list", "experiments", "--json").stdout)]
    assert files[0] == "experiments/mine.yaml"
    assert {"demo", "lenet-mnist", "ours/sweep", "autosparse/table-4"} <= set(files)


def test_a_shipped_file_that_lies_here_too_is_listed_once(here):
    (here / "experiments").mkdir()
    (here / "experiments" / "lenet-mnist.yaml").write_text(MINE)
    files = [row["file"] for row in json.loads(call("list", "experiments", "--json").stdout)]
    assert [file for file in files if "lenet-mnist" in file] == ["experiments/lenet-mnist.yaml"]


def test_a_shell_completes_files_and_names(here):
    (here / "lenet-own.yaml").write_text(MINE)
    assert complete_file("lenet") == ["lenet-own.yaml", "lenet-mnist"]
