"""Fewer rounds and steps than the defaults, for tests over all criteria."""

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
