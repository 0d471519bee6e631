"""How an experiment file is found: what is here comes before what is shipped, and a name stands for one file."""

import pytest

from autosparse.errors import AutosparseError
from autosparse.experiment.files import experiment_names, find_file, shipped_files
from autosparse.experiment.load import load_experiment

MINE = "name: mine\nirp: {run: {model: lenet-300-100, dataset: digits}}\n"


@pytest.mark.parametrize("given", ["ours/sweep", "sweep", "ours-sweep"])
def test_a_shipped_file_is_found_with_or_without_its_folder(here, given):
    found = find_file(given)
    assert (found.name, found.shipped) == ("ours/sweep", True)


@pytest.mark.parametrize("path", ["lenet-mnist", "lenet-mnist.yaml", "experiments/lenet-mnist.yaml"])
def test_a_file_in_the_current_folder_wins(here, path):
    (here / "experiments").mkdir()
    (here / path).write_text(MINE)
    assert (find_file("lenet-mnist").name, find_file("lenet-mnist").shipped) == (path, False)


def test_a_folder_of_the_name_is_no_experiment(here):
    (here / "lenet-mnist").mkdir()
    assert find_file("lenet-mnist").shipped


def test_a_path_that_is_not_there_is_not_taken_for_a_name(here):
    with pytest.raises(AutosparseError, match=r"no experiment file experiments/sweep.yaml: did you mean ours/sweep\?"):
        find_file("experiments/sweep.yaml")


def test_a_name_of_several_files_is_refused_with_all_of_them(here):
    with pytest.raises(AutosparseError, match="give one of autosparse/table-1, prospr/table-1"):
        find_file("table-1")


def test_an_unknown_name_is_refused_in_one_line_with_the_nearest_and_where_to_look(here):
    with pytest.raises(AutosparseError) as caught:
        find_file("lenet-mnits")
    assert str(caught.value) == (
        "no experiment file lenet-mnits: did you mean lenet-mnist? `autosparse list experiments` shows those at hand"
    )


def test_every_shipped_name_stands_for_its_own_file(here):
    assert {name: find_file(name).path for name in shipped_files()} == shipped_files()


def test_a_loaded_file_is_called_by_its_name_and_not_by_where_it_is_installed(here):
    assert load_experiment("lenet-mnist").file == "lenet-mnist"


def test_an_error_in_a_shipped_file_is_told_under_its_name(here):
    with pytest.raises(AutosparseError, match=r"^lenet-mnist: grid\[0\].recipe.epochs: "):
        load_experiment("lenet-mnist", set=["grid.0.recipe.epochs=few"])


def test_the_experiments_of_a_file_are_named_by_its_presets(here):
    assert experiment_names("ours/sweep") == ["sweep-paper", "sweep-gpu", "sweep-small", "sweep-smoke"]


def test_the_experiment_of_a_file_without_presets_has_its_name(here):
    assert experiment_names("lenet-mnist") == ["lenet-mnist"]
