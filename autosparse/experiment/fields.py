"""The types of an experiment file's fields: names and numbers, and which of them are refused."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from autosparse.criteria import CRITERIA
from autosparse.criteria.options import check_values
from autosparse.data import DATASETS, check_dataset_name
from autosparse.errors import AutosparseError, UnknownName
from autosparse.models import MODELS, checked_name
from autosparse.models.arguments import name_from
from autosparse.registry import Registry

DENSE, BRANCH = "dense", "irp"
"""Methods without a criterion: nothing is pruned, or an IRP run has pruned already."""


class Strict(BaseModel):
    """Refuses unknown keys and wrong types; instances never change."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)


def values_of(spec: Strict, of: type[Strict]) -> dict[str, Any]:
    """The values of ``spec`` in the fields of ``of``, a class that has some of its fields."""
    return {name: getattr(spec, name) for name in of.model_fields}


def _known_dataset(name: str) -> str:
    check_dataset_name(name)
    return name


def _known_method(name: str) -> str:
    if name not in (DENSE, BRANCH):
        CRITERIA[name]
    return name


def _for_irp() -> Iterator[str]:
    """Criteria that only score, which is what IRP takes."""
    for name in CRITERIA:
        with contextlib.suppress(AutosparseError):
            yield _known_irp_criterion(name)


def _known_irp_criterion(name: str) -> str:
    if "scorer" in CRITERIA[name].needs:
        raise AutosparseError(
            f"criterion {name!r} needs a scorer, and scorers are fitted on IRP's output; choose a criterion that needs "
            "none"
        )
    if "sparsity" in CRITERIA[name].options or "training" in CRITERIA[name].needs:
        raise AutosparseError(
            f"criterion {name!r} has rounds or trainings of its own, or prunes channels; IRP takes one that only scores"
        )
    return name


@dataclass(frozen=True)
class Named(AfterValidator):
    """Checks a name, and offers the known ones to editors, in the JSON schema."""

    known: Callable[[], Iterable[str]] = tuple
    closed: bool = False
    """Whether there are no other names. If not, a plugin may bring some, or a name may have parts."""
    or_mapping: JsonSchemaValue | None = None
    """The schema of a mapping that a file may have in place of a name."""

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The schema of a string that is one of the names or, unless they are closed, perhaps another."""
        offered = {"enum": sorted(self.known())}
        found = {**handler(schema), **offered} if self.closed else {"anyOf": [offered, handler(schema)]}
        return {"anyOf": [found, self.or_mapping]} if self.or_mapping else found


def one_of(kind: str, known: Any) -> Named:
    """Refuse a name that is not in ``known``, a container of names."""

    def check(name: str) -> str:
        if name not in known:
            raise UnknownName(kind, name, known)
        return name

    return Named(check, lambda: known, closed=not isinstance(known, Registry))


WITH_ARGUMENTS: JsonSchemaValue = {
    "type": "object",
    "properties": {
        "name": {
            "description": "The model; every other key is one of its arguments, which `autosparse list models` shows.",
            "type": "string",
        }
    },
    "required": ["name"],
    "additionalProperties": {"type": ["number", "string", "boolean", "null", "array"]},
}
IN_FULL = BeforeValidator(lambda model: name_from(model) if isinstance(model, dict) else model)
ModelName = Annotated[str, IN_FULL, Named(checked_name, lambda: MODELS, or_mapping=WITH_ARGUMENTS)]
"""The name of a network, with its arguments in parentheses: ``resnet20(width=32)``; files may write a mapping."""
DatasetName = Annotated[str, Named(_known_dataset, lambda: (name for name in DATASETS if not DATASETS[name].argument))]
MethodName = Annotated[str, Named(_known_method, lambda: [DENSE, BRANCH, *CRITERIA])]
"""A criterion, ``dense``, or ``irp``."""
IrpCriterion = Annotated[str, Named(_known_irp_criterion, _for_irp)]


UNSIGNED = AfterValidator(lambda value: abs(value) if value == 0 and isinstance(value, float) else value)
"""Turns -0.0 into 0.0, which means the same, so that both have one id."""
Sparsity = Annotated[float, Field(ge=0, lt=1), UNSIGNED]
Seed = Annotated[int, Field(ge=0)]
Level = Annotated[int, Field(ge=0)]
"""An iteration of IRP, from 1; 0: before the first, when nothing is pruned."""
ScoreExamples = Annotated[int, Field(ge=1)] | None
Options = dict[str, Annotated[bool | int | float | str, UNSIGNED]]


Ablation = Literal["shuffle", "reinit", "invert"] | None
"""Controls of Frankle et al. 2021 (arXiv:2009.08576): masks shuffled within layers, weights drawn anew under the masks,
or the highest scores pruned instead of the lowest."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""Names become MLflow names and file names: letters, digits, dots, dashes, underscores."""


def _no_doubles(values: tuple[Any, ...]) -> tuple[Any, ...]:
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            raise AutosparseError(f"{value!r} is listed twice")
        seen.add(value)
    return values


DISTINCT = AfterValidator(_no_doubles)


def check_option_values(criterion: str, options: Options) -> None:
    """Raise if users cannot set an option, or if it cannot have its value."""
    chosen = CRITERIA[criterion]
    if not chosen.imported:
        return
    known = [option for option in chosen.options if option not in chosen.given]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {criterion!r}:", option, known)
    check_values(criterion, options, chosen.parameters)
