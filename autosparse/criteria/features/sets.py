"""Sets of features that go by one name."""

CONTEXT = (
    "log_param", "log_grad", "activation", "output_gradient", "input_left", "output_left", "fan_in", "fan_out",
    "layer_density", "input_mass", "output_mass", "synflow",
)  # fmt: skip
"""The weight, its gradient, and what is around it, without any training."""
PROSPECT = (*CONTEXT, "trained", "moved", "grown", "rewound_product")
"""And what a few steps of training make of it."""

SETS: dict[str, tuple[str, ...]] = {"context": CONTEXT, "prospect": PROSPECT}
