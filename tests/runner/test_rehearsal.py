"""What is wrong with the user's own models, criteria and data is told before anything starts, with its place."""

import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
import torch
from builders import a_grid, plan_from
from rich.console import Console

from autosparse.criteria import CRITERIA
from autosparse.data import DATASETS, load_dataset
from autosparse.errors import AutosparseError
from autosparse.models import MODELS
from autosparse.runner.driver import run
from autosparse.runner.driver.rehearsal import rehearse
from autosparse.runner.driver.settle import Settled
from autosparse.runner.screen.console import Screen
from autosparse.runner.settings import Settings

IMPORTS = """
import torch
from dataclasses import replace
from torch import nn
from autosparse.criteria import criterion
from autosparse.data import load_dataset, register_dataset
from autosparse.models import register_model
"""
MODEL = """
@register_model("theirs")
def theirs(num_classes, input_shape):
    {body}
"""
ONE = {"sparsities": [0.5], "seeds": [0]}
CRITERION = """
@criterion("theirs", paper="none"{needs})
def theirs(model, batches, loss{options}):
    weights = {{n: p.detach().abs() for n, p in model.named_parameters() if p.dim() > 1}}
    {body}
"""


@pytest.fixture
def theirs(tmp_path, monkeypatch):
    """A function that writes a module of the user's, imports it, and tries its model, criterion and data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    for registry in (MODELS, CRITERIA, DATASETS):
        registry._load()
        monkeypatch.setattr(registry, "_members", dict(registry._members))

    def tried(code, screen=None, data="digits", **grid):
        (tmp_path / "their_code.py").write_text(IMPORTS + textwrap.dedent(code))
        sys.modules.pop("their_code", None)
        __import__("their_code")
        usual = a_grid(datasets=[data], methods=["magnitude"], sparsities=[0.5, 0.9], seeds=[0, 1])
        plan = plan_from(grid={**usual, **grid})
        rehearse(plan.cells, {data: load_dataset(data)}, screen or Screen(Console(quiet=True)))

    yield tried
    sys.modules.pop("their_code", None)


LINEAR = "return nn.Sequential(nn.Flatten(), nn.Linear({}, num_classes))"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (LINEAR.format(65), r"model 'theirs' \(their_code.py:9\) does not take a batch of shape \(8, 1, 8, 8\) .*mat1"),
        (LINEAR.format("64, 7), nn.Linear(7"), None),
        (
            "return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))",
            r"must return logits, .*\(8, 10\), but returns \(8, 7\)",
        ),
        ("return 3", r"model 'theirs' \(their_code.py:9\) returned an object of type int, not an nn.Module"),
        ("raise RuntimeError('boom')", r"cannot be built .*: RuntimeError: boom at their_code.py:11; --debug shows"),
    ],
)
def test_a_model_that_does_not_fit_is_told_in_a_line(theirs, body, said):
    code = MODEL.format(body=body)
    if said is None:
        theirs(code, models=["theirs"])
        return
    with pytest.raises(AutosparseError, match=said) as told:
        theirs(code, models=["theirs"])
    assert "\n" not in str(told.value)


def test_a_forward_that_returns_an_object_with_logits_is_told_to_return_them(theirs):
    code = """
    class Output:
        def __init__(self, logits):
            self.logits = logits

    class Net(nn.Linear):
        def forward(self, x):
            return Output(super().forward(x.flatten(1)))

    @register_model("theirs")
    def theirs(num_classes, input_shape):
        return Net(64, num_classes)
    """
    with pytest.raises(AutosparseError, match=r"returns an object of type Output: return its \.logits"):
        theirs(code, models=["theirs"])


def test_the_line_of_a_forward_that_fails_is_named_and_the_traceback_kept(theirs):
    code = """
    class Net(nn.Linear):
        def forward(self, x):
            raise RuntimeError("boom")

    def factory(num_classes, input_shape):
        return Net(64, num_classes)
    """
    with pytest.raises(
        AutosparseError, match=r"'their_code:factory' .*RuntimeError: boom at their_code\.py:11"
    ) as told:
        theirs(code, models=["their_code:factory"])
    assert told.value.__cause__ is not None


CASES = {
    "a list": ("return list(weights.values())", r"theirs' \(their_code.py:9\) returned a list, not a dictionary"),
    "none": ("pass", r"returned None, not a dictionary \{weight name: tensor"),
    "a wrong key": (
        "return {'fc1.wight': torch.ones(1)}",
        r"'fc1.wight', which is not a prunable .*: did you mean 'fc1.weight'",
    ),
    "a wrong shape": (
        "return {n: w.sum(1) for n, w in weights.items()}",
        r"shape \(300,\) for 'fc1.weight', a weight of shape \(300, 64\)",
    ),
    "a bool": ("return {n: w > 0 for n, w in weights.items()}", r"scores of torch.bool for 'fc1.weight'"),
    "a number": ("return {n: 1.0 for n in weights}", r"returned a float for 'fc1.weight', not a tensor"),
    "a layer missing": ("weights.pop('fc2.weight'); return weights", r"returned no scores of 'fc2.weight'"),
    "a failure": ("raise RuntimeError('boom')", r"RuntimeError: boom at their_code.py:12; --debug shows the traceback"),
}


@pytest.mark.parametrize("case", CASES)
def test_what_a_criterion_returns_is_checked(theirs, case):
    body, said = CASES[case]
    with pytest.raises(AutosparseError, match=said) as told:
        theirs(CRITERION.format(body=body, needs="", options=""), methods=["theirs"])
    assert "\n" not in str(told.value)


def test_each_criterion_is_tried_once_on_each_model_with_the_least_work(theirs):
    noted = "\n    with open('noted', 'a') as f: f.write(f'{rounds} {sum(len(x) for x, _ in batches)}\\n')"
    body = f"{noted}\n    return weights"
    code = CRITERION.format(body=body, needs=", needs=('data',)", options=", rounds: int = 100")
    theirs(code, methods=["theirs"], models=["lenet-300-100"])
    assert Path("noted").read_text() == "1 8\n"


def test_scores_that_one_batch_makes_0_are_no_reason_to_refuse(theirs):
    theirs(
        CRITERION.format(body="return {n: 0 * w for n, w in weights.items()}", needs="", options=""), methods=["theirs"]
    )


def test_a_criterion_that_trains_does_one_step_of_a_training_that_says_its_full_length(theirs):
    body = """
    before = model.fc1.weight.detach().clone()
    training(model, None, start=0, stop=training.steps)
    assert training.epochs == 3 and training.steps == 3 * 12, training.steps
    assert not torch.equal(before, model.fc1.weight)
    return weights
    """
    code = CRITERION.format(body=body, needs=", needs=('training',)", options=", training, sparsity: float")
    theirs(code, methods=["theirs"], recipe={"epochs": 3})


def test_labels_outside_the_classes_are_told(theirs):
    code = """
    @register_dataset("theirs")
    def theirs(root, argument, download):
        return replace(load_dataset("digits"), num_classes=9)
    """
    with pytest.raises(AutosparseError, match=r"dataset 'theirs' \(their_code.py:9\) has labels from 0 to 9, but 9 cl"):
        theirs(code, data="theirs")


@pytest.mark.parametrize("added", [0, 1])
def test_labels_that_seem_to_start_at_1_are_doubted_but_taken(theirs, added):
    code = f"""
    from autosparse.data.split import make_dataset

    @register_dataset("theirs")
    def theirs(root, argument, download):
        images, labels = torch.zeros(30, 1, 8, 8, dtype=torch.uint8), torch.arange(30) % 3 + {added}
        return make_dataset("theirs", (images, labels), (images, labels))
    """
    screen = mock.Mock()
    theirs(code, screen, data="theirs")
    said = [call.args[0] for call in screen.warn.call_args_list]
    place = "dataset 'theirs' (their_code.py:11)"
    doubt = f"{place} has no training image of class 0 of its 4 classes: do its labels start at 1?"
    assert said == [doubt] * added


def test_a_loader_that_fails_is_told_with_its_line(theirs):
    code = """
    @register_dataset("theirs")
    def theirs(root, argument, download):
        return {}["images"]
    """
    with pytest.raises(
        AutosparseError, match=r"dataset 'theirs' cannot be loaded: KeyError: 'images' at their_code.py:11"
    ):
        theirs(code, data="theirs")


def test_networks_of_ours_are_tried_without_memory(theirs, monkeypatch):
    monkeypatch.setattr(torch.nn.Linear, "forward", lambda self, x: x.new_empty(len(x), 10) if x.is_meta else 1 / 0)
    theirs("", models=["lenet-300-100"])


def test_a_model_of_ours_that_does_not_take_the_shape_is_refused(theirs):
    with pytest.raises(AutosparseError, match="model 'lenet-5' does not take inputs of shape"):
        theirs("", models=["lenet-5"])


def test_a_run_tries_the_user_s_code_before_it_starts_ray(theirs, tmp_path, monkeypatch):
    theirs(MODEL.format(body="raise RuntimeError('boom')"))
    plan = plan_from(grid={"models": ["theirs"], "datasets": ["digits"], "methods": ["dense"], **ONE})
    settled = Settled(plan.cells, set(), {"digits": load_dataset("digits")})
    stand_ins = {"connect": None, "Tracker": mock.MagicMock(), "settle": settled}
    for name, value in stand_ins.items():
        monkeypatch.setattr(f"{run.__name__}.{name}", lambda *_, value=value: value)
    monkeypatch.setattr(run, "ray_session", lambda *_: pytest.fail("Ray was started"))
    settings = Settings(tmp_path / "results", rehearsal=True)
    with pytest.raises(AutosparseError, match=r"model 'theirs' .* cannot be built"):
        run.run_plan(plan, settings, Screen(Console(quiet=True)))
    with pytest.raises(pytest.fail.Exception, match="Ray was started"):
        run.run_plan(plan, replace(settings, rehearsal=False), Screen(Console(quiet=True)))
