"""The masks of one network, as a grid's cell would have them."""

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
    """Masks at initialisation; the same seed as a grid cell's gives the same network and scoring images.

    :raises AutosparseError: for a criterion that trains on its way, or a scorer missing or too many.
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
