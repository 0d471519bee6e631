"""The plan of a file that was read: its tasks, and what its parent run in MLflow says of the file and the command."""

import shlex

from autosparse.experiment.load import Loaded
from autosparse.experiment.plan import Plan, make_plan


def plan_of(loaded: Loaded) -> Plan:
    """Expand what :func:`autosparse.experiment.load.load_experiment` returned."""
    parts = ["autosparse", "run", loaded.file, *(["--preset", loaded.preset] if loaded.preset else [])]
    parts += [part for change in loaded.asked for part in ("--set", change)]
    experiment = loaded.experiment
    return make_plan(
        experiment,
        loaded.paper,
        loaded.folder,
        preset=loaded.preset,
        file=loaded.file,
        command=shlex.join(parts),
        description=experiment.description,
        notes=list(experiment.notes),
        changes=list(loaded.changes),
    )


def scale_of(loaded: Loaded) -> str | None:
    """A line that says which preset was chosen, and which others there are; None if the file has no presets."""
    if loaded.preset is None:
        return None
    others = ", ".join(name for name in loaded.presets if name != loaded.preset)
    return f"preset {loaded.preset} (there are also: {others})"
