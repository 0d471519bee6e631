"""Measure what a last bit changes: ``python scripts/last_bits.py``.

Two programs that compute the same sums in another order differ in their last bits, and so in the weight that is just
kept or just pruned. (1) Methods in rounds on the digits: the masks, had the first round kept another weight in place
of the one it kept last. (2) IRP on the digits: survival counts with the tensors of convolutions channels-last in
memory, as they are here, beside channels-first. Prints a table of each in Markdown.
"""

import contextlib
import statistics
from collections.abc import Iterator
from unittest.mock import patch

import torch
from torch import nn

import autosparse as asp
from autosparse.analysis import iou, survival_concordance
from autosparse.criteria import CRITERIA
from autosparse.masks import Masks, Scores
from autosparse.seeds import generator
from autosparse.training import loop

MODELS = ("lenet-300-100", "resnet20")
METHODS = ("snip-it", "iter-snip", "force", "synflow")
SPARSITY = 0.95
SEEDS = (0, 1)
IMAGES = 128
"""Images in the batch that all rounds score."""
ITERATIONS, EPOCHS = 3, 2


def swapped(masks: Masks, scores: Scores) -> Masks:
    """The same masks except for one weight: the best pruned weight replaces the worst kept one."""
    flat, kept = (torch.cat([part[name].flatten() for name in scores]) for part in (scores, masks))
    worst = flat.masked_fill(~kept, torch.inf).argmin()
    best = flat.masked_fill(kept, -torch.inf).argmax()
    kept[worst], kept[best] = False, True
    pieces = kept.split([score.numel() for score in scores.values()])
    return Masks({name: piece.view_as(scores[name]) for name, piece in zip(scores, pieces, strict=True)})


@contextlib.contextmanager
def one_other_weight() -> Iterator[None]:
    """Exchange the last weight of the first masks that are made from scores within the block."""
    select, first = Masks.from_scores, [True]

    def other(scores: Scores, sparsity: float, within: Masks | None = None) -> Masks:
        masks = select(scores, sparsity, within)
        return swapped(masks, scores) if first and first.pop() else masks

    with patch.object(Masks, "from_scores", other):
        yield


def channels_first() -> contextlib.AbstractContextManager[object]:
    """Keep the tensors of convolutions channels-first in trainings within the block."""
    return patch.object(loop, "channels_last", lambda *_: contextlib.nullcontext())


def build(name: str, data: asp.Dataset, seed: int) -> nn.Module:
    """The network at initialisation."""
    return asp.build_model(name, data.num_classes, data.input_shape, seed)


def rounds(data: asp.Dataset) -> Iterator[str]:
    """Yield the lines of the first table."""
    yield "| method | rounds | network | IoU with one other weight in round 1 | weights kept: different ones |"
    yield "|---|---|---|---|---|"
    for method in METHODS:
        own = CRITERIA[method].defaults
        count = own["rounds"] if "rounds" in own else own["steps"] + 2
        for name in MODELS:
            agree, differ, kept = [], [], 0
            for seed in SEEDS:
                batches = list(data.scoring_batches(generator(seed, "score"), limit=IMAGES))
                plain = asp.prune(build(name, data, seed), method, SPARSITY, batches)
                with one_other_weight():
                    other = asp.prune(build(name, data, seed), method, SPARSITY, batches)
                kept = plain.kept
                agree.append(iou(plain, other))
                differ.append(sum(int((plain[layer] & ~other[layer]).sum()) for layer in plain))
            shown = ", ".join(f"{value:.4f}" for value in agree)
            yield f"| {method} | {count} | {name} | {shown} | {kept:,}: {', '.join(map(str, differ))} |"


def layouts(data: asp.Dataset) -> Iterator[str]:
    """Yield the lines of the second table."""
    yield "| network | weights whose counts differ | concordance | IoU of the last masks | accuracies by iteration |"
    yield "|---|---|---|---|---|"
    recipe = asp.Recipe(epochs=EPOCHS)
    for seed in SEEDS:
        runs = []
        for layout in (contextlib.nullcontext(), channels_first()):
            with layout:
                model = build("resnet20", data, seed)
                runs.append(asp.rewind_prune(model, data, iterations=ITERATIONS, recipe=recipe, seed=seed))
        counts = [torch.cat([c.flatten() for c in run.survived.values()]) for run in runs]
        differ = (counts[0] != counts[1]).float().mean().item()
        masks = [run.masks(ITERATIONS) for run in runs]
        means = [statistics.mean(run.provenance["accuracy"]) for run in runs]
        yield (
            f"| resnet20, seed {seed} | {differ:.1%} | {survival_concordance(*runs):.3f} | {iou(*masks):.3f} "
            f"| {means[0]:.1f}, {means[1]:.1f} on average |"
        )


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    data = asp.load_dataset("digits")
    for table in (rounds, layouts):
        for line in table(data):
            print(line, flush=True)
        print()


if __name__ == "__main__":
    main()
