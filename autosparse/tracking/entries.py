"""Turn a task's record into what MLflow holds: the run's name, tags, params and metrics."""

import re
from typing import Any

from mlflow.entities import Metric

from autosparse.experiment.lineage import fingerprint
from autosparse.experiment.planned import Planned
from autosparse.experiment.record import Json, Record
from autosparse.experiment.resolved import resolve, resolved_of
from autosparse.experiment.space import SweepTask
from autosparse.experiment.tasks import Cell, IrpTask, ScorerTask, Task
from autosparse.files import content_id
from autosparse.tracking import curves
from autosparse.tracking.texts import text_of
from autosparse.weights import LeftOut

CODE, OF_METHOD_CODE = "code_fingerprint", "criterion_code_fingerprint"
"""Tags with the fingerprints of the user's own network and data set, and of the user's own criterion, if any."""
MADE = "made_by"
"""Tag with the fingerprint of all that made the result: values, data, code, and what it was built on."""
FAILURE_TAGS = {"error", "traceback", "failed_ms"}
"""Names of the tags that only a failed run has: why and when it failed."""


def run_name(planned: Planned[Task]) -> str:
    """The name of a task's run in MLflow's lists."""
    match planned.task:
        case Cell() as cell:
            return f"{planned.label} {cell.sparsity:.2%} seed {cell.seed}"
        case IrpTask() as irp:
            return f"irp {planned.label} seed {irp.seed}"
        case _:
            return f"{planned.task.kind} {planned.label}"


def tag_texts(planned: Planned[Task], record: Record) -> dict[str, str]:
    """The tags of a task's run: what it is, with which data and code, where it was done, and why it failed."""
    task, environment = planned.task, record["environment"]
    tags: dict[str, Any] = {
        "kind": task.kind,
        f"{task.kind}_id": task.id,
        "label": planned.label,
        MADE: fingerprint(record),
        "git_commit": environment["git_commit"],
        "host": environment["host"],
        **{f"version.{name}": version for name, version in environment["versions"].items()},
        **_where(record),
        **_code(record),
    }
    if "error" in record:
        tags |= {"error": record["error"][:5000], "traceback": record["traceback"][-5000:], "failed_ms": ended(record)}
    if rest := LeftOut.of(record.get("result", {})):
        tags["not_prunable"] = rest
    match task:
        case Cell():
            shown = ("model", "dataset", "sparsity", "seed")
            tags |= {"method": planned.label, **{name: getattr(task, name) for name in shown}}
            if task.trunk is not None:
                tags |= {"irp_id": task.trunk.id}
            if "mask_sketch" in record.get("result", {}):
                tags |= {"mask_sketch": record["result"]["mask_sketch"]}
            if "result" in record:
                tags |= {curves.TAG: curves.pack(record["result"]["history"])}
        case IrpTask():
            tags |= {name: getattr(task, name) for name in ("model", "dataset", "criterion", "seed")}
        case SweepTask():
            tags |= {"metric": task.metric, "searched": ",".join(task.searched)}
        case ScorerTask() if "result" in record:
            warnings = record["result"]["report"]["warnings"]
            tags |= {"trusted": not warnings, **({"warning": "; ".join(warnings)} if warnings else {})}
    return {name: str(value) for name, value in tags.items()}


def params_of(task: Task, record: Record) -> dict[str, str]:
    """The settings of a task as they were when its record was made, under dotted names.

    A setting that did not exist then has today's default, which does the same as before it existed.
    """
    found = _merged(resolve(task), resolved_of(record))
    if "winner" in record.get("result", {}):
        found["fit"] = record["result"]["winner"]["fit"]
    return {name: text_of(value) for name, value in flat(found).items()}


def param_names(task: Task) -> set[str]:
    """The names in :func:`params_of` that do not depend on the record."""
    return set(flat(resolve(task)))


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    found = {**below, **above}
    for name, value in below.items():
        if isinstance(value, dict) and isinstance(above.get(name), dict):
            found[name] = _merged(value, above[name])
    return found


