"""Options are checked by name, type and range before anything is computed."""

import numpy as np
import pytest
from small_nets import data, make

from autosparse.criteria import CRITERIA, prune, score
from autosparse.errors import AutosparseError

WRONG = [
    ("force", {"rounds": 0}, "a whole number at least 1"),
    ("force", {"rounds": 2.5}, "a whole number at least 1"),
    ("force", {"rounds": "5"}, "a whole number at least 1"),
    ("force", {"rounds": True}, "a whole number at least 1"),
    ("grasp", {"temperature": -1}, "a number greater than 0"),
    ("grasp", {"temperature": float("nan")}, "a number greater than 0"),
    ("prospr", {"momentum": 1.0}, r"a number in \[0, 1\)"),
    ("prospr-first-order", {"lr": -1.0}, "a number greater than 0"),
    ("snip", {"reinit": 3}, "true or false"),
    ("npb", {"beta": -1}, "a number at least 0"),
]


@pytest.mark.parametrize(("name", "options", "reason"), WRONG)
def test_a_value_that_makes_no_sense_is_refused(name, options, reason):
    (option,) = options
    given = {"sparsity": 0.5} if "sparsity" in CRITERIA[name].options else {}
    with pytest.raises(AutosparseError, match=f"option '{option}' of '{name}' must be {reason}, got "):
        score(make("linear"), name, data(), **options, **given)


@pytest.mark.parametrize("sparsity", [1.0, -0.1, "0.5", None, float("nan")])
def test_a_sparsity_that_is_none_is_refused(sparsity):
    with pytest.raises(AutosparseError, match=r"option 'sparsity' of 'snip' must be a number in \[0, 1\)"):
        prune(make("linear"), "snip", sparsity, data())


def test_numbers_of_numpy_are_numbers():
    masks = prune(make("linear"), "iter-snip", np.float32(0.5), data(), rounds=np.int64(2))
    assert masks.kept == 70


def test_none_stands_where_the_signature_allows_it():
    assert score(make("linear"), "synflow", data(), sparsity=0.5, rounds=1, input_shape=None)
    with pytest.raises(AutosparseError, match="'rounds'"):
        score(make("linear"), "synflow", data(), sparsity=0.5, rounds=None)
