"""Backbones: the paper's shapes for one input and for two, and which settings each takes."""

import pytest
import torch
from builders import a_survival
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from autosparse.autos import fit_scorer
from autosparse.autos.backbones import BACKBONES, Backbone, build_backbone
from autosparse.errors import AutosparseError
from autosparse.experiment.load import parse_fit


def survival_of_rows(rows):
    return a_survival(rows, count=lambda param: torch.arange(rows, dtype=torch.int32) % 5, iterations=4)


def linear(before, after):
    return before * after + after


def shapes(name, inputs):
    """The backbone without memory behind its weights."""
    with torch.device("meta"):
        return BACKBONES[name](inputs, 0)


@pytest.mark.parametrize("name", list(BACKBONES))
@pytest.mark.parametrize("inputs", [1, 2])
def test_every_backbone_takes_one_input_or_two_and_gives_one_number_a_row(name, inputs):
    assert shapes(name, inputs)(torch.zeros(3, inputs, device="meta")).shape == (3,)


@pytest.mark.parametrize("name", [name for name in BACKBONES if BACKBONES[name].by_gradient])
def test_the_inputs_ablation_changes_the_first_linear_layer_and_nothing_else(name):
    one, two = ({key: value.shape for key, value in shapes(name, inputs).state_dict().items()} for inputs in (1, 2))
    first = next(iter(one))
    assert (one.pop(first), two.pop(first)) == ((64, 1), (64, 2))
    assert one == two


@pytest.mark.parametrize(
    ("name", "encoder", "decoder"),
    [
        ("resnet18", [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2, [nn.ReLU, nn.Linear]),
        ("vgg19", [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 3, [nn.BatchNorm1d, nn.ReLU, nn.Linear]),
    ],
)
def test_the_papers_scorers_have_the_layers_of_table_7(name, encoder, decoder):
    built = shapes(name, 2)
    assert [type(layer) for layer in built.encoder] == encoder
    assert [type(layer) for layer in built.decoder] == decoder


def test_vgg19_has_the_parameters_of_its_layers():
    encoder = linear(2, 64) + linear(64, 4096) + linear(4096, 12288) + 2 * (64 + 4096 + 12288)
    vgg = 20_040_522 - linear(512, 10) + linear(512, 64)
    assert sum(p.numel() for p in shapes("vgg19", 2).parameters()) == encoder + vgg + linear(64, 1) + 2 * 64


@pytest.mark.slow
def test_vgg19_fits_and_scores():
    data = survival_of_rows(12)
    scorer = fit_scorer(data, backbone="vgg19", epochs=1, batch_size=11, lr=1e-3)
    assert scorer.predict(data.flat()[0]).isfinite().all()


@pytest.mark.parametrize(("setting", "value"), [("epochs", 3), ("batch_size", 7), ("lr", 0.5)])
def test_settings_of_a_training_are_refused_where_there_is_none(setting, value):
    with pytest.raises(AutosparseError, match=f"'conditional-mean' is not trained by gradient: leave out {setting}"):
        fit_scorer(survival_of_rows(100), backbone="conditional-mean", **{setting: value})
    with pytest.raises(AutosparseError, match=f"a file: .* leave out {setting}"):
        parse_fit({"backbone": "conditional-mean", setting: value}, "a file")


def test_what_is_recorded_of_a_fit_leaves_out_what_means_nothing_to_its_backbone():
    settings = {name: parse_fit({"backbone": name}, "").model_dump() for name in ("mlp", "conditional-mean")}
    assert settings["mlp"].keys() - settings["conditional-mean"].keys() == {"epochs", "batch_size", "lr"}
    assert "epochs" not in fit_scorer(survival_of_rows(100), backbone="conditional-mean").provenance


def test_a_backbone_learns_from_all_rows_of_a_stream_unless_its_fit_is_its_own():
    class OwnFit(Backbone):
        def fit(self, *given):
            """Learn in memory."""

    class OwnStream(OwnFit):
        def fit_streamed(self, *given):
            """Learn from disk, too."""

    sampled = [name for name in BACKBONES if not BACKBONES[name].streams()]
    assert sampled == ["conditional-mean", "trees"]
    assert [member.streams() for member in (OwnFit, OwnStream)] == [False, True]


def test_values_that_are_not_finite_are_refused():
    data = survival_of_rows(100)
    data.grad["w"][3] = float("nan")
    with pytest.raises(AutosparseError, match="not finite"):
        fit_scorer(data, backbone="conditional-mean")


@given(st.integers(0, 400), st.integers(1, 700), st.integers(1, 4))
def test_a_row_scores_the_same_to_the_bit_whatever_is_around_it(start, count, threads):
    mlp = build_backbone("mlp", 2, 0).eval()
    x = torch.randn(1100, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        whole = mlp(x)
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            assert torch.equal(mlp(x[start : start + count]), whole[start : start + count])
        finally:
            torch.set_num_threads(before)
