"""The scorer: a fitted backbone with all it needs to score weights, and its files."""

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from autosparse.autos.backbones import Backbone, build_backbone
from autosparse.autos.features import Standardisation, check_inputs
from autosparse.autos.predict import Verdict, predict_all
from autosparse.criteria.autos import SPARSITIES
from autosparse.criteria.by_features import InRounds, in_rounds_from
from autosparse.devices import full_float32
from autosparse.errors import AutosparseError, CorruptFile
from autosparse.files import atomic_folder, read_record, refuse_pointer, write_atomic, write_record
from autosparse.irp.survival import mode_in
from autosparse.notebook import shown

FEW = 64
"""Fewer rows are not worth preparing the network for."""
IN_CACHE = 64
"""Rows of a costly network that a CPU scores at once: activations stay in the cache."""
FIGURES = {"held_out_r2": "held-out R²", "binned_mean_r2": "binned mean's R²", "train_r2": "train R²"}
"""Figures of a report, and what people call them."""
CONFIG, WEIGHTS = "scorer.json", "scorer.safetensors"


@dataclass
class Scorer:
    """Predicts the survival score of a weight, from its value and gradient at initialisation (AutoSparse eq. 3).

    One with ``in_rounds`` reads other features, too, or those of the network as masked so far.
    """

    backbone: str
    inputs: tuple[str, ...]
    standardisation: Standardisation
    network: Backbone
    in_rounds: InRounds | None = None
    """How it prunes what it scores; None: in one shot, by the values at initialisation alone."""
    report: dict[str, Any] = field(default_factory=dict)
    """What the fit found: R^2 on train and held-out rows, that of the binned mean, warnings."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """What it was fitted on, and how."""
    verdict: Verdict | None = field(default=None, repr=False, compare=False)
    """How :meth:`predict_all` last came to its scores."""

    def __repr__(self) -> str:
        measured = [f"{word} {self.report[key]:.3f}" for key, word in FIGURES.items() if key in self.report]
        how = "in one shot" if self.in_rounds is None else f"in {self.in_rounds.rounds} rounds"
        found = [*(measured or ["no report"]), *([f"warnings: {len(self.warnings)}"] if self.warnings else [])]
        return f"Scorer({self.backbone} of {', '.join(self.inputs)}, {how}: {', '.join(found)})"

    def _repr_html_(self) -> str:
        rows: list[tuple[str, object]] = [(w, self.report[key]) for key, w in FIGURES.items() if key in self.report]
        rows += [(f"learned from: {key}", self.provenance[key]) for key in ("rows", "seed") if key in self.provenance]
        return shown(self, ("", "value"), [*rows, *(("warning", warning) for warning in self.warnings)])

    def predict(self, features: dict[str, Tensor]) -> Tensor:
        """Predicted survival scores, float32 of shape (n,), on the features' device.

        :param features: each of shape (n,); those that ``inputs`` names are needed.
        """
        missing = [name for name in self.inputs if name not in features]
        if missing:
            raise AutosparseError(f"the scorer reads {', '.join(self.inputs)}; {missing[0]!r} is missing")
        columns = [features[name] for name in self.inputs]
        return self.predictor(columns[0].device, prepare=len(columns[0]) >= FEW)(columns)

    def clipped(self, features: Mapping[str, Tensor], deviations: float) -> dict[str, Tensor]:
        """The features, each clamped to within ``deviations`` standard deviations of its mean over the fit's rows."""
        fitted = zip(self.inputs, self.standardisation.mean, self.standardisation.std, strict=True)
        return {n: features[n].clamp(mean - deviations * std, mean + deviations * std) for n, mean, std in fitted}

    def predictor(self, device: torch.device, prepare: bool = True) -> Callable[[Sequence[Tensor]], Tensor]:
        """A function that predicts as :meth:`predict` does, for many calls: one column (n,) per input -> scores (n,).

        :param prepare: make the network fast first; for a costly one that takes as long as a hundred rows.
        """
        network = self.network.to(device).eval()
        ask = network.prepared() if prepare else network
        size = min(network.chunk, IN_CACHE) if network.costly and device.type == "cpu" else network.chunk

        @torch.no_grad()
        def predict(columns: Sequence[Tensor]) -> Tensor:
            starts = range(0, max(1, len(columns[0])), size)
            pieces = ([column[start : start + size] for column in columns] for start in starts)
            with full_float32():
                return torch.cat([ask(self.standardisation(piece)) for piece in pieces])

        return predict

    def predict_all(
        self, features: dict[str, Tensor], sparsities: Sequence[float] = SPARSITIES, exact: bool = False
    ) -> Tensor:
        """The scores of :func:`autosparse.autos.predict.predict_all`: of all weights of a network, fast."""
        self.verdict = predict_all(self, features, sparsities, exact)
        return self.verdict.scores

    @property
    def gradient_mode(self) -> str:
        """The mode of the gradients that it learned from, ``train`` or ``eval``; it reads only these."""
        return mode_in(self.provenance)

    @property
    def warnings(self) -> list[str]:
        """Reasons not to trust this scorer, found by the fit; empty if it learned."""
        return list(self.report.get("warnings", []))

    def save(self, folder: str | Path) -> Path:
        """Write ``scorer.safetensors`` and ``scorer.json``; the folder appears whole or not at all."""
        weights = to_safetensors({name: value.cpu().contiguous() for name, value in self.network.state_dict().items()})
        config = {
            "format": 1 if self.in_rounds is None else 2,
            "backbone": self.backbone,
            "inputs": list(self.inputs),
            **({} if self.in_rounds is None else {"in_rounds": asdict(self.in_rounds)}),
            "standardisation": {name: list(values) for name, values in asdict(self.standardisation).items()},
            "report": self.report,
            "provenance": self.provenance,
            "weights_sha256": hashlib.sha256(weights).hexdigest(),
        }
        with atomic_folder(Path(folder), ours=(CONFIG, WEIGHTS)) as temporary:
            write_atomic(temporary / WEIGHTS, weights)
            write_record(temporary / CONFIG, config)
        return Path(folder)


