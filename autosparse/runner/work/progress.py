"""What work of every kind shares: how it tells its progress, and which files it may replace."""

from collections.abc import Callable

ANYTHING = ("*",)
"""May be in a folder that is named by what it holds: it is ours."""

Progress = Callable[[dict[str, float]], None]
"""Called after each iteration or epoch with the ``share`` of them that is done, and the ``accuracy`` or ``loss``."""
