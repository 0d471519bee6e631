"""ProsPr: the meta-gradient against finite differences of training itself, and its first-order limit."""

import copy

import pytest
import torch
import torch.nn.functional as F
from small_nets import NETS, data, make, saliency_after_training
from torch import nn

from autosparse.criteria import CRITERIA, score
from autosparse.data import load_dataset
from autosparse.errors import AutosparseError
from autosparse.masks import prunable
from autosparse.models import build_model


@pytest.mark.parametrize("net", NETS)
def test_the_saliency_is_the_derivative_of_the_loss_after_training_by_the_mask(net):
    settings = {"steps": 3, "lr": 0.1, "momentum": 0.9}
    model, batches = make(net), data()
    expected = saliency_after_training(model, batches, **settings)
    for name, s in score(model, "prospr", batches, first_buffer="differentiated", **settings).items():
        assert torch.allclose(s, expected[name], atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("net", NETS)
def test_the_first_order_score_is_the_last_gradient_times_the_initial_weight(net):
    model, batches = make(net), data()
    trained = copy.deepcopy(model)
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.1, momentum=0.9)
    for x, y in batches[:3]:
        optimizer.zero_grad()
        F.cross_entropy(trained(x), y).backward()
        optimizer.step()
    x, y = batches[3]
    gradients = torch.autograd.grad(F.cross_entropy(trained(x), y), list(prunable(trained).values()))
    products = [(w.detach() * g).abs() for w, g in zip(prunable(model).values(), gradients, strict=True)]
    total = sum(p.sum() for p in products)
    scores = score(model, "prospr-first-order", batches, steps=3, lr=0.1, momentum=0.9)
    for s, p in zip(scores.values(), products, strict=True):
        assert torch.allclose(s, p / total, rtol=1e-10)


def test_with_a_small_learning_rate_both_orders_agree():
    batches = data()
    exact = score(make("linear"), "prospr", batches, steps=2, lr=1e-6)
    first = score(make("linear"), "prospr-first-order", batches, steps=2, lr=1e-6)
    assert all(torch.allclose(exact[name], first[name], rtol=1e-3, atol=1e-8) for name in exact)


def test_first_order_without_a_step_is_snip():
    batches = data(batches=1)
    first, snip = (
        score(make("conv"), name, batches, **options)
        for name, options in (("prospr-first-order", {"steps": 0}), ("snip", {}))
    )
    assert all(torch.allclose(first[name], snip[name]) for name in snip)


@pytest.mark.parametrize("name", ["prospr", "prospr-first-order"])
def test_the_model_is_left_as_it_was(name):
    model = make("residual with batchnorm")
    before = {key: value.clone() for key, value in model.state_dict().items()}
    score(model, name, data(), steps=2)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())


def test_batches_begin_again_where_they_run_out():
    batches = data(batches=2)
    again = score(make("linear"), "prospr", batches, steps=3)
    written_out = score(make("linear"), "prospr", batches + batches, steps=3)
    assert all(torch.equal(again[name], written_out[name]) for name in again)


def test_no_step_is_refused():
    with pytest.raises(AutosparseError, match="at least 1"):
        score(make("linear"), "prospr", data(), steps=0)


@pytest.mark.parametrize("name", ["prospr", "prospr-structured"])
def test_an_optimizer_that_is_not_differentiable_is_refused(name):
    options = {"sparsity": 0.5} if name == "prospr-structured" else {}
    with pytest.raises(
        AutosparseError, match=r"must be 'momentum' or 'sgd' \(ProsPr differentiates through its steps\), got 'adam'"
    ):
        score(make("conv"), name, data(), optimizer="adam", **options)


def test_sgd_is_momentum_of_zero():
    settings = ({"optimizer": "sgd", "momentum": 0.9}, {"momentum": 0.0})
    plain, none = (score(make("conv"), "prospr", data(), **o) for o in settings)
    assert all(torch.equal(plain[name], none[name]) for name in plain)


@pytest.mark.parametrize("name", ["prospr", "prospr-first-order", "prospr-structured"])
def test_the_defaults_are_the_authors(name):
    defaults = CRITERIA[name].defaults
    assert (defaults["lr"], defaults["momentum"], defaults["mode"]) == (0.1, 0.0, "train")


