"""Training: recipes as data and the one loop that follows them."""

from autosparse.training.loop import History, accuracy, train
from autosparse.training.recipe import Recipe

__all__ = ["History", "Recipe", "accuracy", "train"]
