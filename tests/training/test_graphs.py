"""A step as a CUDA graph: around the capture itself, which only a GPU can do, nothing may change."""

import contextlib
import logging
from dataclasses import replace

import pytest
import torch
from conv_nets import fresh

from autosparse.criteria import score
from autosparse.devices import DeviceLost
from autosparse.masks import Masks
from autosparse.training import Execution, Recipe, graphs, train
from autosparse.training.execution import set_learning_rate

RECIPE = Recipe(epochs=3, batch_size=64, lr=2**-7, milestones=(1, 2), drop=0.5, augmentation="crop-flip")
RECIPES = [RECIPE, replace(RECIPE, optimizer="momentum"), replace(RECIPE, optimizer="sgd")]


class Graphed(Execution):
    """CUDA graphs on the CPU."""

    def step(self, model, optimizer, loss, device):
        return graphs.GraphedStep(super().step(model, optimizer, loss, device), model, optimizer)


@pytest.fixture
def replays(monkeypatch):
    """A capture that runs the step as CUDA would before it, and a replay that computes on the captured batch."""
    counted = []

    def capture(step, device):
        for _ in range(graphs.WARM_UP):
            step()

        def replay():
            counted.append(1)
            return step()

        return replay

    monkeypatch.setattr(graphs, "capture", capture)
    return counted


def trained(data, recipe, execution, device="cpu", dropout=0.5):
    model = fresh(dropout=dropout).to(device)
    masks = Masks.from_scores(score(model, "random"), 0.8)
    history = train(model, data, recipe, masks, execution=execution)
    return model.state_dict(), history, masks


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_graphed_training_is_the_eager_one_bit_for_bit(tiny_digits, replays, recipe):
    """The warm-up is undone, masks hold, the rate changes between replays, and the last batch is smaller."""
    expected, history, _ = trained(tiny_digits, recipe, None)
    found, graphed, masks = trained(tiny_digits, recipe, Graphed())
    assert graphed.train_loss == history.train_loss
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert all(not found[name][~mask].any() for name, mask in masks.items())
    assert len(replays) == 3 * 3  # of 4 batches an epoch, the last has 8 examples


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("called a synchronizing CUDA operation\nmore of it", "called a synchronizing CUDA operation"),
        ("", "RuntimeError"),
    ],
)
def test_if_a_step_cannot_be_captured_training_goes_on_eagerly_with_a_warning(
    tiny_digits, monkeypatch, caplog, said, reason
):
    def capture(step, device):
        step()
        raise RuntimeError(said)

    monkeypatch.setattr(graphs, "capture", capture)
    expected, _, _ = trained(tiny_digits, RECIPE, None)
    with caplog.at_level(logging.WARNING):
        found, _, _ = trained(tiny_digits, RECIPE, Graphed())
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    told = [
        record.getMessage() for record in caplog.records if record.name == graphs.__name__
    ]  # other loggers warn only once a process
    assert told == [f"training continues without a CUDA graph: {reason}"]


class Fakes:
    """What a capture asks of ``torch.cuda``, without a GPU; notes the calls."""

    def __init__(self, monkeypatch):
        self.calls, self.mode, self.current, self.broken = [], 0, "its own", None
        monkeypatch.setattr(torch.cuda, "device", contextlib.nullcontext)
        monkeypatch.setattr(torch.cuda, "Stream", lambda: self)
        monkeypatch.setattr(torch.cuda, "CUDAGraph", lambda: self)
        monkeypatch.setattr(torch.cuda, "current_stream", lambda: self)
        monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: self.mode)
        monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: setattr(self, "mode", mode))
        monkeypatch.setattr(torch.cuda, "stream", self.stream)
        monkeypatch.setattr(torch.cuda, "graph", self.graph)

    def wait_stream(self, stream):
        self.calls.append("wait")

    def replay(self):
        self.calls.append("replay")

    @contextlib.contextmanager
    def stream(self, stream):
        self.current = "the side's"
        try:
            yield
        finally:
            self.current = "its own"

    @contextlib.contextmanager
    def graph(self, graph, capture_error_mode):
        self.calls.append("capture")
        self.current = "the capture's"
        yield
        if self.broken:
            raise self.broken  # PyTorch 2.11 does not put the stream back
        self.current = "its own"


