"""What a criterion does if nothing is said: whoever changes a default changes it here, too, and says so."""

import pytest

from autosparse.criteria import CRITERIA

PROSPR = {
    "steps": 3, "lr": 0.1, "momentum": 0.0, "optimizer": "momentum", "first_buffer": "detached", "new_data": True,
    "mode": "train",
}  # fmt: skip
EVOLVING = {"alpha": 0.3, "every": 100, "until": 0.75, "start": "erk", "seed": 0}
DEFAULTS = {
    "3sp": {"mode": "train"},
    "3sp-reinit": {"seed": 0, "mode": "train"},
    "3sp-rescale": {"mode": "train"},
    "autos": {
        "exact": False, "near": None, "mode": None, "rounds": None, "steps": None, "revive": None, "permute": None,
        "clip": None, "seed": 0,
    },
    "early": {
        "rounds": 10, "steps": 10, "by": "magnitude", "lr": 0.1, "momentum": 0.9, "batch_size": 128, "mode": "train",
    },
    "formula": {
        "expression": "log_product", "rounds": 1, "steps": 0, "lr": 0.1, "momentum": 0.9, "batch_size": 128,
        "examples": None, "revive": False, "mode": "eval",
    },
    "fisher": {
        "diagonal": "fisher", "examples": 100, "batch_size": 1, "warm_up": 0, "probes": 10, "temperature": None,
        "seed": 0, "mode": "eval",
    },
    "force": {"rounds": 60, "mode": "train"},
    "gmp": {"every": 100, "until": 0.75, "scope": "global"},
    "grasp": {"temperature": 1.0, "mode": "train"},
    "grasp-mb": {"temperature": 1.0, "mode": "train"},
    "iter-snip": {"rounds": 60, "mode": "train"},
    "lth": {"rounds": 20},
    "ltr": {"rounds": 20, "rewind": 0.02},
    "magnitude": {},
    "magnitude-after-training": {"retrain": "fine-tune", "epochs": None},
    "ntk-sap": {
        "rounds": 20, "draws": 5, "epsilon": 0.01, "examples": 100, "seed": 0, "input_shape": None, "mode": "eval",
    },
    "npb": {"alpha": 0.3, "beta": 1.0, "seed": 0, "input_shape": None},
    "phew": {"seed": 0},
    "prospr": PROSPR,
    "prospr-first-order": {"steps": 1024, "lr": 0.1, "momentum": 0.0, "new_data": True, "mode": "train"},
    "prospr-structured": PROSPR,
    "px": {"rounds": 100, "mode": "eval"},
    "random": {"seed": 0},
    "random-erk": {"seed": 0},
    "random-structured": {"seed": 0},
    "rigl": EVOLVING,
    "set": EVOLVING,
    "snip": {"reinit": False, "seed": 0, "mode": "eval"},
    "snip-it": {"steps": 5, "mode": "eval"},
    "snip-iter": {"rounds": 20, "mode": "eval"},
    "snip-mb": {"reinit": False, "seed": 0, "mode": "train"},
    "snip-structured": {"mode": "train"},
    "synflow": {"rounds": 100, "input_shape": None, "mode": "eval"},
    "synflow-l2": {"rounds": 100, "input_shape": None, "mode": "eval"},
}  # fmt: skip
REVISED = {"npb": 2, "synflow": 2}
"""Criteria that compute something else than they once did."""


@pytest.mark.parametrize("name", DEFAULTS)
def test_nothing_said_means_this(name):
    chosen = CRITERIA[name]
    assert dict(chosen.defaults) == DEFAULTS[name]
    assert chosen.revision == REVISED.get(name, 1)


def test_none_is_left_out():
    ours = {name for name in CRITERIA if CRITERIA[name].function.__module__.startswith("autosparse.")}
    assert ours == set(DEFAULTS)
