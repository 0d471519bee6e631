"""The defaults of version 0.1.0, frozen, whatever the defaults are today.

Records of that version hold only what differed from its defaults. Later records hold every value, so that a default
may change: a result under the old default then belongs to another task. An option that is neither in a record nor here
is newer than the record, and counts as today's default. That is right as long as the default does what was done before
the option existed. **Add a new option here if its default changes behaviour, with the value that reproduces the old
behaviour. If a default changes later, add the option with its first default.**
"""

from collections.abc import Collection
from typing import Any

Values = dict[str, Any]

SCORE_EXAMPLES = 5120
RECIPE: Values = {
    "optimizer": "adam",
    "lr": 0.0012,
    "milestones": [60, 120],
    "drop": 0.2,
    "weight_decay": 0.0005,
    "epochs": 10,
    "batch_size": 128,
    "augmentation": "none",
}
IRP: Values = {
    "criterion": "snip",
    "options": {},
    "iterations": 20,
    "final_density": 0.01,
    "init": None,
    "schedule": "geometric",
    "score_examples": SCORE_EXAMPLES,
    "recipe": RECIPE,
    "gradient_mode": "train",
}
FIT: Values = {
    "backbone": "mlp",
    "inputs": ["param", "grad"],
    "epochs": 10,
    "batch_size": 1024,
    "lr": 0.01,
    "rows": None,
    "seed": 0,
}
CELL: Values = {
    "options": {},
    "scorer": None,
    "ablation": None,
    "irp": None,
    "irp_seed": None,
    "level": None,
    "score_examples": SCORE_EXAMPLES,
    "recipe": RECIPE,
}
SWEEP: Values = {
    "points": [],
    "space": {},
    "trials": 20,
    "search": "random",
    "search_seed": 0,
    "asha": None,
    "downstream": None,
    "fit": FIT,
}

TASKS: dict[str, Values] = {
    "irp": {**IRP, "seed": 0},
    "sweep": SWEEP,
    "scorer": {"irp": [], "fit": FIT, "sweep": None},
    "cell": CELL,
}
"""By kind."""
PARTS: dict[str, Values] = {
    "recipe": RECIPE,
    "fit": FIT,
    "irp": IRP,
    "asha": {"grace": 1, "reduction": 3.0},
    "downstream": {"seeds": [0], "score_examples": SCORE_EXAMPLES, "recipe": RECIPE, "validation": 0.0},
}
"""By their key in a task or another part. A value there that is a list of ids or None is left alone."""

TRAIN: Values = {"mode": "train"}
"""At that time, networks were built in training mode, and criteria took gradients in the network's current mode."""
PROSPR: Values = {
    "steps": 3,
    "lr": 0.5,
    "momentum": 0.9,
    "optimizer": "momentum",
    "first_buffer": "differentiated",
    "new_data": True,
    **TRAIN,
}
OPTIONS: dict[str, Values] = {
    "3sp": TRAIN,
    "3sp-reinit": TRAIN,
    "3sp-rescale": TRAIN,
    "autos": {"exact": False},
    "force": {"rounds": 60, **TRAIN},
    "grasp": {"temperature": 1.0, **TRAIN},
    "grasp-mb": {"temperature": 1.0, **TRAIN},
    "iter-snip": {"rounds": 60, **TRAIN},
    "lth": {"rounds": 20},
    "ltr": {"rounds": 20, "rewind": 0.02},
    "magnitude-after-training": {"retrain": "fine-tune", "epochs": None},
    "npb": {"alpha": 0.1, "beta": 1.0, "time_limit": 60.0, "chunk": 2048, "input_shape": None},
    "prospr": PROSPR,
    "prospr-first-order": {"steps": 1024, "lr": 0.1, "momentum": 0.9, "new_data": True, **TRAIN},
    "prospr-structured": PROSPR,
    "snip": {"reinit": False, **TRAIN},
    "snip-it": {"steps": 5, **TRAIN},
    "snip-iter": {"rounds": 20, **TRAIN},
    "snip-mb": {"reinit": False, **TRAIN},
    "snip-structured": TRAIN,
    "synflow": {"rounds": 100, "input_shape": None, "mode": "eval"},
}
"""By criterion; others had no options, or are not ours. Later options are added here, too: see above."""
REVISION = 1
"""The revision of every criterion in version 0.1.0."""
UNPRUNED = ("dense", "irp")
"""Methods of cells without a criterion."""
TRAINED = ("epochs", "batch_size", "lr")
UNTRAINED = ("conditional-mean",)
"""Backbones to which the settings in ``TRAINED`` do not apply."""


OUTPUT, INPUTS = "out_proj.weight", ("in_proj_weight", "q_proj_weight")
"""Names in ``nn.MultiheadAttention``: the weight that could always be pruned, and those that once could not."""


def prunable_rule(layers: Collection[str]) -> int:
    """The version of :func:`autosparse.weights.prunable` behind a record that does not name one.

    :param layers: the prunable weights in the record. Version 1 left out the projections of attention. It also left out
        ConvTranspose, which the names do not show; but no network of ours ever had it.
    """
    attentions = [layer.removesuffix(OUTPUT) for layer in layers if f".{layer}".endswith(f".{OUTPUT}")]
    return 2 if all(any(f"{prefix}{name}" in layers for name in INPUTS) for prefix in attentions) else 1


def filled(kind: str, values: Values) -> Values:
    """The values of a task from a record, completed by the defaults of version 0.1.0."""
    found = _filled(TASKS[kind], values)
    if kind == "scorer" and found["sweep"] is not None:
        del found["fit"]  # the winner's, whatever it is
    return found


def _filled(defaults: Values, values: Values) -> Values:
    found = {**defaults, **values}
    for name, part in PARTS.items():
        if isinstance(found.get(name), dict):
            found[name] = _filled(part, found[name])
    criterion = found.get("criterion")
    if criterion is not None and criterion not in UNPRUNED:
        found["options"] = {**OPTIONS.get(criterion, {}), **found["options"]}
        found.setdefault("criterion_revision", REVISION)
    if found.get("backbone") in UNTRAINED:
        found = {name: value for name, value in found.items() if name not in TRAINED}
    return found
