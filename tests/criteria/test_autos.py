"""AutoS: what the criterion asks its scorer, and what it makes of the answer."""

import pytest
import torch
from small_nets import data, make

from autosparse.criteria import score
from autosparse.errors import AutosparseError
from autosparse.masks import prunable


class Asked:
    """A scorer that answers with the parameters, and notes what it is asked."""

    gradient_mode = "eval"

    def __init__(self, *inputs):
        self.inputs, self.asked = inputs, []

    def predict(self, features):
        raise AssertionError("weights are asked about all at once")

    def predict_all(self, features, sparsities, exact):
        self.asked.append((sorted(features), tuple(sparsities), exact))
        return features["param"]


@pytest.mark.parametrize(
    ("options", "sparsities", "exact"),
    [
        ({}, (0.9, 0.95, 0.98, 0.99), False),
        ({"near": 0.7}, (0.7,), False),
        ({"exact": True}, (0.9, 0.95, 0.98, 0.99), True),
    ],
)
def test_masks_are_right_at_the_usual_sparsities_or_at_the_one_that_is_asked_for(options, sparsities, exact):
    scorer, model = Asked("param"), make("conv")
    scores = score(model, "autos", scorer=scorer, **options)
    assert scorer.asked == [(["param"], sparsities, exact)]
    assert scores.keys() == prunable(model).keys()
    assert all(torch.equal(scores[name], weight) for name, weight in prunable(model).items())


def test_gradients_are_taken_only_for_a_scorer_that_reads_them():
    scorer = Asked("param", "grad")
    score(make("linear"), "autos", data(batches=1), scorer=scorer)
    assert scorer.asked[0][0] == ["grad", "param"]


@pytest.mark.parametrize("inputs", [("param",), ("param", "grad")])
def test_a_network_without_weights_to_score_is_refused_in_one_line(inputs):
    with pytest.raises(AutosparseError, match="the model has no prunable weights to score"):
        score(torch.nn.Flatten(), "autos", data(batches=1), scorer=Asked(*inputs))
