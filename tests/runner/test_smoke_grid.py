"""Every method on networks of four kinds at 90 %: it meets its sparsity, collapses no layer, and trains."""

import math

import pyarrow.parquet as pq
import pytest

from autosparse.autos import fit_scorer
from autosparse.criteria import CRITERIA
from autosparse.data import load_dataset
from autosparse.errors import AutosparseError
from autosparse.experiment.store import Store
from autosparse.experiment.tasks import Cell
from autosparse.irp import rewind_prune
from autosparse.models import build_model
from autosparse.runner.work.cells import run_cell
from autosparse.training import Recipe

NETWORKS = ("narrow_models:resnet20", "narrow_models:vgg16")
TRANSFORMER = "narrow_models:vit"
RANDOM = ("random", "random-structured")
FEW = {
    "force": {"rounds": 5},
    "early": {"rounds": 5},
    "iter-snip": {"rounds": 5},
    "prospr-first-order": {"steps": 5},
    "px": {"rounds": 5},
    "ntk-sap": {"rounds": 3, "draws": 1, "examples": 16},
    "lth": {"rounds": 2},
    "ltr": {"rounds": 2},
    "snip-iter": {"rounds": 2},
}
"""Options that spare time; everything else is at its default."""
DYNAMIC = [name for name in CRITERIA if "changing masks" in CRITERIA[name].needs]
FEW |= {name: {"every": 1, "until": 1.0} for name in DYNAMIC}


@pytest.fixture(scope="module")
def images(data_root, tmp_path_factory):
    """256 training and 128 test images of the lossy CIFAR-10: to decode all of them takes long."""
    whole, folder = data_root / "cifar10-jpeg", tmp_path_factory.mktemp("few")
    if not whole.is_dir():
        pytest.skip(f"no cifar10-jpeg under {data_root}")
    for split, count in (("train", 256), ("test", 128)):
        first = min(whole.glob(f"{split}-*.parquet"))
        pq.write_table(pq.read_table(first).slice(0, count), folder / f"{split}-00000.parquet")
    return load_dataset(f"parquet:{folder}")


@pytest.fixture(scope="module")
def store_with_scorer(tmp_path_factory):
    """A storage with the scorer that ``autos`` uses, fitted on digits."""
    store, digits = Store(tmp_path_factory.mktemp("smoke")), load_dataset("digits")
    model = build_model("lenet-300-100", 10, digits.input_shape, seed=100)
    survival = rewind_prune(model, digits, iterations=5, final_density=0.05, recipe=Recipe(epochs=1))
    fit_scorer(survival, epochs=3).save(store.files_path("scorer", "smoke") / "scorer")
    return store


def run_one(name, store, dataset, **settings):
    """The result of one cell at 90 %: of the weights, or of the channels."""
    structured = "channels" in CRITERIA[name].needs
    scorer = "smoke" if "scorer" in CRITERIA[name].needs else None
    cell = Cell(dataset=dataset.name, criterion=name, scorer=scorer, sparsity=0.9, seed=0, **settings)
    result = run_cell(cell, store, dataset, "cpu")
    assert all(map(math.isfinite, [*result["history"]["train_loss"], result["test_accuracy"]]))
    collapsing = (*RANDOM, *COLLAPSING) if cell.model == TRANSFORMER else RANDOM
    assert name in collapsing or result["collapsed_layers"] == []
    assert ("masks_changed" in result) == (name in DYNAMIC)
    if structured:
        assert result["kept"] < 0.2 * result["total"]
    else:
        assert result["kept"] == result["total"] - round(0.9 * result["total"])
    return result


@pytest.mark.parametrize("name", list(CRITERIA))
def test_method_prunes_and_trains_a_fully_connected_network(name, store_with_scorer):
    recipe = Recipe(epochs=2, lr=2e-3)
    options = {"every": 4} if name in DYNAMIC else {}
    result = run_one(
        name, store_with_scorer, load_dataset("digits"), model="lenet-300-100", recipe=recipe, options=options
    )
    first, *_, last = result["history"]["train_loss"]
    assert last < first or "training" in CRITERIA[name].needs
    assert 0 < result["effective_kept"] <= result["kept"]
    assert result["flops_pruned"] == 2 * result["kept"]


@pytest.mark.parametrize("network", [NETWORKS[0], pytest.param(NETWORKS[1], marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(CRITERIA))
def test_method_prunes_and_trains_a_convolutional_network(name, network, images, store_with_scorer):
    recipe = Recipe(optimizer="momentum", lr=0.05, epochs=1, augmentation="crop-flip")
    run_one(
        name, store_with_scorer, images, model=network, options=FEW.get(name, {}), score_examples=128, recipe=recipe
    )


CANNOT = {
    "px": "criterion 'px' cannot linearise VisionTransformer",
    "phew": "criterion 'phew' walks from channel to channel: no channel mapping for VisionTransformer",
    "npb": "criterion 'npb' cannot count paths through attention",
}
CANNOT |= {name: "no channel mapping for VisionTransformer" for name in CRITERIA if "channels" in CRITERIA[name].needs}
"""What cannot go through a transformer, and the one line that says so."""
COLLAPSING = ("synflow", "synflow-l2")
"""Methods that collapse a transformer: patches of a constant input look alike, so queries and keys carry no flow."""


@pytest.mark.parametrize("name", list(CRITERIA))
def test_method_prunes_and_trains_a_vision_transformer_or_says_why_not(name, store_with_scorer):
    settings = {"model": TRANSFORMER, "recipe": Recipe(epochs=1, lr=2e-3), "score_examples": 128}
    settings["options"] = {**FEW.get(name, {}), **({"every": 4} if name in DYNAMIC else {})}
    if name not in CANNOT:
        run_one(name, store_with_scorer, load_dataset("digits"), **settings)
        return
    with pytest.raises(AutosparseError, match=CANNOT[name]) as refused:
        run_one(name, store_with_scorer, load_dataset("digits"), **settings)
    assert "\n" not in str(refused.value)
