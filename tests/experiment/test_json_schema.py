"""The JSON schema of experiment files: it takes what `run` takes, and refuses wrong keys and types."""

import copy

import pytest
from jsonschema import Draft7Validator, Draft202012Validator

from autosparse.experiment.files import TEMPLATE, shipped_files
from autosparse.experiment.json_schema import json_schema
from autosparse.experiment.strict_yaml import parse_yaml

SCHEMA = json_schema()
FILES = {**shipped_files(), "template": TEMPLATE}
DIALECTS = [Draft7Validator, Draft202012Validator]
GOOD = {
    "name": "mine",
    "recipes": {"fast": {"lr": 0.1}},
    "irp": {"run": {"model": "lenet-300-100", "dataset": "digits", "recipe": "fast"}},
    "scorers": {"learned": {"irp": "run"}},
    "grid": {
        "models": ["my_module:factory", {"name": "resnet20", "width": 32, "layers": [1, 2]}, "resnet20(width=8)"],
        "datasets": ["subset:100:mnist"],
        "methods": ["snip", {"criterion": "irp", "irp": "run", "levels": 3}],
        "sparsities": [0.9],
        "seeds": [0],
        "recipe": {"epochs": 1, "milestones": []},
    },
    "presets": {"small": {"base": "digits", "drop": ["scorers.learned"], "set": {"grid.*.seeds": [0]}}},
}


def mistakes(content, dialect=Draft202012Validator):
    return [(".".join(map(str, e.path)), e.message) for e in dialect(SCHEMA).iter_errors(content)]


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
def test_it_is_a_schema_in_the_dialect_of_editors_and_in_that_of_tools(dialect):
    dialect.check_schema(SCHEMA)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.__name__)
@pytest.mark.parametrize("name", FILES)
def test_it_takes_every_file_that_autosparse_brings(name, dialect):
    assert not mistakes(parse_yaml(FILES[name].read_text(), name), dialect)


def test_it_takes_short_forms_and_names_of_code():
    assert not mistakes(GOOD)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("sed",), 3),
        (("name",), "../up"),
        (("plugins",), "my_module"),
        (("grid", "sparsitys"), [0.9]),
        (("grid", "sparsities"), [95]),
        (("grid", "sparsities"), "0.9"),
        (("grid", "models"), [{"width": 32}]),
        (("grid", "models"), [{"name": "resnet20", "width": {"first": 32}}]),
        (("irp", "run", "model"), {"name": 3}),
        (("grid", "seeds"), []),
        (("grid", "seeds"), [0.5]),
        (("grid", "recipe", "epoch"), 3),
        (("grid", "recipe", "epochs"), "ten"),
        (("grid", "recipe", "optimizer"), "adamm"),
        (("grid", "recipe", "augmentation"), "flip"),
        (("irp", "run", "schedule"), "cubic"),
        (("irp", "run", "iterations"), 0),
        (("irp", "a name with blanks"), {"model": "lenet-5", "dataset": "mnist"}),
        (("scorers", "learned", "irp"), 3),
        (("recipes", "fast", "lr"), "high"),
        (("presets", "small", "sets"), {}),
        (("presets", "paper"), {}),
    ],
    ids=lambda value: ".".join(value) if isinstance(value, tuple) else str(value),
)
def test_it_refuses_a_wrong_key_or_type(place, value):
    content = copy.deepcopy(GOOD)
    holder = content
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = value
    assert mistakes(content)


def test_it_refuses_a_file_without_a_required_key():
    assert mistakes({key: value for key, value in GOOD.items() if key != "name"})


def test_it_offers_names_to_complete_and_takes_others():
    name, mapping = SCHEMA["$defs"]["GridSpec"]["properties"]["models"]["items"]["anyOf"]
    offered, other = name["anyOf"]
    assert "lenet-300-100" in offered["enum"]
    assert other == {"type": "string"}
    assert mapping["required"] == ["name"]
