"""Small networks with attention, in float64, for images of 1 x 4 x 4."""

import torch
from torch import nn


class Attention(nn.Module):
    """Rows of the image attend to each other."""

    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Linear(4, 4), nn.Linear(4, 4)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)

    def forward(self, x):
        x = self.embed(x.flatten(1, 2))
        return self.head((x + self.attention(x, x, x, need_weights=False)[0]).mean(1))


class Encoder(nn.Module):
    """A layer of a transformer, which has a fast path in evaluation mode."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(4, 2, dim_feedforward=5, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.embed, self.head = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.head(self.layers(self.embed(x.flatten(1, 2))).mean(1))


ATTENTION = {"attention": Attention, "transformer": Encoder}


def make(name, training=True):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ATTENTION[name]().double().train(training)
