"""What `autosparse help` says of a key comes from the models of experiment files."""

from dataclasses import fields

import pytest

from autosparse.errors import UnknownName
from autosparse.experiment.keys import all_keys, find_keys, type_of
from autosparse.experiment.schema import Experiment
from autosparse.training import Recipe


def every(keys):
    for key in keys:
        yield key
        yield from every(key.inner)


def test_every_key_has_a_meaning():
    assert [key.paths[0] for key in every(all_keys()) if not key.meaning] == []


def test_the_keys_of_the_top_level_are_those_of_an_experiment_and_what_is_read_before_it():
    assert [key.name for key in all_keys()] == [*Experiment.model_fields, "recipes", "presets"]


@pytest.mark.parametrize(
    "asked", ["recipe.lr", "grid.recipe.lr", "grid[0].recipe.lr", "grid.*.recipe.lr", "irp.snip.recipe.lr"]
)
def test_a_key_is_found_as_files_and_errors_and_changes_write_it(asked):
    (key,) = find_keys(asked)
    assert (key.type, key.default) == ("number", str(Recipe.lr))


def test_a_section_has_the_keys_in_it():
    (key,) = find_keys("recipe")
    assert [inner.name for inner in key.inner] == [field.name for field in fields(Recipe)]


def test_keys_that_mean_the_same_are_told_once_with_all_their_places():
    assert find_keys("recipe")[0].paths == ("irp.NAME.recipe", "sweeps.NAME.downstream.recipe", "grid.recipe")


def test_keys_that_mean_something_else_are_told_one_by_one():
    assert [key.paths[-1] for key in find_keys("lr")] == ["recipes.NAME.lr", "scorers.NAME.lr"]


def test_a_key_of_the_top_level_comes_alone():
    assert [key.paths for key in find_keys("irp")] == [("irp",)]


def test_a_key_without_default_is_required():
    assert find_keys("grid.models")[0].default == "required"


def test_known_names_are_told():
    assert "lenet-300-100" in find_keys("grid.models")[0].known


def test_a_model_may_be_a_name_or_a_mapping_with_one():
    assert find_keys("grid.models")[0].type == "list of names or mappings"
    assert [key.name for key in find_keys("irp.snip.model")[0].inner] == ["name"]


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(UnknownName, match="did you mean 'milestones'"):
        find_keys("milestone")


@pytest.mark.parametrize(
    ("schema", "told"),
    [
        ({"type": "integer", "minimum": 1}, "whole number >= 1"),
        ({"type": "number", "exclusiveMinimum": 0, "maximum": 1}, "number > 0, <= 1"),
        ({"enum": ["a", "b", "c"]}, "a, b or c"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "whole number or null"),
        ({"anyOf": [{"enum": ["a"]}, {"type": "string"}]}, "name"),
        ({"type": "array", "items": {"type": "number", "minimum": 0}}, "list of numbers >= 0"),
        ({"type": "object", "additionalProperties": {"$ref": "x"}}, "mapping of names to mappings"),
        ({"type": "object"}, "mapping"),
        ({"anyOf": [{"type": t} for t in ("boolean", "integer", "number", "string")]}, "value"),
    ],
    ids=str,
)
def test_types_are_told_in_words(schema, told):
    assert type_of(schema) == told
