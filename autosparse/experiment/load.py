"""Reading an experiment file, with errors that name the file, the key and the reason."""

import json
import re
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from autosparse.errors import AutosparseError, nearest_name
from autosparse.experiment.schema import Experiment, GridSpec, IrpSpec, MethodSpec, ScorerSpec
from autosparse.experiment.tasks import FitSpec
from autosparse.training import Recipe

M = TypeVar("M", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """YAML's safe loader that reads 1e-3 as a number and refuses a key given twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        seen = set()
        for key, _ in node.value:
            if key.tag not in ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge"):
                shown = repr(key.value) if isinstance(key, yaml.ScalarNode) else "of several parts"
                raise yaml.MarkedYAMLError(problem=f"key {shown} is not text: quote it", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def load_experiment(path: str | Path) -> Experiment:
    """Read and check an experiment file; nothing is started.

    Raises :class:`AutosparseError` with one line per mistake: file, key, reason.
    """
    path = Path(path)
    try:
        content = yaml.load(path.read_text(), Loader=_Loader)
    except FileNotFoundError as error:
        raise AutosparseError(
            f"no experiment file {path}; `autosparse list experiments` shows those at hand"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise AutosparseError(f"cannot read {path}: {error}") from error
    except yaml.YAMLError as error:
        raise AutosparseError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise AutosparseError(
            f"{path}: an experiment is a mapping with `name:` and `grid:`, this is {type(content).__name__}"
        )
    return parse_experiment(content, str(path))


def parse_experiment(content: dict[str, Any], source: str) -> Experiment:
    """Check the content of an experiment file; ``source`` names it in errors."""
    try:
        text = json.dumps(_written_out(content), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise AutosparseError(
            f"{source}: {error}: quote dates; numbers must be finite and anchors not circular"
        ) from error
    return _validated(Experiment, text, source)


def parse_fit(content: dict[str, Any], source: str) -> FitSpec:
    """Check the settings of one scorer fit."""
    try:
        text = json.dumps(content, allow_nan=False)
    except ValueError as error:
        raise AutosparseError(f"{source}: {error}: every number must be finite") from error
    return _validated(FitSpec, text, source)


def _validated(model: type[M], text: str, source: str) -> M:
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        mistakes = error.errors()
        lines = [_line(mistake) for mistake in mistakes if not _follows(mistake, mistakes)]
        raise AutosparseError("\n".join(f"{source}: {line}" for line in lines)) from error


def _written_out(content: dict[str, Any]) -> dict[str, Any]:
    """Short forms in full: ``snip`` for ``{criterion: snip}``, one grid for a list of one."""
    grids = content.get("grid", [])
    grids = [grids] if isinstance(grids, dict) else grids
    if not isinstance(grids, list):
        return content
    return {**content, "grid": [_methods_in_full(grid) for grid in grids]}


def _methods_in_full(grid: Any) -> Any:
    if not isinstance(grid, dict) or not isinstance(grid.get("methods"), list):
        return grid
    methods = [{"criterion": method} if isinstance(method, str) else method for method in grid["methods"]]
    return {**grid, "methods": methods}


def _follows(mistake: Any, others: list[Any]) -> bool:
    """pydantic also calls a list too short whose items were refused one by one."""
    place = mistake["loc"]
    return mistake["type"] == "too_short" and any(
        len(o["loc"]) > len(place) and o["loc"][: len(place)] == place for o in others
    )


def _line(mistake: Any) -> str:
    """``key: reason`` of one of pydantic's errors."""
    place = mistake["loc"]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    match mistake["type"]:
        case "extra_forbidden" | "unexpected_keyword_argument":
            nearest = nearest_name(str(place[-1]), _keys())
            reason = "unknown key" + (f"; did you mean {nearest!r}?" if nearest and nearest != place[-1] else "")
        case "too_short":
            reason = "must not be empty"
        case "missing":
            reason = "this key is missing"
        case "value_error":
            reason = str(mistake["ctx"]["error"])
        case _:
            reason = f"{mistake['msg'][0].lower()}{mistake['msg'][1:]}, got {mistake['input']!r}"
    return f"{key}: {reason}" if key else reason


def _keys() -> set[str]:
    """Every key that may stand somewhere in an experiment file."""
    models = (Experiment, IrpSpec, ScorerSpec, GridSpec, MethodSpec)
    return {key for model in models for key in model.model_fields} | set(Recipe.__dataclass_fields__)