@pytest.fixture
def fakes(monkeypatch):
    return Fakes(monkeypatch)


def test_only_the_last_step_before_a_capture_may_not_wait_for_the_device(fakes):
    seen = []
    replay = graphs.capture(lambda: seen.append((fakes.mode, fakes.current)) or torch.ones(()), torch.device("cuda"))
    aside = [(mode, "the side's") for mode in (0, 0, "error")]
    assert seen == [*aside, (0, "the capture's")]
    assert replay() == 1
    assert fakes.calls == ["wait", "wait", "capture", "replay"]


def test_a_step_that_waits_for_the_device_is_found_out_before_the_capture(fakes):
    def waiting():
        if fakes.mode == "error":
            raise RuntimeError("called a synchronizing CUDA operation")

    with pytest.raises(RuntimeError, match="synchronizing") as raised:
        graphs.capture(waiting, torch.device("cuda"))
    assert not isinstance(raised.value, DeviceLost)
    assert fakes.calls == ["wait", "wait"], "no capture, and what was done aside is waited for"
    assert (fakes.mode, fakes.current) == (0, "its own")


@pytest.mark.parametrize("error", [RuntimeError("operation not permitted\nmore"), torch.OutOfMemoryError("no room")])
def test_after_a_capture_that_fails_the_process_is_given_up(tiny_digits, fakes, error, caplog):
    fakes.broken = error
    with pytest.raises(DeviceLost, match=rf"^the capture .* failed \({str(error).split()[0]}.*--cuda-graphs$"):
        train(fresh(), tiny_digits, RECIPE, execution=Graphed())
    assert not caplog.records


def test_a_cpu_has_no_graphs(tiny_digits):
    with_switch, _, _ = trained(tiny_digits, RECIPE, Execution(cuda_graphs=True))
    without, _, _ = trained(tiny_digits, RECIPE, None)
    assert all(torch.equal(with_switch[name], value) for name, value in without.items())


def test_a_rate_that_is_a_tensor_is_set_in_place():
    weight = torch.nn.Parameter(torch.ones(2))
    rate = torch.tensor(0.5)
    optimizer = torch.optim.SGD([weight], lr=rate, fused=True)
    set_learning_rate(optimizer, 0.25)
    assert optimizer.param_groups[0]["lr"] is rate
    assert rate.item() == 0.25


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("recipe", RECIPES)
def test_on_a_gpu_the_graph_trains_as_the_eager_steps_do(tiny_digits, caplog, recipe, precision):
    data = tiny_digits.to("cuda")
    expected, history, _ = trained(data, recipe, Execution(precision), "cuda")
    found, graphed, masks = trained(data, recipe, Execution(precision, cuda_graphs=True), "cuda")
    assert not caplog.records, "the capture failed"
    assert graphed.train_loss == pytest.approx(history.train_loss, rel=1e-3)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-2, atol=1e-3)
    assert all(not found[name][~mask].any() for name, mask in masks.items())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_a_model_that_waits_for_the_device_trains_without_a_graph(tiny_digits, caplog):
    class Waiting(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = fresh()

        def forward(self, x):
            return self.inner(x) * (1.0 if x.sum().item() > 0 else 2.0)

    train(Waiting().cuda(), tiny_digits.to("cuda"), RECIPE, execution=Execution(cuda_graphs=True))
    assert "no CUDA graph" in caplog.text
    assert torch.cuda.current_stream() == torch.cuda.default_stream()
    assert torch.cuda.get_sync_debug_mode() == 0
    caplog.clear()
    trained(tiny_digits.to("cuda"), RECIPE, Execution(cuda_graphs=True), "cuda")
    assert not caplog.records, "another model's capture works in this process"
