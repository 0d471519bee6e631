"""Explain a scorer: what each input is worth in accuracy, how the score depends on it, and a short formula."""

import hashlib
import json
import statistics
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from autosparse.autos import Scorer
from autosparse.autos.explain import Listening, mean_curves
from autosparse.autos.formulas import RAW, Formula, best_shape, formulas
from autosparse.criteria import prune
from autosparse.criteria.expression import parse
from autosparse.criteria.features.find import find_feature
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.experiment.record import Json
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.files import canonical_json, read_record, write_record
from autosparse.models import build_model
from autosparse.results.significance import Difference, half_width, paired
from autosparse.runner.work.cells import run_cells
from autosparse.seeds import generator
from autosparse.training import Recipe

EXPLANATION = "explanation.json"
WHOLE, PERMUTED, FORMULA = "as it is", "permuted: ", "formula: "
NEARLY = 0.99
"""The shortest formula with this share of the longest one's R^2 stands for the scorer."""

Tell = Callable[[str, float], None]
"""Callback for each measurement: a line about it, and the share of all that is done."""


@dataclass(frozen=True)
class Where:
    """The networks on which a scorer is explained."""

    model: str
    dataset: str
    sparsity: float
    seeds: tuple[int, ...] = (0, 1, 2)
    recipe: Recipe = field(default_factory=lambda: Recipe(epochs=5))
    score_examples: int | None = 5120


@dataclass
class Explanation:
    """Findings so far; accuracies in percent, by what was changed and by seed."""

    where: Where
    scorer: str
    """SHA-256 of the scorer's coefficients and scaling, in hex."""
    formulas: list[Formula] = field(default_factory=list)
    shapes: dict[str, dict[str, float]] = field(default_factory=dict)
    curves: dict[str, Any] = field(default_factory=dict)
    accuracy: dict[str, dict[str, float]] = field(default_factory=dict)
    data: str = ""
    """Fingerprint of the data set; empty in findings of earlier versions."""

    @property
    def formula(self) -> Formula:
        """The formula that stands for the scorer."""
        longest = self.formulas[-1]
        return next((formula for formula in self.formulas if formula.r2 >= NEARLY * longest.r2), longest)

    def by_seed(self, what: str) -> dict[int, float]:
        """Accuracies with one change, by seed."""
        return {int(seed): value for seed, value in self.accuracy.get(what, {}).items()}

    def loss(self, what: str) -> Difference | None:
        """Accuracy that the change costs, paired by seed."""
        return paired(self.by_seed(WHOLE), self.by_seed(what))

    @property
    def rows(self) -> list[Json]:
        """The inputs, sorted by the accuracy that they are worth, most first."""
        inputs = [what for what in self.accuracy if what.startswith(PERMUTED)]
        found = [(what.removeprefix(PERMUTED), loss) for what in inputs if (loss := self.loss(what))]
        return [
            {"input": name, "loss": loss.difference, "half_width": loss.half_width, "significant": loss.significant}
            for name, loss in sorted(found, key=lambda pair: -pair[1].difference)
        ]

    @property
    def summary(self) -> Json:
        """The findings as JSON."""
        whole, shortened = self.by_seed(WHOLE), self.by_seed(FORMULA + self.formula.expression)
        loss = self.loss(FORMULA + self.formula.expression)
        return {
            "accuracy": _mean(whole),
            "inputs": self.rows,
            "formula": {**asdict(self.formula), **_mean(shortened), "loss": asdict(loss) if loss else None},
            "shapes": self.shapes,
        }


def _mean(values: Mapping[int, float]) -> Json:
    numbers = list(values.values())
    return {"mean": statistics.fmean(numbers), "half_width": half_width(numbers), "n": len(numbers)} if numbers else {}


