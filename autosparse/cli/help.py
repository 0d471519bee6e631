"""``autosparse help KEY``: what a key of an experiment file means."""

import textwrap
from typing import TYPE_CHECKING, Annotated, Any

import typer

from autosparse.cli import common

if TYPE_CHECKING:
    from autosparse.experiment.keys import Key


def explain_key(
    context: typer.Context,
    key: Annotated[
        str, typer.Argument(help="A key, with or without those above it: recipe, grid.recipe.lr; none: all keys.")
    ] = "",
    as_json: common.Json = False,
) -> None:
    """Explain the keys of an experiment file: type, default and meaning of each."""
    from autosparse.errors import AutosparseError, UnknownName
    from autosparse.experiment.keys import all_keys, find_keys

    if key:
        try:
            found = find_keys(key)
        except UnknownName as error:
            if key not in getattr(context.find_root().command, "commands", ()):
                raise
            raise AutosparseError(f"{key} is a command, not a key: `autosparse {key} --help`") from error
        if as_json:
            common.emit([_row(one) | {"keys": [_row(inner) for inner in one.inner]} for one in found])
            return
        for number, one in enumerate(found):
            _print(one, first=number == 0)
        return
    keys = all_keys()
    if as_json:
        common.emit([_row(one) for one in keys])
        return
    common.listing([_brief(one) for one in keys], "")
    typer.echo(
        "`autosparse help KEY` explains a key and the keys inside it, e.g. `autosparse help grid.methods`", err=True
    )


def _row(key: "Key") -> dict[str, Any]:
    return {"key": key.paths[0], "type": key.type, "default": key.default, "meaning": key.meaning}


def _brief(key: "Key") -> dict[str, str]:
    inner = f"\nkeys: {', '.join(map(_with_inner, key.inner))}" if key.inner else ""
    return {"key": key.name, "meaning": key.meaning + inner}


def _with_inner(key: "Key") -> str:
    """The key with those in it; a recipe's are left out, because ``recipes`` has them."""
    inner = "" if key.name == "recipe" else ", ".join(map(_with_inner, key.inner))
    return f"{key.name} ({inner})" if inner else key.name


def _print(key: "Key", first: bool) -> None:
    """Print a key, all places that have it, and the keys in it."""
    out = common.out()
    shown = {"type": key.type, "default": key.default, "known": ", ".join(key.known), "meaning": key.meaning}
    width = min(out.width, 120)
    out.print(("" if first else "\n") + ", ".join(key.paths), markup=False)
    for name, value in shown.items():
        if value:
            text = textwrap.fill(value, width, initial_indent=f"  {name:<9}", subsequent_indent=" " * 11)
            out.print(text, markup=False)
    if key.inner:
        rows = [{**_row(one), "key": one.name} for one in key.inner]
        common.listing(rows, "")
