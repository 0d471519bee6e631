"""A task of an experiment, with what the experiment calls it."""

from dataclasses import dataclass
from typing import Generic, TypeVar

from autosparse.experiment.tasks import Task

T = TypeVar("T", bound=Task, covariant=True)


@dataclass(frozen=True, slots=True)
class Planned(Generic[T]):
    """A task and its name in this experiment; the label is not part of the task's id."""

    task: T
    label: str
