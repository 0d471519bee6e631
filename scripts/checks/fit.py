"""The benchmark of fitting a scorer, and a short fit of each backbone whose scores are compared with the CPU's."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
from benchmarks import fitting
from benchmarks.harness import Options, Result, seconds
from benchmarks.usual_loop import TRANSFORMS

import autosparse as asp
from autosparse.autos.backbones import BACKBONES
from checks.figures import record
from checks.report import Problem, Report, Skipped
from checks.subjects import made_up_survival

FROM_TORCHVISION = ("resnet18", "vgg19")
NEAR = {"mlp": 1e-3, "conditional-mean": 1e-4, "linear": 1e-5, "trees": 1e-4, "resnet18": 2e-2, "vgg19": 2e-2}
"""Largest allowed difference of a score from the CPU's; convolutions are computed in TF32."""


def check(options: Options, report: Report) -> None:
    """Measure, then try each backbone."""
    for name in BACKBONES:
        with report.entry(f"backbone {name}") as found:
            if name in FROM_TORCHVISION and TRANSFORMS != "torchvision":
                raise Skipped("torchvision is absent")
            if name in FROM_TORCHVISION and options.quick:
                raise Skipped("it is for a GPU")
            a_fit(name, options, found)
    record(report, _small(options) if options.quick else fitting.measure(replace(options, quick=True)))


def a_fit(name: str, options: Options, found: dict[str, Any]) -> None:
    """Fit a backbone to made-up survival for one epoch, and compare its scores of a few rows on both devices."""
    survival, scorers = made_up_survival(5000), []
    given = {"epochs": 1, "batch_size": 64, "lr": 2e-3} if BACKBONES[name].by_gradient else {}
    fitted = lambda: asp.fit_scorer(survival, name, device=options.device, **given)  # noqa: E731
    found["seconds"] = seconds(lambda: scorers.append(fitted()), options.device)
    found["report"] = scorers[0].report
    rows = {feature: values[:256] for feature, values in survival.flat()[0].items()}
    mine = scorers[0].predict({feature: values.to(options.device) for feature, values in rows.items()})
    found["score apart"] = float((mine.cpu() - scorers[0].predict(rows)).abs().max())
    if not torch.isfinite(mine).all():
        raise Problem("scores are not finite")
    if found["score apart"] > NEAR[name]:
        raise Problem(f"scores are {found['score apart']:.2g} from the CPU's, more than {NEAR[name]:g}")


def _small(options: Options) -> Iterator[Result]:
    yield fitting.epochs(fitting.survival(3000), options.device, 1)
    yield fitting.samples(fitting.survival(5000), 1000, options.device, 1)
