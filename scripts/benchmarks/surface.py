"""A costly scorer on a whole network: through its certified surface, and asked about every weight.

In full: ResNet-18 (11.2 million weights) and the paper's ``resnet18`` scorer, which is fitted here for a hundred steps,
a minute or two on two cores, so that nothing needs to be at hand; AUTOSPARSE_SCORER names another. Asking it about
every weight takes hours: that is timed on a sample and multiplied up, and the masks are compared on a sample stratified
by rank, drawn apart from the certificate's. The time is that of the first surface, with its certificate, whether or not
it keeps the promise; the agreement is told of the first surface and of the last.

With ``--quick``: LeNet-5 and an ``mlp`` scorer that is treated as if it were costly, compared on all weights.
Images are those of ``parquet:cifar10-jpeg`` if the data root has them, else the embedded digits.
"""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import autosparse as asp
from autosparse.autos.certificate import certify
from autosparse.autos.predict import BUDGETS, tabulate
from autosparse.autos.surface import Surface
from autosparse.criteria.autos import SPARSITIES, survival_features
from autosparse.irp import Survival
from autosparse.masks import keep_count, top_k
from autosparse.seeds import generator
from benchmarks.harness import Figure, Options, Result, seconds, side_by_side

SAMPLE, SAMPLE_ON_GPU = 512, 1 << 15
"""Number of weights on which exact scoring is timed: enough to fill the device."""
STRATUM = 400
"""Number of weights per stratum on which masks are compared, if not on all."""


def measure(options: Options) -> Iterator[Result]:
    """A costly scorer on a whole network: its certified surface beside every weight scored exactly."""
    model, backbone = ("lenet-5", "mlp") if options.quick else ("resnet18", "resnet18")
    features = _features(model, options)
    given = None if options.quick else os.environ.get("AUTOSPARSE_SCORER")
    scorer = asp.load_scorer(given) if given else fitted(features, backbone, options.device)
    scorer.network.costly = True  # type: ignore[misc]
    what = f"{model} scored by {backbone}"
    yield from _beside_exact(scorer, features, what, options)
    yield from agreement(scorer, features, what, options, BUDGETS[:1])
    if not options.quick:
        yield from agreement(scorer, features, what, options, BUDGETS)
    yield look_up_rate(features, options)


def _features(model: str, options: Options) -> dict[str, Tensor]:
    """Compute the features of a network at initialisation."""
    real = options.data_root and not options.quick and (Path(options.data_root) / "cifar10-jpeg").is_dir()
    data = asp.load_dataset("parquet:cifar10-jpeg" if real else "digits", options.data_root)
    side = 28 if options.quick else 32
    drawn = data.to(options.device).scoring_batches(generator(0, "bench"), 1024)
    batches = [(F.interpolate(x, side), y) for x, y in drawn]
    network = asp.build_model(model, data.num_classes, tuple(batches[0][0].shape[1:])).to(options.device)
    return survival_features(network, batches, F.cross_entropy, ("param", "grad"))


def fitted(features: dict[str, Tensor], backbone: str, device: torch.device) -> asp.Scorer:
    """Fit a scorer to made-up survival: large weights with large gradients survive longest, with noise."""
    draws = generator(0, "survival")
    rows = torch.randint(len(features["param"]), (7111,), generator=draws)
    theta, g = (features[name].cpu()[rows] for name in ("param", "grad"))
    strength = theta.abs() / theta.std() + g.abs() / g.std() + torch.randn(len(rows), generator=draws) / 2
    counts = (strength.argsort().argsort() * 20 // len(rows)).int()
    survival = Survival({"w": theta}, {"w": g}, {"w": counts}, {"iterations": 20})
    epochs = 1 if backbone == "resnet18" else 20
    return asp.fit_scorer(survival, backbone, epochs=epochs, batch_size=64, lr=2e-3, device=device)


def _beside_exact(scorer: asp.Scorer, features: dict[str, Tensor], what: str, options: Options) -> list[Result]:
    """Compare the rates of both ways, and give the time of the surface."""
    total = len(features["param"])
    count = min(total, SAMPLE_ON_GPU if options.device.type == "cuda" else SAMPLE)
    rows = torch.randperm(total, generator=generator(0, "timed"))[:count].to(options.device)
    sample = {name: column[rows] for name, column in features.items()}
    scorer.predict(sample)  # warm, because the exact way is timed once and multiplied up
    result = side_by_side(
        what,
        ("exact, multiplied up", lambda: count / seconds(lambda: scorer.predict(sample), options.device)),
        lambda: total / seconds(lambda: tabulate(scorer, features, SPARSITIES, BUDGETS[:1]), options.device),
        "weights/s",
        1,
        goal=None if options.quick else 1000,
    )
    result.notes["exact"] = f"timed on {count:,} weights and multiplied up"
    took = total / result.rates[0]
    goal = ("", None) if options.quick else ("below 60", took < 60)
    return [result, Figure(f"{what}: {total:,} weights, all included", took, "s", *goal)]


def agreement(
    scorer: asp.Scorer, features: dict[str, Tensor], what: str, options: Options, budgets: Sequence[int]
) -> list[Result]:
    """Compare the surface's masks with the network's, on all weights if quick, else on a separate sample."""
    verdict, columns = tabulate(scorer, features, SPARSITIES, budgets), [features[name] for name in scorer.inputs]
    keep = [keep_count(len(columns[0]), sparsity) for sparsity in SPARSITIES]
    if options.quick:
        exact = scorer.predict(features)
        found = {str(kept): _iou(verdict.scores, exact, kept) for kept in keep}
    else:

        def evaluate(asked: list[Tensor]) -> Tensor:
            return scorer.predict(dict(zip(scorer.inputs, asked, strict=True)))

        found = certify(evaluate, columns, verdict.scores, keep, seed=1, per_stratum=STRATUM).iou
    promised = verdict.certificate.iou if verdict.certificate else {}
    return [
        Figure(
            f"{what}: masks' IoU with exact at {sparsity:.0%}, {verdict.evaluations:,} evaluations",
            found[str(kept)],
            "",
            "at least 0.99",
            found[str(kept)] >= 0.99,
            {"evaluations": verdict.evaluations, "certificate": promised.get(str(kept)), "all weights": options.quick},
        )
        for sparsity, kept in zip(SPARSITIES, keep, strict=True)
    ]


def _iou(scores: Tensor, exact: Tensor, kept: int) -> float:
    mine, theirs = top_k(scores, kept), top_k(exact, kept)
    return float((mine & theirs).sum() / (mine | theirs).sum())


def look_up_rate(features: dict[str, Tensor], options: Options, rows: int = 1 << 23) -> Figure:
    """Weights per second through a finished table; ``features`` are repeated up to ``rows``."""
    columns = [column.repeat(-(-rows // len(column)))[:rows].contiguous() for column in features.values()]
    table = Surface(lambda asked: sum(column.abs() for column in asked), columns, [rows // 10]).table

    def once() -> float:
        return seconds(lambda: table(columns), options.device)

    rate = rows / min(once() for _ in range(5)) / 1e6
    return Figure(
        "weights through a surface of two inputs", rate, "M/s", "at least 20 M/s on 2 cores", rate >= 20,
        {"threads": torch.get_num_threads(), "weights": rows, "best of": 5},
    )  # fmt: skip
