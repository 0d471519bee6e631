"""Compare pruning in training and in evaluation mode: ``python scripts/compare_modes.py``.

SNIP, GraSP (temperature 200) and AutoS score one network in both modes; what they leave is trained and tested. AutoS
has one scorer per mode. Both are fitted on one IRP run (seed 100), each with the run's initial gradient in its own
mode; within IRP, SNIP scores in its default mode. Prints one JSON object per seed, then a table in Markdown: mean ±
sample standard deviation over seeds of the test accuracy, the correlation of the two g_0, and the IoU of the masks.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.images import first
from torch import Tensor, nn

import autosparse as asp
from autosparse.analysis import iou
from autosparse.criteria.autos import survival_features
from autosparse.data.split import Batch, Dataset
from autosparse.seeds import derive_seed, generator
from autosparse.training import Execution, train

MODES = ("train", "eval")
IRP_SEED = 100
OPTIONS: dict[str, dict[str, Any]] = {"snip": {}, "grasp": {"temperature": 200}, "autos": {}}


def build(options: argparse.Namespace, dataset: Dataset, seed: int) -> nn.Module:
    """The network at initialisation."""
    return asp.build_model(options.model, dataset.num_classes, dataset.input_shape, seed)


def scoring(dataset: Dataset, seed: int) -> list[Batch]:
    """All training images, in an order that depends on the seed."""
    return list(dataset.scoring_batches(generator(seed, "score"), limit=None))


def fit_scorers(options: argparse.Namespace, dataset: Dataset, recipe: asp.Recipe) -> dict[str, asp.Scorer]:
    """Fit one scorer per mode to one IRP run."""
    model = build(options, dataset, IRP_SEED)
    survival = asp.rewind_prune(
        model, dataset, iterations=options.iterations, final_density=0.01, recipe=recipe, seed=IRP_SEED,
        score_examples=None, execution=Execution(options.precision), gradient_mode="eval",
    )  # fmt: skip
    g = survival_features(model, scoring(dataset, IRP_SEED), F.cross_entropy, ("grad",), "train")["grad"]
    pieces = g.split([grad.numel() for grad in survival.grad.values()])
    grad = {n: piece.view_as(own) for (n, own), piece in zip(survival.grad.items(), pieces, strict=True)}
    other = replace(survival, grad=grad, provenance={**survival.provenance, "gradient_mode": "train"})
    return {one.gradient_mode: asp.fit_scorer(one, "conditional-mean") for one in (survival, other)}


def correlations(model: nn.Module, batches: list[Batch]) -> dict[str, float]:
    """Correlations of the gradients in the two modes: Pearson's, and Spearman's also of their magnitudes."""
    one, other = (survival_features(model, batches, F.cross_entropy, ("grad",), mode)["grad"] for mode in MODES)
    ranks = [[part.argsort().argsort() for part in (g, g.abs())] for g in (one, other)]
    return {
        "pearson": correlation(one, other),
        "spearman": correlation(ranks[0][0], ranks[1][0]),
        "spearman of magnitudes": correlation(ranks[0][1], ranks[1][1]),
    }


def correlation(a: Tensor, b: Tensor) -> float:
    """Pearson's correlation."""
    return torch.corrcoef(torch.stack([a.double(), b.double()]))[0, 1].item()


def rows(options: argparse.Namespace, dataset: Dataset, recipe: asp.Recipe) -> Iterator[dict[str, object]]:
    """Yield the figures of each seed."""
    scorers = {} if options.masks_only else fit_scorers(options, dataset, recipe)
    methods = {name: given for name, given in OPTIONS.items() if name != "autos" or scorers}
    for seed in options.seeds:
        batches = scoring(dataset, seed)
        row: dict[str, object] = {"seed": seed, **correlations(build(options, dataset, seed), batches)}
        for sparsity in options.sparsities:
            for name, given in methods.items():
                masks = {}
                for mode in MODES:
                    model = build(options, dataset, seed)
                    own: dict[str, Any] = {"scorer": scorers[mode]} if name == "autos" else {"mode": mode}
                    masks[mode] = asp.prune(model, name, sparsity, batches, **given, **own)
                    if options.masks_only:
                        continue
                    execution = Execution(options.precision)
                    seed_of = derive_seed(seed, "training")
                    history = train(model, dataset, recipe, masks[mode], seed_of, execution=execution)
                    row[f"{name} {sparsity:g} {mode}"] = history.last
                row[f"{name} {sparsity:g} IoU"] = iou(masks["train"], masks["eval"])
        yield row


def table(found: list[dict[str, object]], options: argparse.Namespace) -> Iterator[str]:
    """Yield the lines of a table of all seeds in Markdown."""

    def told(key: str, digits: int = 2) -> str:
        values = [float(str(row[key])) for row in found if key in row]
        if not values:
            return ""
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{spread}"

    yield "| method | sparsity | train | eval | IoU of the masks |"
    yield "|---|---|---|---|---|"
    for name in OPTIONS:
        for sparsity in options.sparsities:
            key = f"{name} {sparsity:g}"
            if f"{key} IoU" in found[0]:
                columns = " | ".join(told(f"{key} {what}") for what in (*MODES, "IoU"))
                yield f"| {name} | {sparsity:g} | {columns} |"
    yield "correlation of the two g_0: " + ", ".join(
        f"{kind} {told(kind, 3)}" for kind in ("pearson", "spearman", "spearman of magnitudes")
    )


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="resnet20")
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--data-root", default=None)
    parser.add_argument("--train-images", type=int, default=None, help="the first so many; all, if left out")
    parser.add_argument("--test-images", type=int, default=None)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--iterations", type=int, default=6, help="of the IRP run")
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.9, 0.98])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--masks-only", action="store_true", help="no training, and so no AutoS")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = asp.load_dataset(options.dataset, root=options.data_root)
    dataset = first(data, options.train_images or len(data.train), options.test_images or len(data.test))
    recipe = asp.Recipe(epochs=options.epochs, batch_size=options.batch_size)
    found = []
    for row in rows(options, dataset, recipe):
        print(json.dumps(row), flush=True)
        found.append(row)
    print("\n".join(table(found, options)))


if __name__ == "__main__":
    main()
