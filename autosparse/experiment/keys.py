"""The keys of an experiment file, each with its type, default and meaning, taken from the JSON schema."""

import functools
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from autosparse.errors import UnknownName
from autosparse.experiment.json_schema import Schema, json_schema

ANY = "NAME"
"""Stands in a path for a name that the user chooses."""
BOUNDS = {"minimum": ">=", "exclusiveMinimum": ">", "maximum": "<=", "exclusiveMaximum": "<"}
WORDS = {"integer": "whole number", "number": "number", "string": "text", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True)
class Key:
    """A key, at one place or at several that mean the same."""

    paths: tuple[str, ...]
    """With dots between: ``irp.NAME.recipe.lr``."""
    type: str
    default: str
    """As YAML; ``required`` if the key has no default."""
    meaning: str
    known: tuple[str, ...] = ()
    """The names that come with autosparse, if others are possible as well."""
    inner: "tuple[Key, ...]" = ()
    """The keys of the mapping that it holds, or of each mapping in a list."""

    @property
    def name(self) -> str:
        """The key itself."""
        return self.paths[0].rpartition(".")[2]


def all_keys() -> tuple[Key, ...]:
    """The keys of the top level, and in them all others."""
    schema = json_schema()
    return tuple(_read((), schema, schema["$defs"]))


@functools.cache
def keys_in(section: str) -> frozenset[str]:
    """The names of all keys in a section of an experiment file; those of its top level if there is no such section."""
    top = all_keys()
    inner = next((key.inner for key in top if key.name == section), None)
    return frozenset(key.name for key in (top if inner is None else _walk(inner)))


def find_keys(asked: str) -> list[Key]:
    """The keys that ``asked`` may mean: a path, or the end of one, such as ``recipe.lr``, ``grid[0].seeds``.

    A key of the top level comes alone. Keys that mean the same are one.

    :raises UnknownName: if no key fits.
    """
    parts = tuple(part for part in re.split(r"[.\[\]]+", asked) if part not in ("", "*") and not part.isdecimal())
    every = list(_walk(all_keys()))
    found = [key for key in every if _ends(_short(key.paths[0]).split("."), parts)]
    found = found or [key for key in every if _ends(key.paths[0].split("."), parts)]
    if not found:
        raise UnknownName("key", asked, {name for key in every for name in (key.name, _short(key.paths[0]))})
    top = [key for key in found if _short(key.paths[0]) == ".".join(parts)]
    same: dict[Any, list[Key]] = {}
    for key in top or found:
        inner = tuple((k.name, k.type, k.default) for k in key.inner)
        same.setdefault((key.type, key.default, inner, key.meaning if not inner else ""), []).append(key)
    return [_merged(keys) for keys in same.values()]


def _merged(keys: Sequence[Key]) -> Key:
    paths = tuple(path for key in keys for path in key.paths)
    return replace(keys[0], paths=paths, meaning=" / ".join(dict.fromkeys(key.meaning for key in keys)))


def _ends(path: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether ``parts`` are the end of a path; for a name that the user chooses, any word will do."""
    pairs = zip(reversed(path), reversed(parts), strict=False)
    return len(parts) <= len(path) and all(key in (part, ANY) for key, part in pairs)


def _short(path: str) -> str:
    return path.replace(f".{ANY}", "")


def _walk(keys: Sequence[Key]) -> Iterator[Key]:
    for key in keys:
        yield key
        yield from _walk(key.inner)


def _read(path: tuple[str, ...], mapping: Schema, parts: Schema) -> Iterator[Key]:
    for name, schema in mapping.get("properties", {}).items():
        here = (*path, name)
        held, chosen = _mapping(schema, parts)
        inner = tuple(_read((*here, *chosen), held, parts))
        default = "required" if name in mapping.get("required", ()) else _default(schema)
        yield Key((".".join(here),), type_of(schema), default, schema.get("description", ""), _offered(schema), inner)


def _mapping(schema: Schema, parts: Schema) -> tuple[Schema, tuple[str, ...]]:
    """The mapping that a schema describes, if it lists keys, else {}; and the part of the path that leads to it."""
    if "$ref" in schema:
        return parts[schema["$ref"].rpartition("/")[2]], ()
    if "properties" in schema:
        return schema, ()
    if "items" in schema:
        return _mapping(schema["items"], parts)
    if named := _named(schema):
        held, chosen = _mapping(named, parts)
        return held, (ANY, *chosen)
    return next((found for one in schema.get("anyOf", ()) if (found := _mapping(one, parts))[0]), ({}, ()))


def _named(schema: Schema) -> Schema | None:
    """The schema of the values in a mapping with user-chosen keys; None if it is not one or may hold anything."""
    patterns = list(schema.get("patternProperties", {}).values())
    found = patterns[0] if patterns else schema.get("additionalProperties")
    return found if isinstance(found, dict) else None


def _default(schema: Schema) -> str:
    if "default" in schema:
        value = schema["default"]
        if isinstance(value, dict) and value:
            return "those of its keys"
        return value if isinstance(value, str) else json.dumps(value).replace('"', "")
    return "{}" if schema.get("type") == "object" else "null"


def _offered(schema: Schema) -> tuple[str, ...]:
    """Known names among possible others."""
    for inner in (schema, schema.get("items", {})):
        for one in inner.get("anyOf", ()):
            if "enum" in one:
                return tuple(one["enum"])
            if found := _offered(one):
                return found
    return ()


def type_of(schema: Schema) -> str:
    """The type of a value in plain words."""
    if "enum" in schema:
        return _either(map(str, schema["enum"]))
    if "$ref" in schema or "properties" in schema:
        return "mapping"
    if "anyOf" in schema:
        return _type_among(schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        return f"list of {_plural(type_of(schema['items']))}"
    if kind == "object":
        held = _named(schema)
        return f"mapping of names to {_plural(type_of(held))}" if held else "mapping"
    if kind == "string" and "pattern" in schema:
        return "name"
    bounds = [f"{sign} {schema[key]:g}" for key, sign in BOUNDS.items() if key in schema]
    return " ".join([WORDS.get(str(kind), "value"), ", ".join(bounds)]).strip()


def _type_among(several: Sequence[Schema]) -> str:
    if {"boolean", "number", "string"} <= {one.get("type") for one in several}:
        return "value"
    if any("enum" in one for one in several) and {"type": "string"} in several:
        return "name"
    return _either(dict.fromkeys(map(type_of, several)))


def _either(words: Iterable[str]) -> str:
    *others, last = words
    return f"{', '.join(others)} or {last}" if others else last


def _plural(text: str) -> str:
    """The plural of a type: of its first noun and, if it has alternatives, of the last."""
    nouns = r"\b(mapping|name|number|list|value)\b(?! of| to)"
    return re.sub(nouns, r"\1s", text)
