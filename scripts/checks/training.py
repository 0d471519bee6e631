"""The benchmark of training: LeNet-300-100 against the usual loop, and together against one by one."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks import training
from benchmarks.harness import Options, Result, seconds, side_by_side
from benchmarks.images import first
from benchmarks.usual_loop import TRANSFORMS, usual_epochs

import autosparse as asp
from checks.figures import record
from checks.report import Report


def check(options: Options, report: Report) -> None:
    """Measure in the benchmark's quick form; on a CPU, measure less."""
    with report.entry("transforms of the usual loop") as found:
        found["whose"] = TRANSFORMS
    record(report, _small(options) if options.quick else training.measure(replace(options, quick=True)))


def _small(options: Options) -> Iterator[Result]:
    few = first(asp.load_dataset("digits"), 256)
    theirs, ours = (training.pruned("lenet-300-100", few, 0, options.device) for _ in range(2))
    usual = usual_epochs(theirs.model, theirs.masks, few, training.RECIPE, options.device)
    yield side_by_side(
        "LeNet-300-100/256 digits, one epoch",
        ("usual loop", lambda: 1 / seconds(lambda: next(usual))),
        lambda: 1 / seconds(lambda: asp.train(ours.model, few, training.RECIPE, ours.masks)),
        "model-epochs/s",
        1,
    )
    yield training.together("lenet-300-100", few, 2, options, 1)
