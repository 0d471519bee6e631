"""Sets of features, each under one name."""

CONTEXT = (
    "log_param", "log_grad", "activation", "output_gradient", "input_left", "output_left", "fan_in", "fan_out",
    "layer_density", "input_mass", "output_mass", "synflow",
)  # fmt: skip
"""The weight, its gradient, and what is around it, without any training."""
PROSPECT = ("log_param", "trained", "moved", "grown", "rewound_product")
"""What a few steps of training make of the weight, and what it was."""

SETS: dict[str, tuple[str, ...]] = {"context": CONTEXT, "prospect": PROSPECT}
