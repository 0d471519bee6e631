"""A small network to score in shards."""

import torch

import autosparse as asp


def shard_network():
    """A model of 41,800 weights and batches for it."""
    draws = torch.Generator().manual_seed(0)
    model = asp.build_model("lenet-300-100", num_classes=10, input_shape=(1, 6, 6), seed=0)
    return model, [(torch.randn(16, 1, 6, 6, generator=draws), torch.randint(10, (16,), generator=draws))]
