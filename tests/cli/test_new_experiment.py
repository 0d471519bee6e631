"""``init``, ``schema`` and ``help``: from nothing to an experiment file that an editor checks."""

import json

import pytest
from typer.testing import CliRunner

from autosparse.cli import app
from autosparse.experiment.json_schema import json_schema
from autosparse.experiment.load import load_experiment


@pytest.fixture
def call(here):
    """Call ``autosparse`` in an empty folder."""
    return lambda *arguments: CliRunner().invoke(app, list(arguments), env={"COLUMNS": "80"})


@pytest.mark.parametrize("source", [(), ("--from", "table-4")], ids=["template", "shipped file"])
def test_a_new_file_loads_under_its_own_name(call, source):
    assert call("init", "mine", *source).exit_code == 0
    assert load_experiment("mine.yaml").paper.name == "mine"


def test_a_new_file_points_to_the_schema_beside_it(call, tmp_path):
    call("init", "mine")
    pointer, file = (tmp_path / "mine.yaml").read_text().splitlines()[0].split("=")
    assert pointer == "# yaml-language-server: $schema"
    assert json.loads((tmp_path / file).read_text()) == json_schema()


def test_a_copy_keeps_the_comments(call, tmp_path):
    call("init", "mine", "--from", "lenet-mnist")
    assert "# an initialisation that the grid below never sees" in (tmp_path / "mine.yaml").read_text()


@pytest.mark.parametrize("name", ["2024", "on", "null", "1.5", "2026-11-30", "0x1f"])
def test_a_name_that_yaml_would_take_for_something_else_stays_a_name(call, tmp_path, name):
    call("init", name)
    assert load_experiment(tmp_path / f"{name}.yaml").experiment.name == name


def test_a_copy_of_a_new_file_points_to_the_schema_once(call, tmp_path):
    call("init", "first")
    call("init", "second", "--from", "first")
    assert (tmp_path / "second.yaml").read_text().count("$schema=") == 1


def test_a_file_that_is_there_is_never_overwritten(call, tmp_path):
    (tmp_path / "mine.yaml").write_text("precious")
    assert "mine.yaml is there already" in str(call("init", "mine").exception)
    assert (tmp_path / "mine.yaml").read_text() == "precious"


def test_a_schema_of_another_version_is_left_alone_with_a_word(call, tmp_path):
    (tmp_path / "autosparse.schema.json").write_text("{}")
    assert "is of another version" in call("init", "mine").stderr
    assert (tmp_path / "autosparse.schema.json").read_text() == "{}"


def test_a_name_that_leads_elsewhere_is_refused(call, tmp_path):
    assert "not a name" in str(call("init", "../mine").exception)
    assert not list(tmp_path.iterdir())


def test_the_schema_is_all_that_is_printed(call):
    assert json.loads(call("schema").stdout) == json_schema()


def test_the_schema_is_written_to_a_file(call, tmp_path):
    assert "$schema=own.json" in call("schema", "--out", "own.json").stdout
    assert json.loads((tmp_path / "own.json").read_text()) == json_schema()


def test_help_lists_all_keys(call):
    told = call("help").stdout
    assert all(key in told for key in ("recipes", "presets", "final_density", "generations", "ablation"))


def test_help_of_a_section_has_its_keys_with_type_and_default(call):
    told = call("help", "recipe").stdout
    assert all(part in told for part in ("batch_size", "whole number", "128", "Images in each step"))


def test_help_is_json_on_demand(call):
    (told,) = json.loads(call("help", "recipe.lr", "--json").stdout)
    assert (told["type"], told["default"]) == ("number", "0.0012")


def test_help_of_a_command_says_where_that_is(call):
    assert "`autosparse run --help`" in str(call("help", "run").exception)


@pytest.mark.parametrize("listing", [["list", "criteria"], ["help", "grid"], ["list", "experiments"]], ids=str)
def test_a_listing_fits_80_columns_and_cuts_nothing(call, listing):
    told = call(*listing).stdout
    assert max(map(len, told.splitlines())) <= 80
    assert "…" not in told
