"""Recipes by name: written out wherever they are named, changed in one place, refused in one line."""

import pytest
from builders import a_grid

from autosparse.errors import AutosparseError
from autosparse.experiment.load import parse_experiment, parse_loaded

IRP = {"model": "lenet-300-100", "dataset": "digits", "recipe": "short"}
GRID = a_grid()
CONTENT = {
    "name": "x",
    "recipes": {"short": {"epochs": 1}, "long": {"epochs": 9, "lr": 0.5}},
    "irp": {"run": IRP},
    "grid": [{**GRID, "name": "one", "recipe": "long"}, {**GRID, "name": "other", "recipe": {"epochs": 3}}],
    "presets": {"small": {"set": {"recipes.long.epochs": 2}}, "tiny": {"set": {"grid.*.recipe.epochs": 4}}},
}


def epochs(loaded):
    own = loaded.experiment
    return own.irp["run"].recipe.epochs, *(grid.recipe.epochs for grid in own.grid)


def test_a_named_recipe_is_as_if_it_stood_there():
    named = parse_experiment({key: own for key, own in CONTENT.items() if key != "presets"}, "x")
    written = {
        "name": "x",
        "irp": {"run": {**IRP, "recipe": {"epochs": 1}}},
        "grid": [
            {**GRID, "name": "one", "recipe": {"epochs": 9, "lr": 0.5}},
            {**GRID, "name": "other", "recipe": {"epochs": 3}},
        ],
    }
    assert named == parse_experiment(written, "x")


@pytest.mark.parametrize(
    ("preset", "changes", "expected"),
    [
        ("paper", [], (1, 9, 3)),
        ("small", [], (1, 2, 3)),  # one recipe, wherever it is named
        ("tiny", [], (1, 4, 4)),  # the recipe of each grid, whatever it is called
        ("small", ["recipes.short.epochs=7"], (7, 2, 3)),
        ("paper", ["grid.one.recipe.epochs=5"], (1, 5, 3)),
        ("small", ["grid.one.recipe.epochs=5"], (1, 5, 3)),
    ],
)
def test_presets_and_users_change_a_recipe_or_one_use_of_it(preset, changes, expected):
    assert epochs(parse_loaded(CONTENT, "x.yaml", preset, changes)) == expected


def test_a_recipe_of_a_sweeps_networks_can_be_named_too():
    downstream = {"model": "lenet-300-100", "dataset": "digits", "sparsity": 0.9, "recipe": "long"}
    sweeps = {"search": {"irp": "run", "points": [{"lr": 0.1}], "downstream": downstream}}
    own = parse_loaded({**CONTENT, "sweeps": sweeps}, "x.yaml", "paper").experiment
    assert own.sweeps["search"].downstream.recipe.epochs == 9


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            {"irp": {"run": {**IRP, "recipe": "shrt"}}},
            r"x: unknown recipe \(of irp 'run'\) 'shrt': did you mean 'short'",
        ),
        ({"grid": [{**GRID, "recipe": "none"}]}, r"x: unknown recipe \(of grid 0\) 'none'"),
        ({"recipes": ["long"]}, "x: recipes: must be a mapping of names to recipes"),
        ({"recipes": {"short": 3}}, "x: recipes: must be a mapping of names to recipes"),
        ({"recipes": {"short": {"epocs": 1}}}, "irp.run.recipe.epocs: unknown key; did you mean 'epochs'?"),
    ],
)
def test_what_names_no_recipe_is_refused_in_a_line(change, said):
    content = {key: own for key, own in CONTENT.items() if key != "presets"} | change
    if "recipes" in change:
        content["grid"] = []
    with pytest.raises(AutosparseError, match=said):
        parse_experiment(content, "x")


def test_a_misspelt_block_is_told():
    with pytest.raises(AutosparseError, match="recipies: unknown key; did you mean 'recipes'"):
        parse_experiment({"name": "x", "irp": {"run": {**IRP, "recipe": {}}}, "recipies": {}}, "x")
