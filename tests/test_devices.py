"""Full float32 holds within the block, whatever was set before it; afterwards the settings are as they were."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from autosparse.criteria import score
from autosparse.devices import backend, clock, full_float32
from autosparse.irp import rewind_prune
from autosparse.shards import save_features
from autosparse.training import Member, Recipe, why_not_together

cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
NEW = hasattr(cudnn, "conv")
needs_new = pytest.mark.skipif(not NEW, reason="this PyTorch has the old names only")


def tf32_settings():
    """What decides on TF32, as far as PyTorch will say."""

    def told(read):
        try:
            return read()
        except RuntimeError:
            return "mixed"

    old = [told(torch.get_float32_matmul_precision), told(lambda: cudnn.allow_tf32), told(lambda: matmul.allow_tf32)]
    return [*old, *([cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision] if NEW else [])]


FULL = ["highest", False, False, *(["ieee"] * 3 if NEW else [])]


@pytest.fixture(autouse=True)
def as_before():
    before = tf32_settings()
    yield
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = True
    if NEW:
        cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision, matmul.fp32_precision = before[3:]
    assert tf32_settings() == before


def set_new(owner):
    owner.fp32_precision = "ieee" if owner is cudnn.conv else "tf32"


@pytest.mark.parametrize(
    "said",
    [
        lambda: None,
        lambda: setattr(cudnn, "allow_tf32", False),
        lambda: setattr(matmul, "allow_tf32", True),
        lambda: torch.set_float32_matmul_precision("medium"),
        pytest.param(lambda: set_new(cudnn.conv), marks=needs_new),
        pytest.param(lambda: set_new(matmul), marks=needs_new),
    ],
)
def test_float32_is_float32_within_and_afterwards_what_the_user_said(said):
    said()
    before = tf32_settings()
    with full_float32():
        assert tf32_settings() == FULL
        with full_float32():
            pass
        assert tf32_settings() == FULL
    assert tf32_settings() == before


def test_after_an_error_it_is_as_before_too():
    before = tf32_settings()
    with pytest.raises(ZeroDivisionError), full_float32():
        raise ZeroDivisionError
    assert tf32_settings() == before


def test_a_cpu_has_no_module_of_its_own():
    assert backend(torch.device("cpu")) is None
    assert backend(torch.device("cuda", 1)) is torch.cuda


class Watching(nn.Sequential):
    """Notes the settings under which it computes."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.Linear(64, 10))
        self.seen = []

    def forward(self, x):
        self.seen.append(tf32_settings())
        return super().forward(x)


@pytest.fixture
def one_batch(tiny_digits):
    return [next(tiny_digits.train.batches(32))]


@pytest.mark.parametrize("name", ["snip", "grasp", "force"])
def test_scores_are_computed_in_full_float32(one_batch, name):
    model = Watching()
    score(model, name, one_batch, **({"sparsity": 0.5} if name == "force" else {}))
    assert model.seen
    assert all(seen == FULL for seen in model.seen)


def test_the_features_of_shards_are_too(one_batch, tmp_path):
    model = Watching()
    save_features(model, one_batch, tmp_path / "features")
    assert model.seen == [FULL]


def test_the_first_gradient_of_irp_is_too_and_its_trainings_are_as_told(tiny_digits):
    model, recipe = Watching(), Recipe(epochs=1, batch_size=200)
    rewind_prune(model, tiny_digits, iterations=1, recipe=recipe, score_examples=10)
    assert model.seen[0] == FULL, "g_0"
    assert model.seen[1] != FULL, "the training"
    assert model.seen[-1] == FULL, "the scores"


def test_networks_are_compared_in_full_float32_before_they_train_together(tiny_digits, monkeypatch):
    seen = []
    linear = F.linear
    monkeypatch.setattr(F, "linear", lambda *given: seen.append(tf32_settings()) or linear(*given))
    members = [Member(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), seed=seed) for seed in range(2)]
    assert why_not_together(members, tiny_digits) is None
    assert seen
    assert all(at == FULL for at in seen)


def test_the_clock_waits_for_accelerators_that_are_in_use(monkeypatch):
    waited = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waited.append("cuda"))
    before = clock()
    assert clock() >= before
    assert waited == ["cuda", "cuda"]
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: False)
    clock()
    assert len(waited) == 2