def explain(
    scorer: Scorer, where: Where, dataset: Dataset, folder: Path, device: str, tell: Tell = lambda what, share: None
) -> Explanation:
    """Prune networks with the scorer, with each of its inputs permuted, and by its formula; train them, and compare.

    Each accuracy is saved to ``explanation.json`` in ``folder`` at once, so that the same call can continue later.

    :raises AutosparseError: if the folder holds the explanation of something else.
    """
    found = _begun(scorer, where, dataset, folder)
    if not found.formulas:
        columns, predicted = _rows(scorer, where, dataset, device)
        found.formulas = formulas(columns, predicted)
        found.curves = mean_curves(columns, predicted)
        found.shapes = {name: best_shape(columns[name], predicted) for name in scorer.inputs if name in RAW}
        _keep(found, folder)
    changes = {WHOLE: {}, **{PERMUTED + name: {"permute": name} for name in scorer.inputs}}
    cells = {what: [_cell(where, seed, "autos", options) for seed in where.seeds] for what, options in changes.items()}
    text = found.formula.expression
    cells[FORMULA + text] = [_cell(where, seed, "formula", _as_formula(scorer, text)) for seed in where.seeds]
    todo = [(what, cell) for what, planned in cells.items() for cell in planned if cell.seed not in found.by_seed(what)]
    total = sum(map(len, cells.values()))
    for done, (what, cell) in enumerate(todo, 1):
        [[(_, result)]] = run_cells([cell], Store(folder), dataset, device, scorer_of=lambda _: scorer)
        if isinstance(result, Exception):
            raise result
        found.accuracy.setdefault(what, {})[str(cell.seed)] = result["test_accuracy"]
        _keep(found, folder)
        tell(f"{what} {result['test_accuracy']:.2f} %", 1 - (len(todo) - done) / total)
    return found


def _rows(scorer: Scorer, where: Where, dataset: Dataset, device: str) -> tuple[dict[str, Any], Any]:
    """The inputs that the scorer gets as it prunes the first network, and what it predicts from them."""
    seed = where.seeds[0]
    model = build_model(where.model, dataset.num_classes, dataset.input_shape, seed).to(device)
    batches = list(dataset.scoring_batches(generator(seed, "score"), limit=where.score_examples))
    listening = Listening(scorer)
    prune(model, "autos", where.sparsity, batches, scorer=listening, exact=not scorer.network.costly)
    return listening.rows


def _cell(where: Where, seed: int, criterion: str, options: dict[str, Any]) -> Cell:
    shared = {name: getattr(where, name) for name in ("model", "dataset", "sparsity", "score_examples", "recipe")}
    scorer = "explained" if criterion == "autos" else None
    return Cell(criterion=criterion, scorer=scorer, seed=seed, options=options, **shared)


def _as_formula(scorer: Scorer, text: str) -> dict[str, Any]:
    how = scorer.in_rounds
    options: dict[str, Any] = {"expression": text, "mode": scorer.gradient_mode}
    if how is None:
        return options
    options |= {"rounds": how.rounds, "revive": how.revive}
    if how.examples is not None:
        options["examples"] = how.examples
    if how.steps.count and any("steps" in find_feature(name).needs for name in parse(text, find_feature).names):
        steps = asdict(how.steps)
        options |= {"steps": steps.pop("count"), **steps}
    return options


def _begun(scorer: Scorer, where: Where, dataset: Dataset, folder: Path) -> Explanation:
    """The findings of an earlier call for the same scorer and networks; empty if there are none."""
    found = Explanation(where, _fingerprint(scorer), data=dataset.fingerprint)
    if not (folder / EXPLANATION).exists():
        return found
    record = read_record(folder / EXPLANATION)
    if record.get("where") != json.loads(canonical_json(asdict(where))) or record.get("scorer") != found.scorer:
        raise AutosparseError(f"{folder} explains another scorer, or this one on other networks: give another --out")
    if record.get("data", found.data) != found.data:
        raise AutosparseError(f"the data of {where.dataset} have changed since {folder} was begun: give another --out")
    found.formulas = [Formula(**values) for values in record["formulas"]]
    found.shapes, found.curves, found.accuracy = record["shapes"], record["curves"], record["accuracy"]
    return found


def _keep(found: Explanation, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_record(folder / EXPLANATION, asdict(found))


def _fingerprint(scorer: Scorer) -> str:
    digest = hashlib.sha256(repr((scorer.backbone, scorer.inputs, scorer.standardisation, scorer.in_rounds)).encode())
    for name, tensor in sorted(scorer.network.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
