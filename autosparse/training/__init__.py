"""Training: recipes as data and the one loop that follows them."""

from autosparse.training.ensemble import train_together
from autosparse.training.execution import Execution
from autosparse.training.history import History, accuracy
from autosparse.training.loop import train
from autosparse.training.recipe import Recipe
from autosparse.training.stackable import Member, why_not_together
from autosparse.training.state import State
from autosparse.training.trainer import Trainer

__all__ = [
    "Execution",
    "History",
    "Member",
    "Recipe",
    "State",
    "Trainer",
    "accuracy",
    "train",
    "train_together",
    "why_not_together",
]
