"""What MLflow's pages show of a run beside its numbers: a description, the file it comes from, and the commit."""

from collections.abc import Mapping
from typing import Any

from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Record
from autosparse.experiment.space import SweepTask
from autosparse.experiment.tasks import Cell, IrpTask, ScorerTask, Task

NOTE = "mlflow.note.content"
"""The tag that MLflow shows as a run's description, as Markdown."""
SOURCE, SOURCE_TYPE, COMMIT, DIRTY = (f"mlflow.source.{name}" for name in ("name", "type", "git.commit", "git.dirty"))
KIND, TRAINING = "mlflow.experimentKind", "custom_model_development"
"""The tag of an experiment with which MLflow's pages open it on runs and models, not on traces of language models."""
SHOWN = (NOTE, SOURCE, SOURCE_TYPE, COMMIT, DIRTY)


def shown_tags(planned: Planned[Task], record: Record, source: str) -> dict[str, str]:
    """The tags of a new run that MLflow's pages show; a description that somebody edits later stays.

    :param source: the experiment file.
    """
    return {NOTE: note_of(planned.task), **source_tags(source, record["environment"])}


def source_tags(source: str, environment: Mapping[str, Any]) -> dict[str, str]:
    """The source of a run as MLflow shows it, with the git commit if ``environment`` tells it.

    :param source: the experiment file; empty if none asked for the run.
    """
    known, _, dirty = str(environment.get("git_commit", "")).partition("+")
    told = {SOURCE: source or "autosparse", SOURCE_TYPE: "LOCAL"}
    if known and known != "unknown":
        told |= {COMMIT: known, DIRTY: str(bool(dirty)).lower()}
    return told


def note_of(task: Task) -> str:
    """A sentence that says what a task is, without its label, which may change later."""
    match task:
        case Cell():
            how = f"pruned by {_named(task.criterion, task.options)} to {100 * task.sparsity:.6g} % sparsity"
            how = how if task.sparsity else "not pruned"
            return f"{task.model} on {task.dataset}, {how}, trained for {task.recipe.epochs} epochs, seed {task.seed}."
        case IrpTask():
            return (
                f"Iterative rewind pruning of {task.model} on {task.dataset} by {task.criterion}: {task.iterations} "
                f"iterations down to {100 * task.final_density:.6g} % of the weights, seed {task.seed}."
            )
        case ScorerTask(sweep=None):
            runs = f"{len(task.irp)} IRP run{'s' if len(task.irp) != 1 else ''}"
            return f"A scorer of weights, {task.fit.backbone} on {', '.join(task.fit.inputs)}, fitted on {runs}."
        case ScorerTask():
            return "A scorer of weights, the winner of a sweep."
        case SweepTask():
            return f"A search for the settings of a scorer with the best {task.metric}."
        case _:
            return f"A task of kind {task.kind}."


def _named(criterion: str, options: Mapping[str, Any]) -> str:
    told = ", ".join(f"{name}={value}" for name, value in sorted(options.items()))
    return f"{criterion} ({told})" if told else criterion
