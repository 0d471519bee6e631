"""The JSON schema of experiment files: what the models of :mod:`autosparse.experiment.schema` say, as files write it.

Editors complete and check files by it. It names no dialect, because editors know the older one and tools the newer;
what it says means the same in both. What needs more than a look at one key, such as a reference to an IRP run, is left
to ``autosparse run --dry-run``.
"""

import json
import re
from typing import Any

from autosparse.data.augment import AUGMENTATIONS
from autosparse.experiment.presets import BASES, PAPER
from autosparse.experiment.recipes import BLOCK
from autosparse.experiment.schema import Experiment

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
RECIPE: Schema = {"$ref": "#/$defs/Recipe"}
ALONE = (("GridSpec", "published"), ("ScorerSpec", "irp"), ("SweepSpec", "irp"), ("MethodSpec", "levels"))
"""Lists that may be written as their only item."""
RECIPE_NAME: Schema = {"type": "string", "pattern": "."}
TRAINED = ("IrpSpec", "GridSpec", "Downstream")
"""Sections with a recipe, which may be given by name."""
PATHS = "Paths of keys with dots between, such as grid.*.recipe.epochs; a list's items by number, name, or *."
PRESETS: Schema = {
    "description": "Smaller scales of the file by name; --preset chooses one, or paper for the file as it stands.",
    "type": "object",
    "propertyNames": {"not": {"const": PAPER}},
    "additionalProperties": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "base": {
                "description": "What is set first; digits: everything once, in seconds, on the embedded data.",
                "enum": list(BASES),
            },
            "drop": {"description": f"What is left out. {PATHS}", "type": "array", "items": TEXT, "default": []},
            "set": {"description": f"Values by their paths. {PATHS}", "type": "object", "default": {}},
        },
    },
}


def json_schema() -> Schema:
    """The JSON schema of an experiment file, with a description of every key."""
    schema: Schema = _plain(Experiment.model_json_schema())
    parts, keys = schema["$defs"], schema["properties"]
    for part, key in ALONE:
        _widen(parts[part]["properties"], key, lambda listed: {"anyOf": [_items(listed), listed]})
    for part in TRAINED:
        _widen(parts[part]["properties"], "recipe", lambda recipe: {"anyOf": [RECIPE_NAME, recipe]})
    _widen(keys, "grid", lambda grids: {"anyOf": [grids["items"], grids]})
    methods = parts["GridSpec"]["properties"]["methods"]
    methods["items"] = {"anyOf": [parts["MethodSpec"]["properties"]["criterion"], methods["items"]]}
    parts["Recipe"]["properties"]["augmentation"]["enum"] = list(AUGMENTATIONS)
    keys[BLOCK] = {
        "description": "Recipes by name, which irp, downstream and grid may refer to.",
        "type": "object",
        "additionalProperties": RECIPE,
    }
    keys["presets"] = PRESETS
    return {"title": "An experiment of autosparse", **schema}


def schema_text() -> str:
    """The JSON schema as the text of a file."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _widen(keys: Schema, key: str, wider: Any) -> None:
    """Let a key have other forms, too; its description and default stay beside them."""
    about = {name: keys[key].pop(name) for name in ("description", "default") if name in keys[key]}
    keys[key] = {**wider(keys[key]), **about}


def _items(listed: Schema) -> Schema:
    """The schema of a list's items; of the list among alternatives."""
    found: Schema = listed["items"] if "items" in listed else next(_items(one) for one in listed["anyOf"])
    return found


def _plain(schema: Any) -> Any:
    """The schema in the words of both dialects, with descriptions as users read them, and without made-up titles."""
    if isinstance(schema, list):
        return [_plain(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {key: _plain(value) for key, value in schema.items() if not (key == "title" and isinstance(value, str))}
    if "patternProperties" in plain:
        plain.setdefault("additionalProperties", False)
    if "prefixItems" in plain:  # pairs of one type
        plain["items"] = plain.pop("prefixItems")[0]
    if isinstance(plain.get("description"), str):
        plain["description"] = _text(plain["description"])
    return plain


def _text(docstring: str) -> str:
    """A docstring without its markup; ``None`` is ``null`` in YAML."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"\1", docstring).replace("``", "`")
    return re.sub(r"\bNone\b(?=:)", "null", " ".join(text.split()))
