"""Training: recipes as data and the one loop that follows them."""

from autosparse.training.execution import Execution
from autosparse.training.loop import History, accuracy, train
from autosparse.training.recipe import Recipe
from autosparse.training.trainer import Trainer

__all__ = ["Execution", "History", "Recipe", "Trainer", "accuracy", "train"]
