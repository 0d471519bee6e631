"""A value of the wrong type in a recipe is refused in one line, before anything is trained."""

from dataclasses import fields

import numpy as np
import pytest

from autosparse.errors import AutosparseError
from autosparse.training import Recipe


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("epochs", "3", "a whole number at least 1, got '3'"),
        ("epochs", 3.0, "a whole number at least 1, got 3.0"),
        ("batch_size", True, "a whole number at least 1, got True"),
        ("lr", None, "a number greater than 0, got None"),
        ("lr", "1e-3", "a number greater than 0, got '1e-3'"),
        ("weight_decay", [0.1], r"a number at least 0, got \[0.1\]"),
        ("milestones", 5, "a list, each item a whole number, got 5"),
        ("milestones", (60, 1.5), r"a list, each item a whole number, got \(60, 1.5\)"),
        ("optimizer", None, "'sgd' or 'momentum' or 'adam' or 'adamw', got None"),
        ("augmentation", 1, "text, got 1"),
        ("nesterov", 1, "true or false, got 1"),
        ("clip_norm", "1", "a number greater than 0, got '1'"),
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
