"""Which controls of Frankle et al. 2021 (arXiv:2009.08576) a method takes."""

from autosparse.criteria import CRITERIA
from autosparse.errors import AutosparseError
from autosparse.experiment.tasks import BRANCH, DENSE, Ablation


def check_ablation(method: str, ablation: Ablation) -> None:
    """Raise where ``ablation`` means nothing for the method."""
    if ablation is None:
        return
    if method == DENSE:
        raise AutosparseError("dense has no masks or scores to ablate")
    if method == BRANCH:
        if ablation == "invert":
            raise AutosparseError(
                f"{BRANCH!r} cannot be inverted: survival scores tie, and do not say which of the weights that fell "
                f"first would stay; invert a criterion"
            )
        return
    criterion = CRITERIA[method]
    structured = "channels" in criterion.needs
    if ablation == "invert" and "sparsity" in criterion.options:
        raise AutosparseError(f"{method!r} prunes in rounds or whole channels: its scores inverted mean nothing")
    if ablation == "shuffle" and structured:
        raise AutosparseError(
            f"{method!r} prunes whole channels, which a shuffle of single weights would take apart: "
            f"compare with random-structured instead"
        )
    if ablation == "reinit" and structured and criterion.changes_weights:
        raise AutosparseError(f"{method!r} sets the weights itself: drop `ablation: reinit`, or take 3sp")
