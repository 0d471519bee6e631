"""The card of a scorer."""

from collections.abc import Sequence
from typing import Any

from autosparse.autos import Scorer
from autosparse.report.card import LIBRARY, assemble, public_name, table, told
from autosparse.results.of_scorer import Measured

FIGURES = {
    "held_out_r2": "R² on held-out weights",
    "binned_mean_r2": "R² of a binned conditional mean, roughly the best attainable",
    "train_r2": "R² on the weights learned from",
}
LOADING = """```python
import autosparse as asp

scorer = asp.load_scorer("{name}")    # the folder of a local copy
masks = asp.prune(model, "autos", 0.95, batches, scorer=scorer)
```"""


def scorer_card(scorer: Scorer, name: str, measured: Sequence[Measured] = ()) -> str:
    """The card of a scorer.

    :param name: what to call it.
    :param measured: accuracies of networks that it has pruned.
    """
    made = list(scorer.provenance.get("survival", []))
    datasets = sorted({public_name(str(run["dataset"])) for run in made if "dataset" in run})
    header: dict[str, Any] = {
        "library_name": LIBRARY,
        "tags": [LIBRARY, "pruning", "pruning-at-initialization", "sparsity", scorer.backbone],
        **({"datasets": datasets} if datasets else {}),
        "model-index": [{"name": name, "results": [*_fit(scorer), *map(_accuracy, measured)]}],
    }
    return assemble(header, "\n\n".join(_body(scorer, name, made, measured)))


def _fit(scorer: Scorer) -> list[dict[str, Any]]:
    metrics = [{"type": "r_squared", "value": value, "name": words} for words, value in _figures(scorer)]
    task = {"type": "tabular-regression", "name": "survival of weights"}
    dataset = {"type": "survival", "name": "survival dataset"}
    return [{"task": task, "dataset": dataset, "metrics": metrics}] if metrics else []


def _figures(scorer: Scorer) -> list[tuple[str, float]]:
    return [(words, float(scorer.report[key])) for key, words in FIGURES.items() if key in scorer.report]


def _accuracy(measured: Measured) -> dict[str, Any]:
    dataset = public_name(measured.dataset)
    what = f"test accuracy in %, {measured.model} at sparsity {measured.sparsity:g}, mean of {measured.seeds} seeds"
    what += f" ({measured.experiment}: {measured.how})" if measured.how else f" ({measured.experiment})"
    return {
        "task": {"type": "image-classification", "name": "pruning at initialisation, then training"},
        "dataset": {"type": dataset, "name": dataset},
        "metrics": [{"type": "accuracy", "value": round(measured.accuracy, 4), "name": what}],
    }


def _body(scorer: Scorer, name: str, made: list[dict[str, Any]], measured: Sequence[Measured]) -> list[str]:
    how = "in one shot" if scorer.in_rounds is None else f"in {scorer.in_rounds.rounds} rounds"
    known = scorer.provenance
    settings: dict[str, object] = {
        "backbone": scorer.backbone,
        "inputs": ", ".join(scorer.inputs),
        "prunes": how,
        "mode of the gradients": scorer.gradient_mode,
        **{key: known[key] for key in ("rows", "seed", "epochs", "batch_size", "lr", "code_version") if key in known},
    }
    figures = _figures(scorer)
    parts = [
        f"# {name}",
        "A scorer of autosparse (AutoS, [Liu et al. 2024](https://arxiv.org/abs/2408.14757)). It predicts how many "
        f"rounds of iterative pruning a weight survives, and so prunes other networks at initialisation, {how}.",
        LOADING.format(name=name),
        "## How it was made",
        table(("setting", "value"), settings.items()),
    ]
    if made:
        columns = ("model", "dataset", "criterion", "iterations", "final_density", "seed")
        runs = table(columns, [told(run, columns) for run in made])
        parts += ["It learned from these runs of iterative rewind pruning:", runs]
    if figures:
        parts += ["## How well it fits", table(("figure", "value"), figures)]
    if scorer.warnings:
        parts += ["The fit warns:", *(f"- {' '.join(warning.split())}" for warning in scorer.warnings)]
    if measured:
        names = ("model", "data set", "sparsity", "test accuracy in %", "seeds", "experiment", "settings")
        rows = [
            (m.model, public_name(m.dataset), m.sparsity, m.accuracy, m.seeds, m.experiment, m.how) for m in measured
        ]
        parts += ["## Networks that it has pruned", table(names, rows)]
    return parts
