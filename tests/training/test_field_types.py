"""A value of the wrong type in a recipe is refused in one line, before anything is trained."""

from dataclasses import dataclass, fields
from typing import Literal

import numpy as np
import pytest

from autosparse.errors import AutosparseError
from autosparse.training import Recipe
from autosparse.training.field_types import check_types


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("epochs", "3", "a whole number, got '3'"),
        ("epochs", 3.0, "a whole number, got 3.0"),
        ("batch_size", True, "a whole number, got True"),
        ("lr", None, "a number, got None"),
        ("lr", "1e-3", "a number, got '1e-3'"),
        ("weight_decay", [0.1], r"a number, got \[0.1\]"),
        ("milestones", 5, "a tuple, each entry a whole number, got 5"),
        ("milestones", (60, 1.5), r"a tuple, each entry a whole number, got \(60, 1.5\)"),
        ("optimizer", None, "'sgd' or 'momentum' or 'adam' or 'adamw', got None"),
        ("augmentation", 1, "text, got 1"),
    ],
)
def test_a_wrong_type_names_the_field_what_it_takes_and_what_it_got(field, value, told):
    with pytest.raises(AutosparseError, match=f"^recipe: {field} must be {told}$"):
        Recipe(**{field: value})


@pytest.mark.parametrize("field", [field.name for field in fields(Recipe)])
def test_no_field_takes_any_object(field):
    with pytest.raises(AutosparseError, match=f"^recipe: {field} must be "):
        Recipe(**{field: object()})


def test_a_list_of_milestones_is_a_tuple_of_them_and_numbers_may_be_numpy_s():
    assert Recipe(milestones=[2, 3]) == Recipe(milestones=(2, 3))
    assert hash(Recipe(milestones=[2, 3])) == hash(Recipe(milestones=(2, 3)))
    assert Recipe(lr=np.float32(0.5), epochs=np.int64(2), weight_decay=0) == Recipe(lr=0.5, epochs=2, weight_decay=0.0)


RECIPE = Recipe()


@dataclass(frozen=True)
class Several:
    maybe: float | None = None
    pair: tuple[int, str] = (1, "a")
    flag: bool = False
    inner: Recipe = RECIPE
    name: Literal["a", "b"] = "a"

    def __post_init__(self):
        check_types(self, "several")


@pytest.mark.parametrize(
    ("field", "good", "bad", "told"),
    [
        ("maybe", 1, "1", "a number or None"),
        ("pair", (2, "b"), (2, 3), "a tuple"),
        ("pair", (2, "b"), (2,), "a tuple"),
        ("flag", True, 1, "True or False"),
        ("inner", Recipe(epochs=2), {"epochs": 2}, "a Recipe"),
        ("name", "c", 1, "'a' or 'b'"),
    ],
)
def test_other_declarations_are_understood_too(field, good, bad, told):
    assert getattr(Several(**{field: good}), field) == good
    with pytest.raises(AutosparseError, match=f"^several: {field} must be {told}"):
        Several(**{field: bad})
