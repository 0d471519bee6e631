"""Measure masked beside physically pruned inference: ``python scripts/bench_physical.py``.

Prints one JSON object: per network and channel sparsity, parameters before and after, the median milliseconds of a
batch through the masked and the smaller network (repetitions interleaved, so that both meet the same load), the ratios
of the medians and of the fastest, and the largest absolute difference of the logits. Biases and BatchNorm have drawn
values, as after training.
"""

import argparse
import copy
import json
import platform
import statistics
from collections.abc import Iterator

import torch
from benchmarks.harness import seconds
from torch import Tensor, nn

import autosparse as asp
from autosparse.seeds import generator

MODELS = ("resnet18", "vgg16")
SPARSITIES = (0.5, 0.8)
SHAPE = (3, 32, 32)


def milliseconds(model: nn.Module, x: Tensor) -> float:
    """Milliseconds of one pass of ``x`` through ``model``."""
    return 1e3 * seconds(lambda: model(x), x.device)


@torch.no_grad()
def unsettle_(model: nn.Module, x: Tensor) -> nn.Module:
    """Draw biases and BatchNorm's parameters, with the statistics of ``x``, as after training; set evaluation mode."""
    draws = generator(0, "bench")
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5, generator=draws)
            module.momentum = 1.0
        if getattr(module, "bias", None) is not None:
            module.bias.normal_(0, 0.5, generator=draws)
    model.to(x.device).train()(x)
    return model.eval()


def compare(name: str, sparsity: float, criterion: str, x: Tensor, repetitions: int) -> dict[str, object]:
    """Figures of one network at one sparsity."""
    model = unsettle_(asp.build_model(name, 10, SHAPE), x)
    masks = asp.prune(model, criterion, sparsity, [(x, torch.arange(len(x), device=x.device) % 10)])
    masked, smaller = masks.apply_(copy.deepcopy(model)), asp.physically_prune(model, masks)
    before, after = (sum(p.numel() for p in network.parameters()) for network in (model, smaller))
    return {
        "model": name,
        "sparsity": sparsity,
        "parameters_before": before,
        "parameters_after": after,
        **timed(masked, smaller, x, repetitions),
    }


@torch.inference_mode()
def timed(masked: nn.Module, smaller: nn.Module, x: Tensor, repetitions: int) -> dict[str, float]:
    """Median milliseconds of both networks in turn, after two rounds of warming up, and how far their logits differ."""
    rounds = [(milliseconds(masked, x), milliseconds(smaller, x)) for _ in range(repetitions + 2)][2:]
    masked_times, smaller_times = zip(*rounds, strict=True)
    slow, fast = statistics.median(masked_times), statistics.median(smaller_times)
    logits = masked(x)
    return {
        "milliseconds_masked": round(slow, 3),
        "milliseconds_smaller": round(fast, 3),
        "speedup": round(slow / fast, 2),
        "speedup_of_fastest": round(min(masked_times) / min(smaller_times), 2),
        "largest_difference": float((logits - smaller(x)).abs().max()),
        "largest_logit": float(logits.abs().max()),
    }


def rows(options: argparse.Namespace) -> Iterator[dict[str, object]]:
    """Yield one row per network and sparsity."""
    x = torch.randn(options.batch, *SHAPE, generator=generator(0, "images")).to(options.device)
    for name in MODELS:
        for sparsity in SPARSITIES:
            yield compare(name, sparsity, options.criterion, x, options.repetitions)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--criterion", default="snip-structured")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repetitions", type=int, default=9)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the CPU; 1 if it is busy")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    chip = torch.cuda.get_device_name() if options.device.startswith("cuda") else platform.processor() or "cpu"
    about = {**vars(options), "chip": chip, "torch": torch.__version__}
    print(json.dumps({**about, "rows": list(rows(options))}, indent=2))


if __name__ == "__main__":
    main()
