"""The masks of one network, the same as those of a grid cell."""

from typing import Any

from autosparse.autos import Scorer
from autosparse.criteria import CRITERIA, prune
from autosparse.data.split import Dataset
from autosparse.errors import AutosparseError
from autosparse.irp.rewind import SCORE_EXAMPLES
from autosparse.masks import Masks
from autosparse.models import build_model
from autosparse.seeds import generator


def masks_of(
    model_name: str, dataset: Dataset, criterion: str, sparsity: float, seed: int, scorer: Scorer | None = None
) -> Masks:
    """Masks at initialisation; with the seed of a grid cell, the network and scoring images are the cell's.

    :raises AutosparseError: if the criterion trains on the way, lacks a scorer, or takes none.
    """
    found = CRITERIA[criterion]
    if "training" in found.needs:
        raise AutosparseError(f"{criterion!r} trains the network on its way; use it in `autosparse run`")
    if ("scorer" in found.needs) != (scorer is not None):
        raise AutosparseError(
            f"{criterion!r} needs --scorer, a folder or models:/autos@champion"
            if scorer is None
            else f"{criterion!r} takes no scorer; leave --scorer out"
        )
    options: dict[str, Any] = {"scorer": scorer} if scorer is not None else {}
    if "seed" in found.options:
        options["seed"] = seed
    model = build_model(model_name, dataset.num_classes, dataset.input_shape, seed)
    batches = list(dataset.scoring_batches(generator(seed, "score"), limit=SCORE_EXAMPLES))
    return prune(model, criterion, sparsity, batches, **options)
