"""Recipes by name: a file's ``recipes:`` block, which its IRP runs, sweeps and grids refer to."""

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from autosparse.errors import AutosparseError, UnknownName

BLOCK = "recipes"


def with_recipes(content: dict[str, Any]) -> dict[str, Any]:
    """The content of a file with each ``recipe: NAME`` replaced by the recipe of that name, and without the block.

    What is not well formed is left for the schema to refuse.

    :raises UnknownName: if there is no such recipe.
    :raises AutosparseError: if ``recipes:`` is not a mapping of names to mappings.
    """
    if BLOCK not in content and not any(isinstance(holder["recipe"], str) for _, holder in _holders(content)):
        return content
    content = deepcopy(content)
    recipes = content.pop(BLOCK, {})
    if not isinstance(recipes, dict) or not all(isinstance(recipe, dict) for recipe in recipes.values()):
        raise AutosparseError(f"{BLOCK}: must be a mapping of names to recipes, such as sgd: {{lr: 0.1}}")
    for whose, holder in _holders(content):
        if isinstance(name := holder["recipe"], str):
            if name not in recipes:
                raise UnknownName(f"recipe (of {whose})", name, [str(recipe) for recipe in recipes])
            holder["recipe"] = deepcopy(recipes[name])
    return content


def _holders(content: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each mapping that has a recipe, after its name for errors."""
    grids = content.get("grid")
    grids = grids if isinstance(grids, list) else [grids]
    found = [(f"irp {name!r}", part) for name, part in _mappings(content.get("irp"))]
    found += [(f"sweep {name!r}", part.get("downstream")) for name, part in _mappings(content.get("sweeps"))]
    found += [(f"grid {part.get('name', number)!r}", part) for number, part in _mappings(dict(enumerate(grids)))]
    yield from ((whose, part) for whose, part in found if isinstance(part, dict) and "recipe" in part)


def _mappings(section: Any) -> list[tuple[Any, Any]]:
    """The parts of a section that are mappings, by name."""
    return [item for item in section.items() if isinstance(item[1], dict)] if isinstance(section, dict) else []