def loss_after_detached_steps(model, batches, first, weights, lr=0.1, momentum=0.9):
    """Three steps of which the first takes the gradient ``first``, whatever ``weights`` are: written out."""
    network = copy.deepcopy(model)
    now = [p.data.copy_(weights.get(n, p.data)) for n, p in network.named_parameters()]
    velocity = [g.clone() for g in first]
    for x, y in batches[1:3]:
        for value, v in zip(now, velocity, strict=True):
            value.sub_(lr * v)
        gradients = torch.autograd.grad(F.cross_entropy(network(x), y), list(network.parameters()))
        velocity = [momentum * v + g for v, g in zip(velocity, gradients, strict=True)]
    for value, v in zip(now, velocity, strict=True):
        value.sub_(lr * v)
    x, y = batches[3]
    return F.cross_entropy(network(x), y).item()


@pytest.mark.parametrize("net", NETS)
def test_a_detached_first_buffer_passes_on_no_derivative_of_the_first_gradient(net):
    model, batches, step, expected = make(net), data(), 1e-5, {}
    x, y = batches[0]
    first = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    for name, weight in prunable(model).items():
        expected[name] = torch.zeros_like(weight)
        for index in range(weight.numel()):
            losses = []
            for sign in (1, -1):
                gated = weight.detach().clone()
                gated.view(-1)[index] *= 1 + sign * step
                losses.append(loss_after_detached_steps(model, batches, first, {name: gated}))
            expected[name].view(-1)[index] = abs(losses[0] - losses[1]) / (2 * step)
    total = sum(e.sum() for e in expected.values())
    for name, s in score(model, "prospr", batches, steps=3, momentum=0.9).items():
        assert torch.allclose(s, expected[name] / total, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", ["prospr", "prospr-first-order", "prospr-structured"])
def test_without_new_data_the_first_batch_is_all_there_is(name):
    options = {"steps": 3, **({"sparsity": 0.5} if name == "prospr-structured" else {})}
    batches = data()
    one = score(make("conv"), name, batches, new_data=False, **options)
    alone = score(make("conv"), name, batches[:1], **options)
    assert all(torch.equal(one[layer], alone[layer]) for layer in one)


def test_on_resnet20_the_steps_diverge_in_evaluation_mode_and_are_refused():
    """BatchNorm's running statistics are 0 and 1 at initialisation: nothing keeps activations from growing."""
    digits = load_dataset("digits")
    model = build_model("resnet20", digits.num_classes, digits.input_shape, 0)
    batches = list(digits.scoring_batches(torch.Generator().manual_seed(0), limit=200))
    message = "diverges: the loss after .* is (nan|inf) .*mode 'train'"
    with pytest.raises(AutosparseError, match=message):
        score(model, "prospr", batches, mode="eval")
    with pytest.raises(AutosparseError, match=message):
        score(model, "prospr-first-order", batches, steps=3, mode="eval")
    assert all(s.isfinite().all() for s in score(model, "prospr", batches).values())


class Tied(nn.Module):
    """An embedding whose weight is also that of the last layer."""

    def __init__(self):
        super().__init__()
        self.embedding, self.hidden, self.head = nn.Embedding(8, 6), nn.Linear(6, 6), nn.Linear(6, 8, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, x):
        return self.head(self.hidden(self.embedding(x)).relu().mean(1))


def test_a_weight_that_an_embedding_has_first_is_scored_by_what_it_does():
    torch.manual_seed(0)
    model, steps = Tied().double(), {"steps": 2, "lr": 0.1, "momentum": 0.0}
    batches = [(torch.randint(8, (16, 5)), torch.randint(8, (16,))) for _ in range(3)]
    scores = score(model, "prospr", batches, **steps)
    expected = saliency_after_training(model, batches, **steps)
    assert scores["head.weight"].count_nonzero() > 0
    for name, found in scores.items():
        assert torch.allclose(found, expected[name], atol=1e-6, rtol=1e-4)