def ended(record: Record) -> int:
    """The time in ms at which the task ended, from the record, so that writing it twice adds no second point."""
    return int(record["ended_ms"])


def _where(record: Record) -> dict[str, Any]:
    """The device and the data of a task; older records lack some of it."""
    environment, result = record["environment"], record.get("result", {})
    found = {name: environment.get(name) for name in ("device_name", "gpus_per_job")}
    found |= {name: result.get(name) for name in ("device", "precision", "dataset_fingerprint")}
    return {name: value for name, value in found.items() if value}


def _code(record: Record) -> dict[str, str]:
    """Fingerprints of the user's own code: one of the code that methods share, and one of the method's."""
    code = record.get("code", {})
    of_methods = {key: digest for key, digest in code.items() if key.startswith(("criterion ", "feature "))}
    shared = {key: digest for key, digest in code.items() if key not in of_methods}
    return {tag: content_id(part) for tag, part in ((CODE, shared), (OF_METHOD_CODE, of_methods)) if part}


def metrics_of(task: Task, result: Json, now: int) -> list[Metric]:
    """Series with one step per epoch or iteration, and single numbers, including those that people filter by."""
    series: dict[str, list[float]] = {}
    plain: dict[str, float] = {
        name: result[name] for name in ("seconds", "images", "images_score", "parameters") if name in result
    }
    if isinstance(task, Cell):
        series = result["history"]
        plain |= {
            name: result[name]
            for name in ("best_accuracy", "sparsity", "kept", "total", "seconds_score", "seconds_train")
        }
        plain |= {"seed": task.seed, "collapsed_layers": len(result["collapsed_layers"]), **_measures(result)}
    elif isinstance(task, SweepTask):
        status = [trial["status"] for trial in result["trials"]]
        plain |= {name: status.count(name) for name in ("done", "stopped", "failed")}
        plain |= {"trials": len(status), "value": result["best"]["value"]}
    elif isinstance(task, IrpTask):
        series = {"accuracy": result["accuracy"]}
        plain |= {"kept": result["kept"], "total": result["total"], "seed": task.seed}
    else:
        report = result["report"]
        plain |= {name: report[name] for name in ("train_r2", "held_out_r2", "binned_mean_r2") if name in report}
        series = {"validation_accuracy": report["refined"]["validation_accuracy"]} if "refined" in report else {}
        result = {"density_by_layer": report["layer_density_at_95"]}
    densities = result.get("density_by_layer", {})
    plain |= {f"density/{metric_name(layer)}": density for layer, density in densities.items()}
    steps = [Metric(name, value, now, step) for name, values in series.items() for step, value in enumerate(values, 1)]
    return steps + [Metric(name, float(value), now, 0) for name, value in plain.items()]


def _measures(result: Json) -> dict[str, float]:
    """The measurements of :func:`autosparse.analysis.measure`, as far as they could be made, and of changing masks."""
    measures: dict[str, float] = {}
    if "effective_sparsity" in result:
        measures |= {name: result[name] for name in ("effective_sparsity", "effective_kept")}
        measures |= {"disconnected_layers": len(result["disconnected_layers"])}
    if "flops_dense" in result:
        dense, pruned = result["flops_dense"], result["flops_pruned"]
        measures |= {"flops_dense": dense, "flops_pruned": pruned, "flops_share": pruned / max(dense, 1)}
        if "flops_trained" in result:
            measures["flops_trained"] = result["flops_trained"]
    if (changed := result.get("masks_changed")) and changed["steps"]:
        measures |= {"mask_changes": len(changed["steps"])}
        measures |= {f"mask_{name}": changed[name][-1] for name in ("overlap", "ever_alive")}
    return measures


def metric_name(layer: str) -> str:
    """A layer's name in characters that MLflow accepts; ``.`` and ``..``, which would be paths, get a prefix."""
    name = re.sub(r"[^\w\-. :]", "_", layer)
    return name if name.strip(".") else f"_{name}"


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings under dotted names, without those that are None."""
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        elif value is not None:
            found[f"{prefix}{name}"] = value
    return found
