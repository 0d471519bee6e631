"""Which way a metric is better."""

LOWER_IS_BETTER = ("seconds", "images", "train_loss", "collapsed_layers", "disconnected_layers", "flops")
"""How the names of metrics begin of which less is better."""


def direction(metric: str) -> int:
    """1 if more of a metric is better, -1 if less is."""
    return -1 if metric.startswith(LOWER_IS_BETTER) else 1