def require_one_shot(scorer: Scorer) -> None:
    """Raise if the scorer prunes in rounds: its score of a weight depends on what was pruned before."""
    if scorer.in_rounds is not None:
        raise AutosparseError(
            f"this scorer prunes in {scorer.in_rounds.rounds} rounds, and each scores only the weights that "
            "earlier rounds have left, so there are no scores of all weights to write: make masks with "
            "`autosparse prune --scorer`"
        )


def load_scorer(folder: str | Path) -> Scorer:
    """Read a scorer folder; nothing in it is unpickled, and files that are not the scorer's are left alone.

    A local copy of a Hugging Face repository is such a folder, too.

    :raises AutosparseError: if the folder has no scorer.
    :raises CorruptFile: if a file is damaged or foreign.
    """
    folder = Path(folder)
    try:
        if (folder / "scorer" / CONFIG).is_file():  # a fit's folder in the storage, with its sample beside the scorer
            folder = folder / "scorer"
        if not (folder / CONFIG).is_file():
            raise AutosparseError(f"no scorer in {folder}: {CONFIG} is missing; make one with `autosparse fit`")
        refuse_pointer(folder / CONFIG)
        config = read_record(folder / CONFIG)
        refuse_pointer(folder / WEIGHTS)
        content = (folder / WEIGHTS).read_bytes()
        if hashlib.sha256(content).hexdigest() != config["weights_sha256"]:
            raise CorruptFile(f"{folder / WEIGHTS} does not match its checksum; fit the scorer again")
        inputs = check_inputs(config["inputs"])
        network = build_backbone(config["backbone"], len(inputs), 0)
        network.load_state_dict(from_safetensors(content))
        scaling = Standardisation(**{name: tuple(values) for name, values in config["standardisation"].items()})
        values = [float(value) for value in (*scaling.mean, *scaling.std)]
        if not len(scaling.mean) == len(scaling.std) == len(inputs) or not all(map(math.isfinite, values)):
            raise KeyError("standardisation of every input")
        how = in_rounds_from(config["in_rounds"]) if "in_rounds" in config else None
        about = dict(config["report"]), dict(config["provenance"])
        return Scorer(config["backbone"], inputs, scaling, network.eval(), how, *about)
    except AutosparseError:
        raise
    except PermissionError as error:
        raise AutosparseError(f"cannot read the scorer in {folder}: {error.strerror}; ask its owner") from error
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise CorruptFile(f"{folder} is not a whole scorer: {error}; fit it again") from error
