"""The benchmark of a scorer's surface: ResNet-18 scored by the paper's backbone; without a GPU or torchvision, less."""

from dataclasses import replace

from benchmarks import surface
from benchmarks.harness import Options
from benchmarks.usual_loop import TRANSFORMS

from checks.figures import record
from checks.report import Report
from checks.subjects import made_up_survival


def check(options: Options, report: Report) -> None:
    """Measure the surface; on a CPU, for a few weights."""
    if options.quick:
        few_weights(options, report)
        return
    whole = TRANSFORMS == "torchvision"
    with report.entry("form") as found:
        found["whole"] = whole
        found["why"] = "torchvision is here" if whole else "without torchvision there is no ResNet-18 backbone"
    record(report, surface.measure(replace(options, quick=not whole)))


def few_weights(options: Options, report: Report) -> None:
    """Measure masks and look-ups for a few weights, with a small scorer that is treated as if it were costly."""
    features, _ = made_up_survival(20_000).flat()
    scorer = surface.fitted(features, "mlp", options.device)
    scorer.network.costly = True
    record(report, surface.agreement(scorer, features, "20,000 weights scored by mlp", options, surface.BUDGETS[:1]))
    record(report, [surface.look_up_rate(features, options, 300_000)])
