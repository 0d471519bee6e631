"""Fewer rounds and steps than the defaults, for tests over all criteria."""

from builders import a_cell

FEW = {
    "force": {"rounds": 2},
    "early": {"rounds": 2, "steps": 2},
    "iter-snip": {"rounds": 2},
    "prospr-first-order": {"steps": 2},
    "synflow": {"rounds": 5},
    "lth": {"rounds": 2},
    "ltr": {"rounds": 2},
    "snip-iter": {"rounds": 2},
    "synflow-l2": {"rounds": 5},
    "px": {"rounds": 2},
    "ntk-sap": {"rounds": 2, "draws": 1, "examples": 8},
    "fisher": {"examples": 20},
    "set": {"every": 1, "until": 1.0},
    "rigl": {"every": 1, "until": 1.0},
    "gmp": {"every": 1, "until": 1.0},
}


def cell_of_few_rounds(name, **fields):
    """A cell of a criterion, with few rounds; ``autos`` reads the scorer ``some``."""
    return a_cell(name, options=FEW.get(name, {}), scorer="some" if name == "autos" else None, **fields)
