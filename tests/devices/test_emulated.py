"""The emulated device itself: it computes what the CPU does, and refuses what a GPU refuses."""

import copy
from functools import partial

import emulated
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load, save
from torch import nn

pytestmark = pytest.mark.usefixtures("device")

HERE = emulated.NAME


def network():
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(convolution, nn.Linear(36, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 3))


def batch():
    draws = torch.Generator().manual_seed(1)
    return torch.randn(5, 1, 8, 8, generator=draws), torch.randint(3, (5,), generator=draws)


def trained(device, optimizer):
    model, (x, y) = network().to(device), batch()
    steps = optimizer(model.parameters())
    for _ in range(3):
        steps.zero_grad()
        F.cross_entropy(model(x.to(device)), y.to(device)).backward()
        steps.step()
    return {name: value.cpu() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(
    "optimizer",
    [partial(torch.optim.Adam, eps=0.01, foreach=True), partial(torch.optim.SGD, lr=0.1, momentum=0.9, foreach=True)],
)
def test_a_training_there_is_the_one_on_the_cpu(optimizer):
    expected, found = trained("cpu", optimizer), trained(HERE, optimizer)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value)


def test_second_derivatives_and_functional_transforms_are_the_ones_on_the_cpu():
    model, (x, y) = network().eval(), batch()

    def gradients(model, x, y):
        def of_one(parameters, x, y):
            logits = torch.func.functional_call(model, parameters, (x[None],))
            return F.cross_entropy(logits, y[None])

        own = dict(model.named_parameters())
        each = torch.func.vmap(torch.func.grad(of_one), in_dims=(None, 0, 0))(own, x, y)
        first = torch.autograd.grad(F.cross_entropy(model(x), y), list(own.values()), create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), list(own.values()))
        return [value.cpu() for value in (*each.values(), *second)]

    expected = gradients(model, x, y)
    found = gradients(copy.deepcopy(model).to(HERE), x.to(HERE), y.to(HERE))
    for mine, own in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, own)


def test_views_share_their_memory_and_copies_do_not():
    x = torch.arange(6.0, device=HERE)
    x.view(2, 3).T[1:].add_(10)
    kept = copy.deepcopy(x)
    x.unflatten(0, (2, 3)).unbind(0)[0].zero_()
    assert kept.tolist() == [0, 11, 12, 3, 14, 15]
    assert x.tolist() == [0, 0, 0, 3, 14, 15]


def test_a_tensor_keeps_its_strides_also_those_of_axes_of_length_1():
    weight = torch.zeros(4, 1, 3, 3, device=HERE).to(memory_format=torch.channels_last)
    assert weight.stride() == torch.zeros(4, 1, 3, 3).to(memory_format=torch.channels_last).stride()


def test_autocast_computes_products_in_bfloat16_and_losses_in_float32():
    model, (x, y) = network().to(HERE), batch()
    with torch.autocast(HERE, torch.bfloat16):
        logits = model(x.to(HERE))
        loss = F.cross_entropy(logits, y.to(HERE))
    loss.backward()
    assert (logits.dtype, loss.dtype) == (torch.bfloat16, torch.float32)
    assert all(p.grad.dtype == torch.float32 for p in model.parameters())


def test_safetensors_save_from_there():
    assert load(save({"a": torch.ones(2, device=HERE)}))["a"].tolist() == [1, 1]


HOST, OTHER = torch.ones(2), "same device|both on|either on cpu or on the same device"


@pytest.mark.parametrize(
    "mixed",
    [
        lambda x: x + HOST,
        lambda x: HOST.add_(x),
        lambda x: F.linear(x[None], HOST[None]),
        lambda x: torch.cat([x, HOST]),
        lambda x: torch.stack([HOST, x]),
        lambda x: torch.equal(x, HOST),
        lambda x: HOST[x.long()],
        lambda x: x.index_select(0, HOST.long()),
        lambda x: x.gather(0, HOST.long()),
        lambda x: x.masked_fill_(HOST.bool(), 0.0),
        lambda x: torch.where(x > 0, x, HOST),
        lambda x: F.cross_entropy(x[None], torch.zeros(1, dtype=torch.long)),
        lambda x: torch.searchsorted(HOST, x),
        lambda x: torch._foreach_add_([x], [HOST]),
        lambda x: F.batch_norm(x[None], HOST, HOST),
    ],
)
def test_it_meets_no_tensor_of_the_cpu(mixed):
    with pytest.raises(RuntimeError, match=OTHER):
        mixed(torch.ones(2, device=HERE))


def test_nor_does_numpy_meet_it():
    with pytest.raises(TypeError, match="can't convert"):
        torch.ones(2, device=HERE).numpy()


@pytest.mark.parametrize(
    "met",
    [
        lambda x: x * torch.tensor(2.0),
        lambda x: torch.zeros(()) + x,
        lambda x: x[torch.tensor([1, 0])],
        lambda x: HOST.clone().copy_(x),
        lambda x: x.copy_(HOST),
        lambda x: torch.zeros(2, device=HERE).index_put_((torch.tensor([0]),), torch.tensor(1.0)),
    ],
)
def test_what_a_gpu_forgives_is_forgiven(met):
    met(torch.ones(2, device=HERE))


@pytest.mark.parametrize(
    "drawn",
    [
        lambda draws: torch.empty(3, device=HERE).normal_(generator=draws),
        lambda draws: torch.empty(3, device=HERE).uniform_(generator=draws),
        lambda draws: nn.init.kaiming_normal_(torch.empty(3, 3, device=HERE), generator=draws),
        lambda draws: torch.rand(3, device=HERE, generator=draws),
        lambda draws: torch.randperm(3, device=HERE, generator=draws),
        lambda draws: torch.ones(3, device=HERE).bernoulli_(generator=draws),
    ],
)
def test_it_takes_no_generator_of_the_cpu(drawn):
    with pytest.raises(RuntimeError, match="generator"):
        drawn(torch.Generator())


def test_it_draws_from_a_generator_of_its_own(device):
    before = torch.get_rng_state()
    state = device.get_rng_state()
    first = F.dropout(torch.ones(100, device=HERE))
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(device.get_rng_state(), state)
    device.set_rng_state(state)
    assert torch.equal(F.dropout(torch.ones(100, device=HERE)), first)


def test_it_knows_when_it_was_seeded(device):
    torch.Generator().manual_seed(0)
    assert device.seeded == 0
    torch.manual_seed(0)
    assert device.seeded == 1


@pytest.mark.parametrize("wait", [torch.Tensor.item, torch.Tensor.nonzero, lambda x: x[x > 0], torch.Tensor.cpu])
def test_it_notices_who_waits_for_it(device, wait):
    x = torch.ones(1, device=HERE)
    device.set_sync_debug_mode("error")
    with pytest.raises(RuntimeError, match="called a synchronizing operation"):
        wait(x)
    device.set_sync_debug_mode("default")
    wait(x)
