"""Groups of channels against those worked out by hand, and networks whose channels cannot be followed."""

import pytest
import torch
from channel_nets import Depthwise, Residual, Viewed
from torch import nn

from autosparse.channels import channel_groups, physically_prune
from autosparse.criteria import prune
from autosparse.errors import AutosparseError
from autosparse.models import build_model


def written_out(groups):
    return [(g.size, set(g.rows), set(g.norms), set(g.columns)) for g in groups]


def test_residual_sums_tie_their_channels_and_a_flatten_spreads_them():
    assert written_out(channel_groups(Residual())) == [
        (6, {"stem", "back"}, {"norm"}, {"inner", "down", "shortcut"}),
        (5, {"inner"}, {"inner_norm"}, {"back"}),
        (8, {"down", "shortcut"}, set(), {"hidden"}),
        (7, {"hidden"}, {"hidden_norm"}, {"head"}),
    ]


def test_depthwise_convolutions_follow_their_channels_and_gates_are_tied_to_what_they_gate():
    assert written_out(channel_groups(Depthwise())) == [
        (4, {"stem", "project"}, set(), {"expand", "head"}),
        (6, {"expand", "deep", "excite"}, {"norm", "deep_norm"}, {"squeeze", "project"}),
        (3, {"squeeze"}, set(), {"excite"}),
    ]


def test_a_view_flattens_and_the_input_may_be_anything():
    assert written_out(channel_groups(Viewed())) == [
        (5, {"conv"}, {"norm"}, {"hidden"}),
        (6, {"hidden"}, set(), {"head"}),
    ]


@pytest.mark.parametrize(
    ("name", "shape", "groups", "channels"),
    [
        ("lenet-300-100", (1, 8, 8), 2, 400),
        ("lenet-5", (1, 28, 28), 3, 570),
        ("vgg16", (3, 32, 32), 13, 4224),
        ("resnet18", (3, 32, 32), 12, 3 * (64 + 128 + 256 + 512)),
        ("resnet50", (3, 32, 32), 37, 64 + 3840 + 2 * (3 * 64 + 4 * 128 + 6 * 256 + 3 * 512)),
        ("resnet20", (3, 32, 32), 12, 4 * (16 + 32 + 64)),
        ("mobilenet_v2", (3, 32, 32), 25, 9128),
    ],
)
def test_the_models_at_hand_have_as_many_groups_as_their_papers_say(name, shape, groups, channels):
    found = channel_groups(build_model(name, 10, shape))
    assert (len(found), sum(group.size for group in found)) == (groups, channels)


def test_channels_tied_to_the_input_or_shown_at_the_output_stay():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.free, self.last = (nn.Conv2d(3, 3, 1) for _ in range(4))

        def forward(self, x):
            x = x + self.first(x)
            shown = self.second(x)
            return shown + self.last(self.free(x))

    assert written_out(channel_groups(Tied())) == [(3, {"free"}, set(), {"last"})]


class Forward(nn.Module):
    """Two layers with a given forward between them."""

    def __init__(self, between, *layers):
        super().__init__()
        self.between = between
        self.first, self.last = nn.Conv2d(3, 4, 1), nn.Linear(4, 2)
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        return self.last(self.between(self, self.first(x)).mean((2, 3)))


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Forward(lambda net, x: torch.cat([x, x], 1)[:, :4]), "at 'cat', channels cannot be followed through it"),
        (Forward(lambda net, x: x if x.sum() > 0 else -x), "its forward cannot be traced .*control flow"),
        (Forward(lambda net, x: net.layers[0](x), nn.GroupNorm(2, 4)), r"at 'layers.0' \(GroupNorm\), channels cannot"),
        (Forward(lambda net, x: net.layers[0](x), nn.Conv2d(4, 4, 1, groups=2)), "in 2 groups that is not depthwise"),
        (Forward(lambda net, x: net.layers[0](net.layers[0](x)), nn.Conv2d(4, 4, 1)), "used more than once"),
        (Forward(lambda net, x: net.layers[0](x), nn.Linear(4, 4)), "reads a tensor of 4 dimensions"),
        (Forward(lambda net, x: x + x.mean((2, 3))), "tensors of different channels or dimensions"),
        (Forward(lambda net, x: x / x.size(1)), "at 'size', channels cannot"),
        (Forward(lambda net, x: x / x.shape[0]), "computes with the shape"),
        (Forward(lambda net, x: x.view(-1, 4, 2, 2)), "at 'view', channels cannot"),
        (Forward(lambda net, x: x.flatten(2).mean(2, keepdim=True).unsqueeze(3)), "at 'flatten', channels cannot"),
        (Forward(lambda net, x: x + x.mean(1, keepdim=True)), "at 'mean', channels cannot"),
        (nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), "none of its channels lies between two"),
    ],
)
def test_a_model_whose_channels_cannot_be_followed_is_refused_by_name_reason_and_cure(model, message):
    with pytest.raises(AutosparseError, match=f"no channel mapping for {type(model).__name__}: .*{message}") as caught:
        channel_groups(model)
    assert "take an unstructured criterion" in str(caught.value)


def test_a_pooling_over_channels_is_refused():
    """A 2-D pooling takes (batch, channels, places) for one image."""
    model = nn.Sequential(nn.Conv1d(3, 8, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.Conv1d(8, 2, 6))
    with pytest.raises(AutosparseError, match=r"at '1' \(MaxPool2d\), channels cannot be followed"):
        channel_groups(model)


def test_a_weight_of_two_layers_is_refused():
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.Linear(4, 2))
    model[2].weight = model[0].weight
    with pytest.raises(AutosparseError, match=r"at '2'.*used more than once"):
        channel_groups(model)


def test_densenet_is_refused():
    with pytest.raises(AutosparseError, match="no channel mapping for DenseNet: at 'cat'"):
        channel_groups(build_model("densenet121", 10, (3, 32, 32)))


def test_a_flatten_of_sequences_is_not_taken_for_one_of_channels():
    """(batch, time, features) flattened puts all features of one time together, not all times of one feature."""
    model = nn.Sequential(nn.Linear(3, 4), nn.Flatten(), nn.Linear(20, 2))
    model(torch.zeros(2, 5, 3))
    with pytest.raises(AutosparseError, match="takes 20 inputs, which do not belong to 4 channels"):
        channel_groups(model)


def test_channels_are_not_followed_through_transposed_convolutions_and_attention():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ConvTranspose2d(4, 4, 3), nn.Conv2d(4, 2, 3))
    with pytest.raises(AutosparseError, match=r"at '1' \(ConvTranspose2d\), channels cannot be followed"):
        channel_groups(model)
    model = nn.Sequential(nn.Linear(4, 4), nn.TransformerEncoderLayer(4, 2, 4, batch_first=True), nn.Linear(4, 2))
    with pytest.raises(AutosparseError, match=r"at '1' \(TransformerEncoderLayer\), channels cannot be followed"):
        channel_groups(model)


def test_a_transposed_convolution_of_the_input_is_kept_whole():
    model = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.Flatten(), nn.Linear(24, 2))
    masks = prune(model, "random-structured", 0.5)
    assert masks["0.weight"].all()
    assert int(masks["2.weight"].flatten(1).any(1).sum()) == 3
    x = torch.randn(2, 3, 3, 3)
    assert torch.allclose(physically_prune(model, masks)(x), masks.apply_(model)(x), atol=1e-6)
