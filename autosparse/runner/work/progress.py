"""What every kind of work shares: how it reports its progress, and which files it may replace."""

from collections.abc import Callable

ANYTHING = ("*",)
"""Patterns of the files in a folder named by a task's id: all of them are ours to replace."""

Progress = Callable[[dict[str, float]], None]
"""Callback after each iteration or epoch, with the ``share`` of them that is done, and the ``accuracy`` or ``loss``."""
