"""Messages that say what was probably meant, and tables that cut nothing."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from autosparse.cli import app, common, demo
from autosparse.errors import AutosparseError
from autosparse.experiment.load import load_experiment


def said(*arguments):
    """What the command line says of a mistake, in one line."""
    answer = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "300"})
    return " ".join(answer.output.replace("│", " ").split())


def test_a_wrong_stage_is_refused_with_the_nearest_and_nothing_of_pydantics():
    told = said("run", "lenet-mnist", "--only", "grids")
    assert "'grids' is not one of irp, sweeps, scorers, grid, report; did you mean 'grid'?" in told
    assert "Value error" not in told


def test_a_wrong_listing_is_refused_with_the_nearest():
    assert "did you mean 'models'?" in said("list", "model")


@pytest.mark.parametrize(
    "command",
    [
        ["best", "--experiment", "x"],
        ["promote", "--experiment", "x"],
        ["prune", "--out", "x"],
        ["explain", "scorer", "--out", "x"],
        ["score", "--scorer", "x", "--out", "x", "--features", "x"],
    ],
    ids=lambda command: command[0],
)
def test_a_sparsity_in_percent_is_refused_with_the_share(command):
    assert "95 is not between 0 and 1: 0.95?" in said(*command, "--sparsity", "95")


def test_a_sparsity_that_is_no_percentage_either_is_refused_without_a_guess():
    assert "-1 is not between 0 and 1 " in said("best", "--experiment", "x", "--sparsity", "-1") + " "


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("grid.0.seeds=0,1,2", "seeds: .*: write [0, 1, 2]"),
        ("grid.0.seeds=3", "seeds: .*: write [3]"),
        ("grid.0.models=lenet-5, vgg19", "models: .*: write [lenet-5, vgg19]"),
        ("grid.0.sparsities=[95]", "sparsities[0]: .*: 0.95?"),
        ("irp.snip.final_density=5", "final_density: .*: 0.05?"),
    ],
)
def test_a_wrong_value_of_a_file_is_refused_with_the_likely_one(change, reason):
    head, _, tail = reason.partition(".*")
    with pytest.raises(AutosparseError, match=f"{re.escape(head)}.*{re.escape(tail)}$"):
        load_experiment("lenet-mnist", set=[change])


def test_a_path_that_leaves_out_the_list_is_refused_with_the_one_for_all_its_items():
    with pytest.raises(AutosparseError, match=r"'grid.seeds': 'seeds' is a key .* write grid\.\*\.seeds$"):
        load_experiment("lenet-mnist", set=["grid.seeds=[0]"])


def test_a_lead_of_nothing_has_no_sign():
    assert common.plus_minus(-0.001, 0.69) == "0.00 ± 0.69"
    assert common.plus_minus(-0.01, None) == "-0.01"
    assert common.plus_minus(-0.00001, 0.00069, 4) == "0.0000 ± 0.0007"
    assert (common.digits_of([0.9, 1.0]), common.digits_of([0.9, 91.0])) == (4, 2)


@pytest.mark.parametrize("change", ["grid.0.seeds={a: 1}", "grid.0.sparsities=[1.0]", "grid.0.sparsities=[-1]"])
def test_nothing_is_guessed_where_nothing_suggests_itself(change):
    with pytest.raises(AutosparseError) as caught:
        load_experiment("lenet-mnist", set=[change])
    assert str(caught.value).splitlines()[0].rpartition("got ")[2] in ("{'a': 1}", "1.0", "-1")


def test_long_settings_are_told_below_the_table_and_rows_name_them_by_number(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    long = "recipe.epochs=10, recipe.weight_decay=0.0005, recipe.milestones=(60, 120)"
    rows = [{"method": name, "settings": settings} for name, settings in (("snip", long), ("grasp", ""), ("x", long))]
    common.listing_with_notes(rows, "")
    table, _, notes = capsys.readouterr().out.partition("settings 1: ")
    assert notes.strip() == long
    assert re.findall(r"(\w+) +│ (\d?) ", table) == [("snip", "1"), ("grasp", ""), ("x", "1")]


def test_a_table_that_is_too_narrow_folds_words_and_cuts_none(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "20")
    common.listing([{"method": "magnitude-after-training"}], "")
    told = capsys.readouterr().out
    assert "".join(re.findall(r"│ (.*?) *│", told)) == "magnitude-after-training"


def test_the_only_network_is_told_in_the_title_and_several_in_a_column(capsys):
    rows = [{"network": f"{model} on digits", "settings": "", "best": "snip"} for model in ("a", "b")]
    common.listing_with_notes(rows[:1], "Title")
    assert capsys.readouterr().out.splitlines()[0].strip() == "a on digits. Title"
    common.listing_with_notes(rows, "Title")
    assert "network" in capsys.readouterr().out


def test_the_place_of_the_demos_report_is_told_with_its_brackets(capsys):
    demo.print_next(Path("runs[old]") / "index.html", "http://localhost:5000", "demo")
    assert "Report: runs[old]/index.html" in capsys.readouterr().out
